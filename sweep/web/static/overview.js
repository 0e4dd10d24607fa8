// What a study looks like now: cells filling in, the trials of the chosen one, what runs, the log.

import { go, link } from "./address.js";
import { api, withQuery } from "./api.js";
import { h } from "./dom.js";
import { Resource } from "./resource.js";
import { pager } from "./table.js";
import { Cursor, VALUES, cellTable, figure, legend, measured, panelOf } from "./heatmap.js";
import { Log } from "./log.js";
import { now } from "./now.js";
import { Plan } from "./plan.js";
import { trialTable } from "./trials.js";

const PAGE = 50;
const PANELS = 9;
const KEPT = "sweep-heatmap-as";

export class Overview {
  #redraw;
  #name;
  #first;
  #panels = new Map();
  #shown = PANELS;
  #trials;
  #log;
  #plan;
  #cursor = new Cursor();
  #opened = false;
  #asTable = remembered();

  constructor(redraw, name) {
    this.#redraw = redraw;
    this.#name = name;
    this.#first = new Resource(redraw);
    this.#trials = new Resource(redraw);
    this.#log = new Log(redraw);
    this.#plan = new Plan(redraw);
  }

  leave() {
    this.#first.leave();
    for (const panel of this.#panels.values()) panel.leave();
    this.#trials.leave();
    this.#log.leave();
  }

  draw({ state, at }) {
    const chosen = at.query.get("cell");
    if (this.#opened && chosen !== null) {
      this.#opened = false;
      queueMicrotask(() => document.getElementById("chosen")?.focus()); // once it is drawn
    }
    if (state.counts === null) return [this.#unbegun(), this.#log.draw(state)];
    return [
      this.#cells(state, at),
      chosen === null ? null : this.#chosen(state, chosen, at),
      h("div", { class: "pair", key: "now" }, now(state), this.#log.draw(state)),
    ];
  }

  #unbegun() {
    return h(
      "section",
      { class: "card", key: "plan", "aria-label": "Plan" },
      h("h2", null, "Plan"),
      this.#plan.draw(this.#name),
    );
  }

  #with(at, changes) {
    const known = { value: at.query.get("value"), cell: at.query.get("cell"), ...changes };
    return link(["studies", this.#name], known);
  }

  #cells(state, at) {
    const chosen = at.query.get("cell");
    const path = api`studies/${this.#name}/heatmap`;
    const found = this.#first.want(path, state.version);
    const ids = (found.data?.panels ?? []).map((panel) => panel.id);
    const panels = [];
    for (const id of ids.slice(0, this.#shown)) {
      if (id === found.data.panel) {
        panels.push(panelOf(found.data));
        continue;
      }
      if (!this.#panels.has(id)) this.#panels.set(id, new Resource(this.#redraw));
      const { data } = this.#panels.get(id).want(withQuery(path, { panel: id }), state.version);
      if (data !== null) panels.push(panelOf(data));
    }
    const value = at.query.get("value") ?? bestValue(panels);
    const open = (cell) => {
      this.#opened = true;
      go(this.#with(at, { cell: cell.key }));
    };
    return h(
      "section",
      { class: "card", key: "heatmap", "aria-label": "Cells" },
      h(
        "div",
        { class: "head" },
        h("h2", null, "Cells"),
        h(
          "div",
          { class: "controls" },
          h(
            "label",
            null,
            "Shown",
            h(
              "select",
              { value, onchange: (event) => go(this.#with(at, { value: event.target.value })) },
              VALUES.map(([key, title]) => h("option", { value: key }, title)),
            ),
          ),
          h(
            "button",
            {
              type: "button",
              "aria-pressed": String(this.#asTable),
              onclick: () => {
                this.#asTable = !this.#asTable;
                remember(this.#asTable);
                this.#redraw();
              },
            },
            this.#asTable ? "As figures" : "As tables",
          ),
        ),
      ),
      found.problem ? h("p", { class: "trouble", role: "alert", key: "problem" }, found.problem.message) : null,
      found.data === null
        ? h("p", { class: "wait", key: "wait" }, "Loading …")
        : panels.length === 0
          ? h("p", { class: "note", key: "none" }, "No cells yet: the study was not run here.")
          : h(
              "div",
              { class: "panels", key: "panels", style: { "--panel": `${width(panels)}px` } },
              panels.map((panel) => this.#panel(panel, { value, chosen, at, open })),
            ),
      ids.length > this.#shown
        ? h(
            "button",
            {
              type: "button",
              key: "more",
              onclick: () => {
                this.#shown += PANELS;
                this.#redraw();
              },
            },
            `Show more of ${ids.length} panels`,
          )
        : null,
      panels.length ? h("p", { class: "note", key: "legend" }, legend(panels, value)) : null,
      panels.length && !this.#asTable
        ? h("p", { class: "note", key: "keys" }, "Click a cell for its trials, or use the arrow keys and Enter on a figure.")
        : null,
    );
  }

  #panel(panel, { value, chosen, at, open }) {
    const title = `${panel.title}: ${measured(panel, value)}`;
    const hrefOf = (cell) => this.#with(at, { cell: cell.key });
    if (this.#asTable) {
      return h(
        "figure",
        { key: `table ${panel.key}` },
        h("figcaption", null, panel.title, h("span", null, `: ${measured(panel, value)}`)),
        cellTable(panel, { value, chosen, hrefOf }),
      );
    }
    const drawn = figure(panel, { value, chosen, cursor: this.#cursor.of(panel), onCell: open });
    return h(
      "figure",
      { key: `figure ${panel.key}` },
      h("figcaption", null, panel.title, h("span", null, `: ${measured(panel, value)}`)),
      h(
        "div",
        {
          class: "across plot-frame",
          tabindex: 0,
          role: "application",
          "aria-label": `${title}. Arrow keys move between cells, Enter opens one.`,
          onkeydown: (event) => {
            if (!this.#cursor.press(event, panel, open)) return;
            event.preventDefault();
            this.#redraw();
          },
          onblur: () => {
            this.#cursor.leave(panel);
            this.#redraw();
          },
        },
        h("div", {
          class: "plot",
          opaque: true,
          key: panel.key,
          style: { "min-width": `${panel.x.values.length * 46 + 70}px` },
          keep: drawn,
        }),
      ),
    );
  }

  #chosen(state, cell, at) {
    const offset = Number(at.query.get("offset") ?? 0) || 0;
    const path = withQuery(api`studies/${this.#name}/trials`, { cell, offset, limit: PAGE });
    const found = this.#trials.want(path, state.version);
    const rows = found.data?.trials ?? [];
    return h(
      "section",
      { class: "card", key: "chosen", "aria-labelledby": "chosen" },
      h(
        "div",
        { class: "head" },
        h("h2", { id: "chosen", tabindex: -1 }, rows.length ? `Trials: ${rows[0].label}` : "Trials"),
        h("div", { class: "buttons" }, h("a", { class: "button", href: this.#with(at, { cell: null }) }, "Close")),
      ),
      found.problem ? h("p", { class: "trouble", role: "alert" }, found.problem.message) : null,
      found.data === null
        ? h("p", { class: "wait" }, "Loading …")
        : [
            trialTable(rows, { name: "Trials of the chosen cell", oneCell: true }),
            pager({
              offset,
              limit: PAGE,
              total: found.data.total,
              onPage: (to) => go(link(["studies", this.#name], { cell, value: at.query.get("value"), offset: to || null })),
            }),
          ],
    );
  }
}

/** How wide a panel wants to be, so that narrow ones stand beside each other. */
function width(panels) {
  return Math.max(...panels.map((panel) => panel.x.values.length)) * 68 + 80;
}

/** Differences where there is something to differ from, else means. */
function bestValue(panels) {
  const cells = panels.flatMap((panel) => panel.cells.flat()).filter((cell) => cell !== null);
  if (cells.some((cell) => cell.delta !== null)) return "delta";
  return cells.some((cell) => cell.mean !== null) ? "mean" : "done";
}

function remembered() {
  try {
    return localStorage.getItem(KEPT) === "tables";
  } catch {
    return false;
  }
}

function remember(asTable) {
  try {
    localStorage.setItem(KEPT, asTable ? "tables" : "figures");
  } catch {
    // Storage may be forbidden; then nothing is remembered.
  }
}
