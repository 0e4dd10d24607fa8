// The cells of a study, filling in: one panel for each dataset and teacher, drawn and as a table.
//
// A cell is chosen by a click, by the arrow keys and Enter on the figure, or by its link in the
// table; its trials are shown below.

import { announce } from "./announce.js";
import { DIVERGING, FILLING, INK, axis, layout, literal } from "./charts.js";
import { h } from "./dom.js";
import { count, dataset, difference, metric, metricTitle, plain } from "./format.js";

const CELL_PX = 44;
export const VALUES = [
  ["delta", "difference to the baseline"],
  ["mean", "mean over seeds"],
  ["done", "seeds done"],
];

/** An answer of the server as rows and columns of cells, null where nothing was asked for. */
export function panelOf(found) {
  const { label, words: fixed } = found.panels.find((one) => one.id === found.panel);
  const y = found.y ?? { title: "", values: [""] };
  const cells = y.values.map(() => found.x.values.map(() => null));
  for (const cell of found.cells) {
    const said = [`${found.x.title} ${plain(found.x.values[cell.x])}`];
    if (found.y) said.unshift(`${y.title} ${plain(y.values[cell.y])}`);
    if (fixed.teacher) said.unshift(`${fixed.teacher} teacher`);
    cells[cell.y][cell.x] = { ...cell, label: said.join(", ") };
  }
  const { dataset: name, ...rest } = fixed;
  const title = Object.keys(rest).length
    ? `${dataset(name)}${label.slice(String(name).length)}`
    : dataset(name);
  const x = found.x;
  const { midpoint, limit, baseline, metric: metricName } = found;
  const better = found.higher_is_better ? "higher" : "lower";
  return { key: found.panel, title, x, y, cells, midpoint, limit, baseline, metricName, better };
}

/** What a cell shows under a choice of value, in words. */
function cellText(cell, value, metricName) {
  if (cell === null) return "";
  const marks = (cell.running ? " ▶" : "") + (cell.failed ? " ✕" : "");
  if (value === "done" || cell.done === 0) {
    return `${cell.done}/${cell.asked}${marks}`;
  }
  if (value === "mean") return metric(cell.mean, metricName, false) + marks;
  return difference(cell.delta, metricName, false) + marks;
}

/** A cell in a sentence. */
function sentence(panel, cell) {
  const parts = [cell.label ?? "", `${count(cell.done)} of ${count(cell.asked)} seeds done`];
  if (cell.running) parts.push(`${count(cell.running)} running`);
  if (cell.failed) parts.push(`${count(cell.failed)} failed`);
  if (cell.done) parts.push(`mean ${metric(cell.mean, panel.metricName)}`);
  if (cell.delta !== null && cell.done) {
    parts.push(`${difference(cell.delta, panel.metricName)} to the baseline`);
  }
  return parts.filter(Boolean).join(", ");
}

function amount(cell, value) {
  if (cell === null) return null;
  if (value === "done") return cell.asked ? cell.done / cell.asked : null;
  if (cell.done === 0) return null;
  return value === "mean" ? cell.mean : cell.delta;
}

/** The figure of one panel. */
export function figure(panel, { value, chosen, cursor, onCell }) {
  const x = panel.x.values.map((entry) => literal(plain(entry)));
  const y = panel.y.values.map((entry) => literal(plain(entry)));
  const z = panel.cells.map((row) => row.map((cell) => amount(cell, value)));
  const texts = (wanted) =>
    panel.cells.map((row) =>
      row.map((cell) =>
        wanted(amount(cell, value)) ? literal(cellText(cell, value, panel.metricName)) : "",
      ),
    );
  const hover = panel.cells.map((row) =>
    row.map((cell) => (cell === null ? "" : lines(sentence(panel, cell)))),
  );
  const shapes = [];
  const frame = (at, colour, dash) =>
    shapes.push({
      type: "rect",
      x0: at.column - 0.5,
      x1: at.column + 0.5,
      y0: at.row - 0.5,
      y1: at.row + 0.5,
      line: { color: colour, width: 2.5, dash },
    });
  panel.cells.forEach((row, r) =>
    row.forEach((cell, c) => {
      if (cell !== null && cell.key === chosen) frame({ row: r, column: c }, INK, "solid");
    }),
  );
  if (cursor) frame(cursor, "#E69F00", "solid");
  const height = y.length * CELL_PX + 62;
  const trace = {
    type: "heatmap",
    x,
    y,
    z,
    text: texts((number) => number !== null),
    texttemplate: "%{text}",
    hovertext: hover,
    hovertemplate: "%{hovertext}<extra></extra>",
    hoverongaps: false,
    xgap: 2,
    ygap: 2,
    showscale: false,
    ...scale(panel, value),
  };
  // Cells without a number have no colour, and plotly writes no text there: one more, colourless
  // layer below says how far they are.
  const open = {
    ...trace,
    z: panel.cells.map((row) =>
      row.map((cell, c) => (cell !== null && amount(cell, value) === null ? 0 : null)),
    ),
    colorscale: [
      [0, "rgba(128,128,128,0.14)"],
      [1, "rgba(128,128,128,0.14)"],
    ],
    zmin: 0,
    zmax: 1,
    zmid: undefined,
    text: texts((number) => number === null),
    textfont: { color: INK },
  };
  return {
    data: [open, trace],
    layout: layout({
      height,
      margin: { l: 60, r: 6, t: 6, b: 48 },
      shapes,
      dragmode: false,
      xaxis: axis(literal(panel.x.title), {
        type: "category", showgrid: false, fixedrange: true, tickangle: 0,
      }), // prettier-ignore
      yaxis: axis(literal(panel.y.title), {
        type: "category", showgrid: false, fixedrange: true,
      }), // prettier-ignore
    }),
    onPoint: (point) => {
      const [row, column] = point.pointIndex ?? point.pointNumber;
      const cell = panel.cells[row][column];
      if (cell !== null) onCell(cell);
    },
  };
}

function lines(text) {
  return literal(text).replaceAll(", ", "<br>");
}

function scale(panel, value) {
  if (value === "done") return { colorscale: FILLING, zmin: 0, zmax: 1 };
  const middle = value === "delta" ? 0 : (panel.midpoint ?? 0);
  const limit = panel.limit || 1e-6;
  const stops =
    panel.better === "lower" ? DIVERGING.map(([at, c]) => [1 - at, c]).reverse() : DIVERGING;
  return { colorscale: stops, zmin: middle - limit, zmax: middle + limit, zmid: middle };
}

/** The same cells as a table of links. */
export function cellTable(panel, { value, chosen, hrefOf }) {
  const { x, y, title, metricName } = panel;
  const region = { tabindex: 0, role: "region", "aria-label": `${title}, as a table` };
  const shown = (cell) =>
    h(
      "a",
      {
        href: hrefOf(cell),
        title: sentence(panel, cell),
        "aria-label": `${sentence(panel, cell)}: its trials`,
        "aria-current": cell.key === chosen ? "true" : null,
      },
      cellText(cell, value, metricName),
    );
  const row = (entry, r) =>
    h(
      "tr",
      { key: r },
      h("th", { scope: "row" }, plain(entry)),
      panel.cells[r].map((cell, c) => h("td", { key: c }, cell === null ? "" : shown(cell))),
    );
  return h(
    "div",
    { class: "scroll", key: "table", ...region },
    h(
      "table",
      { class: "grid-cells" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", { scope: "col" }, y.title ? `${y.title} \\ ${x.title}` : x.title),
          x.values.map((entry, i) => h("th", { scope: "col", key: i }, plain(entry))),
        ),
      ),
      h("tbody", null, y.values.map(row)),
    ),
  );
}

/** Where the keyboard is in a panel; moves on arrows, opens on Enter. */
export class Cursor {
  #at = new Map();

  of(panel) {
    return this.#at.get(panel.key) ?? null;
  }

  leave(panel) {
    this.#at.delete(panel.key);
  }

  /** Takes a key; gives whether it meant something. */
  press(event, panel, onCell) {
    const steps = {
      ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0],
    }; // prettier-ignore
    const at = this.of(panel);
    if (event.key in steps) {
      const [up, right] = steps[event.key];
      const rows = panel.cells.length;
      const columns = panel.x.values.length;
      const next =
        at === null
          ? { row: rows - 1, column: 0 }
          : {
              row: Math.max(0, Math.min(rows - 1, at.row + up)),
              column: Math.max(0, Math.min(columns - 1, at.column + right)),
            };
      this.#at.set(panel.key, next);
      const cell = panel.cells[next.row][next.column];
      announce(cell === null ? "not asked for" : sentence(panel, cell));
      return true;
    }
    if ((event.key === "Enter" || event.key === " ") && at !== null) {
      const cell = panel.cells[at.row][at.column];
      if (cell !== null) onCell(cell);
      return true;
    }
    return false;
  }
}

/** What the colours and marks mean, in words. */
export function legend(panels, value) {
  const marks =
    "Grey: no result yet (seeds done / asked). ▶: a seed is being trained. ✕: a seed failed.";
  if (value === "done") return `Colour: share of the seeds that are done. ${marks}`;
  const based = panels.every((panel) => known(panel.baseline?.value.mean));
  const middle = value === "delta" || based ? "the baseline" : "the mean of the cells";
  return `Blue is better than ${middle}, orange worse. ${marks}`;
}

/** What is measured, around what, and how far the colours reach. */
export function measured(panel, value) {
  if (value === "done") return "seeds done";
  const { metricName, better, limit } = panel;
  const name = metricTitle(metricName);
  const reach = limit ? `; ${better} is better, colours to ±${magnitude(limit, metricName)}` : "";
  if (value === "delta") return `difference in test ${name}${reach}`;
  const base = panel.baseline?.value.mean;
  const around = known(base) ? ` around the baseline's ${metric(base, metricName, false)}` : "";
  return `mean test ${name}${reach}${around}`;
}

function magnitude(limit, metricName) {
  return difference(limit, metricName, false).replace("+", "");
}

function known(value) {
  return typeof value === "number";
}
