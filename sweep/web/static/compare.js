// Several configurations beside each other: means with intervals, and paired differences.

import { CATEGORIES, axis, layout, literal } from "./charts.js";
import { h } from "./dom.js";
import { difference, interval, metric, metricTitle, pValue } from "./format.js";
import { underText } from "./measure.js";
import { table } from "./table.js";
import { verdictClass } from "./verdict.js";

const ROW_PX = 34;
const LINE_PX = 16;

/** Figure and tables. */
export function comparison(found) {
  const label = new Map(found.cells.map(({ cell }) => [cell.key, cell.label]));
  return [
    found.cells.some(({ cell }) => cell.value.n > 0)
      ? h("div", {
          class: "plot",
          opaque: true,
          key: "means",
          role: "img",
          "aria-label": "Means with 95 % intervals; the table below has the numbers",
          keep: means(found),
        })
      : null,
    table({
      name: "Compared configurations",
      columns: [
        { key: "label", label: "configuration" },
        { key: "n", label: "seeds", num: true },
        { key: "mean", label: "mean", num: true },
        { key: "sd", label: "sd", num: true },
        { key: "ci", label: "95 % interval", num: true },
      ],
      rows: found.cells.map(({ cell }) => ({
        key: cell.key,
        cells: [
          { show: cell.label, class: "long" },
          `${cell.value.n} of ${cell.asked}`,
          metric(cell.value.mean, found.metric),
          metric(cell.value.deviation, found.metric, false),
          interval(cell.value.low, cell.value.high, found.metric),
        ],
      })),
    }),
    h("h3", null, "Paired differences over the same seeds"),
    table({
      name: "Paired differences",
      columns: [
        { key: "pair", label: "first minus second" },
        { key: "n", label: "pairs", num: true },
        { key: "difference", label: "difference", num: true },
        { key: "ci", label: "95 % interval", num: true },
        { key: "p", label: "p", num: true, title: "paired t test, not corrected" },
        { key: "verdict", label: "the first is" },
      ],
      rows: found.differences.map((pair) => ({
        key: `${pair.first} ${pair.second}`,
        cells: [
          { show: `${label.get(pair.first)} − ${label.get(pair.second)}`, class: "long" },
          pair.n,
          difference(pair.difference, found.metric),
          interval(pair.low, pair.high, found.metric, true),
          pValue(pair.p),
          { show: pair.verdict, class: verdictClass(pair.verdict) },
        ],
      })),
      empty: "No two of them have results for the same seed and dataset.",
    }),
  ];
}

function means({ cells, metric: name, under }) {
  const known = cells.map(({ cell }) => cell).filter((cell) => cell.value.n > 0);
  const title = [`mean test ${metricTitle(name)}, 95 % interval`];
  if (under) title.push(underText(under).trim()); // on a line of its own: a phone is narrow
  return {
    data: known.map((cell, i) => {
      const { mean, low, high } = cell.value;
      return {
        type: "scatter",
        mode: "markers",
        x: [mean],
        y: [i],
        error_x: {
          type: "data",
          symmetric: false,
          array: [(high ?? mean) - mean],
          arrayminus: [mean - (low ?? mean)],
          thickness: 2,
          width: 6,
        },
        marker: { size: 10, color: CATEGORIES[i % CATEGORIES.length] },
        hovertemplate: `${literal(cell.label)}<br>${metric(mean, name)}<extra></extra>`,
      };
    }),
    layout: layout({
      height: known.length * ROW_PX + 54 + title.length * LINE_PX,
      margin: { l: 20, r: 16, t: 8, b: 30 + title.length * LINE_PX },
      showlegend: false,
      dragmode: false,
      xaxis: axis(title.map(literal).join("<br>"), { fixedrange: true }),
      yaxis: axis("", {
        tickvals: known.map((_, i) => i),
        ticktext: known.map((cell) => folded(cell.label)),
        range: [known.length - 0.5, -0.5],
        fixedrange: true,
      }),
    }),
  };
}

/** A long label on two lines. */
function folded(text) {
  const at = text.length <= 30 ? -1 : text.indexOf(", ", text.length / 2 - 6);
  if (at < 0) return literal(text);
  return `${literal(text.slice(0, at + 1))}<br>${literal(text.slice(at + 2))}`;
}
