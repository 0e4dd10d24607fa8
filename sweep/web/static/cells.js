// The cells of one panel of a study, and what is said of them.

import { count, dataset, difference, metric, metricTitle, plain } from "./format.js";
import { underText } from "./measure.js";

/** What a cell can show. */
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
  const { midpoint, limit, baseline, metric: metricName, under } = found;
  const better = found.higher_is_better ? "higher" : "lower";
  const scale = { midpoint, limit, baseline, metricName, under, better };
  return { key: found.panel, title, x, y, cells, ...scale };
}

/** What a cell shows under a choice of value, in words. */
export function cellText(cell, value, metricName) {
  if (cell === null) return "";
  const marks = (cell.running ? " ▶" : "") + (cell.failed ? " ✕" : "");
  if (value === "done" || amount(cell, value) === null) {
    return `${cell.done}/${cell.asked}${marks}`;
  }
  if (value === "mean") return metric(cell.mean, metricName, false) + marks;
  return difference(cell.delta, metricName, false) + marks;
}

/** A cell in a sentence. */
export function sentence(panel, cell) {
  const parts = [cell.label ?? "", `${count(cell.done)} of ${count(cell.asked)} seeds done`];
  if (cell.running) parts.push(`${count(cell.running)} running`);
  if (cell.failed) parts.push(`${count(cell.failed)} failed`);
  const under = underText(panel.under);
  if (panel.under && cell.n < cell.done) parts.push(`${count(cell.n)} measured${under}`);
  if (cell.n) parts.push(`mean ${metric(cell.mean, panel.metricName)}${under}`);
  if (cell.delta !== null && cell.done) {
    parts.push(`${difference(cell.delta, panel.metricName)} to the baseline`);
  }
  return parts.filter(Boolean).join(", ");
}

/** What the colour of a cell stands for; null where there is nothing yet. */
export function amount(cell, value) {
  if (cell === null) return null;
  if (value === "done") return cell.asked ? cell.done / cell.asked : null;
  if (cell.done === 0) return null;
  return value === "mean" ? cell.mean : cell.delta;
}

/** What the colours and marks mean, in words. */
export function legend(panels, value) {
  const attack = value === "done" ? null : panels.find((panel) => panel.under)?.under;
  const under = underText(attack);
  const grey = under ? `not measured${under}` : "no result yet";
  const marks = `Grey: ${grey} (seeds done / asked). ▶: a seed is being trained. ✕: a seed failed.`;
  if (value === "done") return `Colour: share of the seeds that are done. ${marks}`;
  const based = panels.every((panel) => known(panel.baseline?.value.mean));
  const middle = value === "delta" || based ? "the baseline" : "the mean of the cells";
  return `Blue is better than ${middle}${under}, orange worse. ${marks}`;
}

/** What is measured, around what, and how far the colours reach. */
export function measured(panel, value) {
  if (value === "done") return "seeds done";
  const { metricName, better, limit } = panel;
  const name = metricTitle(metricName) + underText(panel.under);
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
