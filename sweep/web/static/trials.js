// The trials of a study: all of them or of one configuration, paged by the server.

import { go, link } from "./address.js";
import { api, withQuery } from "./api.js";
import { h } from "./dom.js";
import { count, difference, metric, moment, took, words } from "./format.js";
import { card, held, trialLink } from "./parts.js";
import { pill } from "./progress.js";
import { Resource } from "./resource.js";
import { nextSort, pager, sortOf, table } from "./table.js";

const PAGE = 50;
const STATES = ["done", "running", "failed", "blocked", "missing"];
const DELTA = "difference to the baseline of the same seed";
const COLUMNS = [
  { key: "trial_id", label: "trial", sorts: false },
  { key: "status", label: "state" },
  { key: "cell", label: "configuration" },
  { key: "seed", label: "seed", num: true },
  { key: "test_metric", label: "test metric", num: true },
  { key: "delta", label: "to baseline", num: true, title: DELTA },
  { key: "epochs_run", label: "epochs", num: true },
  { key: "wall_s", label: "time", num: true },
  { key: "finished_at", label: "finished" },
  { key: "attempts", label: "attempts", num: true, sorts: false },
  { key: "failure", label: "failure", sorts: false },
];

/** A table of trials; of one configuration it need not say which. */
export function trialTable(rows, { oneCell = false, ...more }) {
  const shown = COLUMNS.filter((column) => !(oneCell && column.key === "cell"));
  return table({
    columns: shown,
    rows: rows.map((row) => {
      const cells = cellsOf(row);
      return {
        key: `${row.cell} ${row.seed}`,
        cells: shown.map((column) => cells[column.key]),
      };
    }),
    ...more,
  });
}

function cellsOf(row) {
  const faint = (text) => ({ show: text, class: "faint" });
  return {
    trial_id: trialLink(row.trial_id),
    status: pill(row.status),
    cell: row.label,
    seed: row.seed,
    test_metric: metric(row.test_metric, row.metric),
    delta: difference(row.delta, row.metric),
    epochs_run: count(row.epochs_run),
    wall_s: took(row.wall_s),
    finished_at: row.finished_at ? moment(row.finished_at) : faint("–"),
    attempts: row.attempts || faint("–"),
    failure: row.failure === null ? faint("–") : { show: words(row.failure), class: "bad" },
  };
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
    const cell = at.query.get("cell");
    const status = at.query.get("status") ?? "";
    const offset = Number(at.query.get("offset")) || 0;
    const sort = sortOf(at.query);
    const asked = { cell, status, sort: sort?.by, order: sort?.order, offset: offset || null };
    const to = (changes) =>
      link(["studies", this.#name, "trials"], { ...asked, offset: null, ...changes });
    const path = withQuery(api`studies/${this.#name}/trials`, { ...asked, limit: PAGE });
    const found = this.#rows.want(path, state.version);
    const label = cell ? found.data?.trials[0]?.label : null;
    return card(
      "trials",
      "Trials",
      h("h2", null, label ?? "Trials"),
      h(
        "div",
        { class: "controls" },
        h(
          "label",
          null,
          "State",
          h(
            "select",
            { value: status, onchange: (event) => go(to({ status: event.target.value })) },
            h("option", { value: "" }, "all"),
            STATES.map((one) => h("option", { value: one }, one)),
          ),
        ),
        cell
          ? h("a", { class: "button", href: to({ cell: null }) }, "Show all configurations")
          : null,
      ),
      held(found, ({ trials, total }) => [
        trialTable(trials, {
          name: "Trials",
          oneCell: cell !== null,
          sort,
          onSort: (by) => {
            const next = nextSort(sort, by);
            go(to({ sort: next.by, order: next.order }));
          },
          empty: "No trial is in this state.",
        }),
        pager({ offset, limit: PAGE, total, onPage: (next) => go(to({ offset: next || null })) }),
      ]),
    );
  }
}
