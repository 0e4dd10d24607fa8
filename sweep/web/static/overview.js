// What a study looks like now: cells filling in, the trials of the chosen one, what runs, the log.

import { go, link } from "./address.js";
import { api, withQuery } from "./api.js";
import { VALUES, cellText, legend, measured, panelOf } from "./cells.js";
import { cellTable } from "./celltable.js";
import { Cursor } from "./cursor.js";
import { h } from "./dom.js";
import { figure } from "./heatmap.js";
import { Log } from "./log.js";
import { measureChoice, measureOf } from "./measure.js";
import { now } from "./now.js";
import { button, card, head, held, note } from "./parts.js";
import { Plan } from "./plan.js";
import { Resource } from "./resource.js";
import { pager } from "./table.js";
import { trialTable } from "./trials.js";

const PAGE = 50;
const PANELS = 9;
const BESIDE_PX = 72;
const BESIDE_TABLE_PX = 150;
const LEAST_CELL_PX = 46;
const WIDE_CELL_PX = 68;
const LETTER_PX = 7.5;
const KEPT = "sweep-heatmap-as";
const HOW = "Click a cell for its trials, or use the arrow keys and Enter on a figure.";

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

  draw({ state, detail, at }) {
    const chosen = at.query.get("cell");
    if (this.#opened && chosen !== null) {
      this.#opened = false;
      queueMicrotask(() => document.getElementById("chosen")?.focus()); // once it is drawn
    }
    if (state.counts === null) {
      const plan = card("plan", "Plan", h("h2", null, "Plan"), this.#plan.draw(this.#name));
      return [plan, this.#log.draw(state)];
    }
    return [
      this.#cells(state, detail, at),
      chosen === null ? null : this.#chosen(state, chosen, at),
      h("div", { class: "pair", key: "now" }, now(state), this.#log.draw(state)),
    ];
  }

  /** This address with some of its query changed. */
  #with(at, changes) {
    const known = { value: at.query.get("value"), measure: measureOf(at), cell: at.query.get("cell") };
    return link(["studies", this.#name], { ...known, ...changes });
  }

  #cells(state, detail, at) {
    const path = (panel) =>
      withQuery(api`studies/${this.#name}/heatmap`, { panel, measure: measureOf(at) });
    const found = this.#first.want(path(null), state.version);
    const refused = found.data === null && found.problem !== null;
    return card(
      "heatmap",
      "Cells",
      refused ? this.#controls(detail, at, at.query.get("value") ?? "delta") : null,
      held(found, (first) => {
        const panels = this.#known(first, path, state.version);
        const value = at.query.get("value") ?? bestValue(panels);
        const open = (cell) => this.#open(at, cell);
        const look = { value, at, chosen: at.query.get("cell"), open };
        const beside = this.#asTable ? BESIDE_TABLE_PX : BESIDE_PX;
        const wide = { "--panel": `${widest(panels) * WIDE_CELL_PX + beside}px` };
        return [
          this.#controls(detail, at, value),
          h(
            "div",
            { class: "panels", key: "panels", style: wide },
            panels.map((panel) => this.#panel(panel, look)),
          ),
          first.panels.length > this.#shown ? this.#more(first.panels.length) : null,
          note(legend(panels, value)),
          this.#asTable ? null : note(HOW),
        ];
      }),
    );
  }

  /** The panels that have arrived, of those that are shown. */
  #known(first, path, version) {
    const panels = [];
    for (const { id } of first.panels.slice(0, this.#shown)) {
      if (id === first.panel) {
        panels.push(panelOf(first));
        continue;
      }
      if (!this.#panels.has(id)) this.#panels.set(id, new Resource(this.#redraw));
      const { data } = this.#panels.get(id).want(path(id), version);
      if (data !== null) panels.push(panelOf(data));
    }
    return panels;
  }

  #more(total) {
    const more = () => {
      this.#shown += PANELS;
      this.#redraw();
    };
    return button(`Show more of ${total} panels`, more, { key: "more" });
  }

  #controls(detail, at, value) {
    const turn = () => {
      this.#asTable = !this.#asTable;
      remember(this.#asTable);
      this.#redraw();
    };
    return h(
      "div",
      { class: "head", key: "controls" },
      h("h2", null, "Cells"),
      h(
        "div",
        { class: "controls" },
        measureChoice(detail, at, (measure) => go(this.#with(at, { measure }))),
        h(
          "label",
          { key: "value" },
          "Shown",
          h(
            "select",
            { value, onchange: (event) => go(this.#with(at, { value: event.target.value })) },
            VALUES.map(([key, title]) => h("option", { value: key }, title)),
          ),
        ),
        button(this.#asTable ? "As figures" : "As tables", turn),
      ),
    );
  }

  #open(at, cell) {
    this.#opened = true;
    go(this.#with(at, { cell: cell.key }));
  }

  #panel(panel, { value, at, chosen, open }) {
    const said = measured(panel, value);
    const caption = h("figcaption", null, panel.title, h("span", null, `: ${said}`));
    if (this.#asTable) {
      const hrefOf = (cell) => this.#with(at, { cell: cell.key });
      const cells = cellTable(panel, { value, chosen, hrefOf });
      return h("figure", { key: `table ${panel.key}` }, caption, cells);
    }
    const least = panel.x.values.length * cellWidth(panel, value) + BESIDE_PX;
    const drawn = { value, chosen, cursor: this.#cursor.of(panel), onCell: open };
    const how = "Arrow keys move between cells, Enter opens one.";
    return h(
      "figure",
      { key: `figure ${panel.key}` },
      caption,
      h(
        "div",
        {
          class: "across plot-frame",
          tabindex: 0,
          role: "application",
          "aria-label": `${panel.title}: ${said}. ${how}`,
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
          style: { "min-width": `${least}px` },
          keep: figure(panel, drawn),
        }),
      ),
    );
  }

  #chosen(state, cell, at) {
    const offset = Number(at.query.get("offset")) || 0;
    const path = withQuery(api`studies/${this.#name}/trials`, { cell, offset, limit: PAGE });
    const found = this.#trials.want(path, state.version);
    const label = found.data?.trials[0]?.label;
    const title = label ? `Trials: ${label}` : "Trials";
    const turn = (to) => go(this.#with(at, { offset: to || null }));
    return card(
      "chosen",
      "Trials of the chosen cell",
      head(
        h("h2", { id: "chosen", tabindex: -1 }, title),
        h("a", { class: "button", href: this.#with(at, { cell: null }) }, "Close"),
      ),
      held(found, ({ trials, total }) => [
        trialTable(trials, { name: "Trials", oneCell: true }),
        pager({ offset, limit: PAGE, total, onPage: turn }),
      ]),
    );
  }
}

/** What the longest text of a panel needs; a finger needs no less than 44 pixels. */
function cellWidth(panel, value) {
  const texts = panel.cells.flat().map((cell) => cellText(cell, value, panel.metricName));
  const longest = Math.max(...texts.map((text) => text.length));
  return Math.max(LEAST_CELL_PX, Math.ceil(longest * LETTER_PX) + 4);
}

function widest(panels) {
  return Math.max(1, ...panels.map((panel) => panel.x.values.length));
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
