// The configurations of a study: sorted, searched and paged by the server; a few of them compared.

import { go, link } from "./address.js";
import { api, withQuery } from "./api.js";
import { h } from "./dom.js";
import { count, counted, dataset, difference, interval, metric, plain, words } from "./format.js";
import { Resource } from "./resource.js";
import { nextSort, pager, table } from "./table.js";
import { comparison } from "./compare.js";
import { verdictClass } from "./verdict.js";

const PAGE = 50;
const MOST_COMPARED = 8;

export class Configurations {
  #name;
  #cells;
  #compared;

  constructor(redraw, name) {
    this.#name = name;
    this.#cells = new Resource(redraw);
    this.#compared = new Resource(redraw);
  }

  leave() {
    this.#cells.leave();
    this.#compared.leave();
  }

  draw({ state, at }) {
    const query = at.query;
    const by = query.get("sort");
    const sort = by === null ? null : { by, order: query.get("order") ?? "asc" };
    const offset = Number(query.get("offset") ?? 0) || 0;
    const search = query.get("filter") ?? "";
    const path = withQuery(api`studies/${this.#name}/cells`, {
      offset, limit: PAGE, sort: sort?.by, order: sort?.order, filter: search,
    }); // prettier-ignore
    const found = this.#cells.want(path, state.version);
    const chosen = query.getAll("compare");
    return [
      h(
        "section",
        { class: "card", key: "cells", "aria-label": "Configurations" },
        h("h2", null, "Configurations"),
        this.#controls(search, query),
        found.problem ? h("p", { class: "trouble", role: "alert", key: "problem" }, found.problem.message) : null,
        found.data === null
          ? h("p", { class: "wait" }, "Loading …")
          : this.#table(found.data, { sort, offset, chosen, query }),
      ),
      this.#comparison(state, chosen, query),
    ];
  }

  /** The address with some of its query changed. */
  #with(query, changes) {
    const next = {};
    for (const key of new Set([...query.keys(), ...Object.keys(changes)])) {
      next[key] = key in changes ? changes[key] : query.getAll(key);
    }
    return link(["studies", this.#name, "configurations"], next);
  }

  #controls(search, query) {
    return h(
      "div",
      { class: "controls", key: "controls" },
      h(
        "label",
        null,
        "Filter (conditions as for sweep run --only; Enter)",
        h("input", {
          type: "search",
          value: search,
          placeholder: "teacher=small alpha=0.1|0.6",
          autocapitalize: "off",
          spellcheck: "false",
          onchange: (event) => go(this.#with(query, { filter: event.target.value, offset: null })),
        }),
      ),
    );
  }

  #table({ total, columns, cells }, { sort, offset, chosen, query }) {
    const shown = columns.filter((column) => column !== "seed");
    const head = [
      { key: "compare", label: h("span", { class: "unseen" }, "Compare"), sorts: false },
      ...shown.map((key) => ({ key, label: words(key), num: isNumeric(cells, key) })),
      { key: "n", label: "seeds", num: true, title: "seeds with a result, of those asked for" },
      { key: "mean", label: "mean", num: true, title: "over seeds, on the test split" },
      { key: "deviation", label: "sd", num: true, title: "standard deviation over seeds" },
      { key: "ci", label: "95 % interval", num: true, sorts: false, title: "t interval of the mean" },
      { key: "delta", label: "to baseline", num: true, title: "mean paired difference to the baseline of the same seeds" },
      { key: "delta_ci", label: "95 % interval", num: true, sorts: false, title: "of the paired difference" },
      { key: "verdict", label: "verdict", sorts: false, title: "paired t test, corrected for all configurations (Holm)" },
      { key: "failed", label: "failed", num: true },
      { key: "missing", label: "missing", num: true },
    ]; // prettier-ignore
    return [
      table({
        name: "Configurations",
        columns: head,
        rows: cells.map((row) => ({ key: row.key, cells: this.#row(row, shown, chosen, query) })),
        sort,
        onSort: (by) => {
          const next = nextSort(sort, by);
          go(this.#with(query, { sort: next.by, order: next.order, offset: null }));
        },
        empty: "No configuration fits the filter.",
      }),
      pager({
        offset,
        limit: PAGE,
        total,
        onPage: (to) => go(this.#with(query, { offset: to || null })),
      }),
      this.#bar(chosen, query),
    ];
  }

  #row(row, shown, chosen, query) {
    const ticked = chosen.includes(row.key);
    const tick = h(
      "label",
      { class: "check" },
      h("input", {
        type: "checkbox",
        checked: ticked,
        disabled: !ticked && chosen.length >= MOST_COMPARED,
        "aria-label": `Compare ${row.label}`,
        onchange: (event) => {
          const rest = chosen.filter((key) => key !== row.key);
          go(this.#with(query, { compare: event.target.checked ? [...rest, row.key] : rest }));
        },
      }),
    );
    const name = row.metric;
    const { counts, value, delta } = row;
    const trials = link(["studies", this.#name, "trials"], { cell: row.key });
    const of = (key) => row.words[key];
    return [
      tick,
      ...shown.map((key) => (key === "dataset" ? dataset(of(key)) : plain(of(key)))),
      h("a", { href: trials, "aria-label": `${row.label}: trials` }, `${value.n} of ${row.asked}`),
      metric(value.mean, name),
      metric(value.deviation, name, false),
      interval(value.low, value.high, name, false),
      { show: difference(delta?.mean, name), class: verdictClass(row.verdict) },
      interval(delta?.low, delta?.high, name, true),
      { show: row.verdict || "–", class: verdictClass(row.verdict) },
      { show: counts.failed || "–", class: counts.failed ? "bad" : "faint" },
      { show: counts.missing || "–", class: counts.missing ? "" : "faint" },
    ];
  }

  #bar(chosen, query) {
    if (chosen.length === 0) return h("p", { class: "note", key: "hint" }, "Tick two or more to compare them.");
    return h(
      "div",
      { class: "chosen-bar", key: "bar" },
      h("span", null, `${count(chosen.length)} chosen${chosen.length < 2 ? "; tick another one to compare" : ""}`),
      chosen.length < 2
        ? null
        : h("button", { type: "button", class: "primary", onclick: toComparison }, "To the comparison"),
      h("button", { type: "button", onclick: () => go(this.#with(query, { compare: null })) }, "Clear"),
    );
  }

  #comparison(state, chosen, query) {
    if (chosen.length < 2) return null;
    const path = withQuery(api`studies/${this.#name}/compare`, { cell: chosen });
    const found = this.#compared.want(path, state.version);
    return h(
      "section",
      { class: "card", key: "compare", "aria-label": "Comparison" },
      h(
        "div",
        { class: "head" },
        h("h2", { id: "comparison", tabindex: -1 }, `Comparison of ${counted(chosen.length, "configuration")}`),
        h(
          "div",
          { class: "buttons" },
          h("button", { type: "button", onclick: () => go(this.#with(query, { compare: null })) }, "Clear"),
        ),
      ),
      found.problem ? h("p", { class: "trouble", role: "alert" }, found.problem.message) : null,
      found.data === null ? h("p", { class: "wait" }, "Loading …") : comparison(found.data, this.#name),
    );
  }
}

function toComparison() {
  const heading = document.getElementById("comparison");
  heading?.scrollIntoView();
  heading?.focus({ preventScroll: true });
}

function isNumeric(cells, key) {
  return cells.some((row) => typeof row.words[key] === "number");
}
