// How far a study is: a bar whose parts are also counted in words.

import { h } from "./dom.js";
import { count, share } from "./format.js";

const PARTS = [
  ["done", "done"],
  ["running", "running"],
  ["failed", "failed"],
  ["blocked", "blocked"],
  ["missing", "missing"],
];

/**
 * A bar and the numbers behind it.
 *
 * @param {string} name Of what.
 * @param {Object<string, number>} counts Trials by state.
 * @param {number} total
 */
export function progress(name, counts, total) {
  const done = counts.done ?? 0;
  const width = (part) => `${total ? (100 * (counts[part] ?? 0)) / total : 0}%`;
  const bar = h(
    "div",
    {
      class: "bar",
      role: "progressbar",
      "aria-label": `${name}: trials done`,
      "aria-valuemin": 0,
      "aria-valuemax": total,
      "aria-valuenow": done,
      "aria-valuetext": `${count(done)} of ${count(total)} trials done`,
    },
    ["done", "running", "failed"].map((part) =>
      h("i", { class: part, key: part, style: { width: width(part) } }),
    ),
  );
  const said = PARTS.filter(([part]) => part === "done" || counts[part]).map(([part, word]) =>
    h(
      "li",
      { key: part },
      h("i", { class: part, "aria-hidden": "true" }),
      part === "done"
        ? `${count(done)} of ${count(total)} done (${share(done, total)})`
        : `${count(counts[part])} ${word}`,
    ),
  );
  return h("div", { key: `progress ${name}` }, bar, h("ul", { class: "counts" }, said));
}

/** A state as a word with a mark. */
export function pill(state, word = state) {
  return h("span", { class: `pill ${state}` }, word);
}
