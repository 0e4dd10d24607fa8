// The configurations of a study: sorted, filtered and paged by the server; a few of them compared.

import { go, link } from "./address.js";
import { api, withQuery } from "./api.js";
import { comparison } from "./compare.js";
import { h } from "./dom.js";
import { count, counted, dataset, difference, interval, metric, plain, words } from "./format.js";
import { measureChoice, measureOf, underText } from "./measure.js";
import { button, card, head, held, note } from "./parts.js";
import { Resource } from "./resource.js";
import { nextSort, pager, sortOf, table } from "./table.js";
import { verdictClass } from "./verdict.js";

const PAGE = 50;
const MOST_COMPARED = 8;
const FIGURES = [
  { key: "n", label: "seeds", title: "seeds with a result, of those asked for" },
  { key: "mean", label: "mean", title: "over seeds, on the test split" },
  { key: "deviation", label: "sd", title: "standard deviation over seeds" },
  { key: "low", label: "95 % interval", title: "t interval of the mean" },
  { key: "delta", label: "to baseline", title: "mean paired difference over the same seeds" },
  { key: "delta_low", label: "95 % interval", title: "t interval of the paired difference" },
  { key: "p_holm", label: "verdict", title: "paired t test, corrected for all of them (Holm)" },
  { key: "failed", label: "failed" },
  { key: "missing", label: "missing" },
];

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

  draw({ state, detail, at }) {
    const asked = {
      filter: at.query.get("filter") ?? "",
      sort: at.query.get("sort"),
      order: at.query.get("order"),
      offset: Number(at.query.get("offset")) || null,
      measure: measureOf(at),
    };
    const chosen = at.query.getAll("compare");
    const to = (changes) =>
      link(["studies", this.#name, "configurations"], { ...asked, compare: chosen, ...changes });
    const path = withQuery(api`studies/${this.#name}/cells`, { ...asked, limit: PAGE });
    const found = this.#cells.want(path, state.version);
    return [
      card(
        "cells",
        "Configurations",
        h("h2", null, `Configurations${underText(found.data?.under)}`),
        h(
          "div",
          { class: "controls", key: "controls" },
          filter(asked.filter, to),
          measureChoice(detail, at, (measure) => go(to({ measure, offset: null }))),
        ),
        held(found, ({ total, columns, cells }) => [
          this.#table(columns, cells, sortOf(at.query), chosen, to),
          pager({
            offset: asked.offset ?? 0,
            limit: PAGE,
            total,
            onPage: (next) => go(to({ offset: next || null })),
          }),
          bar(chosen, to),
        ]),
      ),
      chosen.length < 2 ? null : this.#comparison(state, at, chosen, to),
    ];
  }

  #table(columns, cells, sort, chosen, to) {
    const given = columns.map((key) => ({
      key,
      label: words(key),
      num: cells.some((cell) => typeof cell.words[key] === "number"),
    }));
    const tick = { key: "tick", label: h("span", { class: "unseen" }, "Compare"), sorts: false };
    const figures = FIGURES.map((column) => ({ ...column, num: column.key !== "p_holm" }));
    return table({
      name: "Configurations",
      columns: [tick, ...given, ...figures],
      rows: cells.map((cell) => ({
        key: cell.key,
        cells: [
          ticked(cell, chosen, to),
          ...columns.map((key) => word(key, cell.words[key])),
          ...this.#figures(cell),
        ],
      })),
      sort,
      onSort: (by) => {
        const next = nextSort(sort, by);
        go(to({ sort: next.by, order: next.order, offset: null }));
      },
      empty: "No configuration fits the filter.",
    });
  }

  #figures(cell) {
    const { counts, value, delta, verdict, metric: name } = cell;
    const trials = link(["studies", this.#name, "trials"], { cell: cell.key });
    const seeds = `${value.n} of ${cell.asked}`;
    return [
      h("a", { href: trials, "aria-label": `${cell.label}: trials of ${seeds} seeds` }, seeds),
      metric(value.mean, name),
      metric(value.deviation, name, false),
      interval(value.low, value.high, name),
      { show: difference(delta?.mean, name), class: verdictClass(verdict) },
      interval(delta?.low, delta?.high, name, true),
      { show: verdict || "–", class: verdictClass(verdict) },
      { show: counts.failed || "–", class: counts.failed ? "bad" : "faint" },
      { show: counts.missing || "–", class: counts.missing ? "" : "faint" },
    ];
  }

  #comparison(state, at, chosen, to) {
    const asked = { cell: chosen, measure: measureOf(at) };
    const path = withQuery(api`studies/${this.#name}/compare`, asked);
    const found = this.#compared.want(path, state.version);
    const under = underText(found.data?.under);
    const title = `Comparison of ${counted(chosen.length, "configuration")}${under}`;
    return card(
      "compare",
      "Comparison",
      head(
        h("h2", { id: "comparison", tabindex: -1 }, title),
        button("Clear", () => go(to({ compare: null }))),
      ),
      held(found, comparison),
    );
  }
}

function filter(text, to) {
  return h(
    "label",
    { key: "filter" },
    "Filter (conditions as for sweep run --only; Enter)",
    h("input", {
      type: "search",
      value: text,
      placeholder: "teacher=small alpha=0.1|0.6",
      autocapitalize: "off",
      spellcheck: "false",
      onchange: (event) => go(to({ filter: event.target.value, offset: null })),
    }),
  );
}

function ticked(cell, chosen, to) {
  const checked = chosen.includes(cell.key);
  return h(
    "label",
    { class: "check" },
    h("input", {
      type: "checkbox",
      checked,
      disabled: !checked && chosen.length >= MOST_COMPARED,
      "aria-label": `Compare ${cell.label}`,
      onchange: (event) => {
        const rest = chosen.filter((key) => key !== cell.key);
        go(to({ compare: event.target.checked ? [...rest, cell.key] : rest }));
      },
    }),
  );
}

function word(key, value) {
  return key === "dataset" ? dataset(value) : plain(value);
}

function bar(chosen, to) {
  if (chosen.length === 0) return note("Tick two or more to compare them.");
  const more = chosen.length < 2 ? "; tick another one to compare" : "";
  return h(
    "div",
    { class: "chosen-bar", key: "bar" },
    h("span", null, `${count(chosen.length)} chosen${more}`),
    more ? null : button("To the comparison", toComparison, { class: "primary" }),
    button("Clear", () => go(to({ compare: null })), { key: "clear" }),
  );
}

function toComparison() {
  const heading = document.getElementById("comparison");
  heading?.scrollIntoView();
  heading?.focus({ preventScroll: true });
}
