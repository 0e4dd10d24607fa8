// The trials of a study: all of them or of one configuration, paged by the server.

import { go, link } from "./address.js";
import { api, withQuery } from "./api.js";
import { h } from "./dom.js";
import { count, difference, metric, moment, shortId, took, words } from "./format.js";
import { pill } from "./progress.js";
import { Resource } from "./resource.js";
import { nextSort, pager, table } from "./table.js";

const PAGE = 50;
const STATES = ["done", "running", "failed", "blocked", "missing"];

/** A table of trials. */
export function trialTable(rows, more = {}) {
  const oneCell = more.oneCell ?? false;
  return table({
    columns: [
      { key: "trial_id", label: "trial", sorts: false },
      { key: "status", label: "state" },
      ...(oneCell ? [] : [{ key: "cell", label: "configuration" }]),
      { key: "seed", label: "seed", num: true },
      { key: "test_metric", label: "test metric", num: true },
      { key: "delta", label: "to baseline", num: true, title: "difference to the baseline of the same seed" },
      { key: "epochs_run", label: "epochs", num: true },
      { key: "wall_s", label: "time", num: true },
      { key: "finished_at", label: "finished" },
      { key: "attempts", label: "attempts", num: true, sorts: false },
      { key: "failure", label: "failure", sorts: false },
    ],
    rows: rows.map((row) => ({
      key: `${row.cell} ${row.seed}`,
      cells: [
        h("a", { href: link(["trials", row.trial_id]) }, h("code", null, shortId(row.trial_id))),
        pill(row.status),
        ...(oneCell ? [] : [row.label]),
        row.seed,
        metric(row.test_metric, row.metric),
        difference(row.delta, row.metric),
        row.epochs_run === null ? "–" : count(row.epochs_run),
        took(row.wall_s),
        { show: moment(row.finished_at), class: row.finished_at ? "" : "faint" },
        row.attempts || { show: "–", class: "faint" },
        { show: row.failure === null ? "–" : words(row.failure), class: row.failure ? "bad" : "faint" },
      ],
    })),
    ...more,
  });
}

export class Trials {
  #name;
  #rows;

  constructor(redraw, name) {
    this.#name = name;
    this.#rows = new Resource(redraw);
  }

  leave() {
    this.#rows.leave();
  }

  draw({ state, at }) {
    const query = at.query;
    const cell = query.get("cell");
    const status = query.get("status") ?? "";
    const by = query.get("sort");
    const sort = by === null ? null : { by, order: query.get("order") ?? "asc" };
    const offset = Number(query.get("offset") ?? 0) || 0;
    const path = withQuery(api`studies/${this.#name}/trials`, {
      cell, status, sort: sort?.by, order: sort?.order, offset, limit: PAGE,
    }); // prettier-ignore
    const found = this.#rows.want(path, state.version);
    const to = (changes) =>
      link(["studies", this.#name, "trials"], {
        cell, status, sort: sort?.by, order: sort?.order, offset: offset || null, ...changes,
      }); // prettier-ignore
    return h(
      "section",
      { class: "card", "aria-label": "Trials" },
      h("h2", null, cell ? (found.data?.trials[0]?.label ?? "Trials of a configuration") : "Trials"),
      h(
        "div",
        { class: "controls" },
        h(
          "label",
          null,
          "State",
          h(
            "select",
            { value: status, onchange: (event) => go(to({ status: event.target.value, offset: null })) },
            h("option", { value: "" }, "all"),
            STATES.map((one) => h("option", { value: one }, one)),
          ),
        ),
        cell ? h("a", { class: "button", href: to({ cell: null, offset: null }) }, "Show all configurations") : null,
      ),
      found.problem ? h("p", { class: "trouble", role: "alert" }, found.problem.message) : null,
      found.data === null
        ? h("p", { class: "wait" }, "Loading …")
        : [
            trialTable(found.data.trials, {
              oneCell: cell !== null,
              name: "Trials",
              sort,
              onSort: (next) => {
                const chosen = nextSort(sort, next);
                go(to({ sort: chosen.by, order: chosen.order, offset: null }));
              },
              empty: "No trial is in this state.",
            }),
            pager({ offset, limit: PAGE, total: found.data.total, onPage: (at) => go(to({ offset: at || null })) }),
          ],
    );
  }
}
