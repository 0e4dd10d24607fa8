// The cells of one panel as a figure.

import { amount, cellText, sentence } from "./cells.js";
import { DIVERGING, FILLING, INK, axis, layout, literal } from "./charts.js";
import { plain } from "./format.js";

const CELL_PX = 44;
const AROUND_PX = 62;
const UNDONE = "rgba(128,128,128,0.14)";
const CURSOR = "#E69F00";
const DARK_FROM = 0.95;

/**
 * The figure of a panel.
 *
 * @param {object} panel See `panelOf`.
 * @param {object} shown `value`, one of `VALUES`; `chosen`, the key of a cell; `cursor`, where the
 *   keyboard is; `onCell`, which gets a cell that is clicked.
 */
export function figure(panel, { value, chosen, cursor, onCell }) {
  const { cells } = panel;
  const x = panel.x.values.map((entry) => literal(plain(entry)));
  const y = panel.y.values.map((entry) => literal(plain(entry)));
  const each = (of) => cells.map((row) => row.map((cell) => (cell === null ? null : of(cell))));
  const base = {
    type: "heatmap",
    x,
    y,
    hovertext: each((cell) => literal(sentence(panel, cell)).replaceAll(", ", "<br>")),
    hovertemplate: "%{hovertext}<extra></extra>",
    hoverongaps: false,
    xgap: 2,
    ygap: 2,
    showscale: false,
  };
  const undone = {
    ...base,
    z: each((cell) => (amount(cell, value) === null ? 0 : null)),
    zmin: 0,
    zmax: 1,
    colorscale: [[0, UNDONE], [1, UNDONE]], // prettier-ignore
  };
  const done = { ...base, z: each((cell) => amount(cell, value)), ...scale(panel, value) };
  const fixed = { type: "category", showgrid: false, fixedrange: true };
  return {
    data: [undone, done, texts(panel, value, x, y)],
    layout: layout({
      height: y.length * CELL_PX + AROUND_PX,
      margin: { l: 60, r: 6, t: 6, b: 48 },
      shapes: frames(cells, chosen, cursor),
      dragmode: false,
      showlegend: false,
      xaxis: axis(literal(panel.x.title), { ...fixed, tickangle: 0 }),
      yaxis: axis(literal(panel.y.title), fixed),
    }),
    onPoint: (point) => {
      const [row, column] = point.pointIndex ?? point.pointNumber;
      const cell = cells[row][column];
      if (cell !== null) onCell(cell);
    },
  };
}

function scale(panel, value) {
  if (value === "done") return { colorscale: FILLING, zmin: 0, zmax: 1 };
  const { middle, limit } = around(panel, value);
  const turned = DIVERGING.map(([at, colour]) => [1 - at, colour]).reverse();
  const colorscale = panel.better === "lower" ? turned : DIVERGING;
  return { colorscale, zmin: middle - limit, zmax: middle + limit };
}

function around(panel, value) {
  return { middle: value === "delta" ? 0 : (panel.midpoint ?? 0), limit: panel.limit || 1e-6 };
}

/** The texts of the cells, each in the colour that stands out from its own. */
function texts(panel, value, x, y) {
  const found = { x: [], y: [], text: [], colours: [] };
  panel.cells.forEach((row, r) =>
    row.forEach((cell, c) => {
      if (cell === null) return;
      found.x.push(x[c]);
      found.y.push(y[r]);
      found.text.push(literal(cellText(cell, value, panel.metricName)));
      found.colours.push(textColour(panel, value, amount(cell, value)));
    }),
  );
  return {
    type: "scatter",
    mode: "text",
    x: found.x,
    y: found.y,
    text: found.text,
    textfont: { color: found.colours, size: 12 },
    hoverinfo: "skip",
  };
}

/** Black stands out from all but the darkest blue, with 4.5 to 1 or more. */
function textColour(panel, value, number) {
  if (number === null) return INK;
  let blue = number;
  if (value !== "done") {
    const { middle, limit } = around(panel, value);
    blue = ((number - middle) / limit) * (panel.better === "lower" ? -1 : 1);
  }
  return blue > DARK_FROM ? "#ffffff" : "#000000";
}

/** A frame around the chosen cell, and one where the keyboard is. */
function frames(cells, chosen, cursor) {
  const frame = (row, column, color) => ({
    type: "rect",
    x0: column - 0.5,
    x1: column + 0.5,
    y0: row - 0.5,
    y1: row + 0.5,
    line: { color, width: 3 },
  });
  const found = [];
  cells.forEach((row, r) =>
    row.forEach((cell, c) => {
      if (cell !== null && cell.key === chosen) found.push(frame(r, c, INK));
    }),
  );
  if (cursor !== null) found.push(frame(cursor.row, cursor.column, CURSOR));
  return found;
}
