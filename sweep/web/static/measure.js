// What cells are compared by: the metric, or what is left of it under an attack that was measured.
// The choice stands in the address (`measure=fgsm 0.05`); answers say what they show (`under`).

import { h } from "./dom.js";
import { metricTitle } from "./format.js";

/** What the address asks for; null for the metric. */
export function measureOf(at) {
  return at.query.get("measure");
}

/** " under FGSM 0.05" for an answer's `under`; "" for the metric. */
export function underText(under) {
  return under ? ` under ${under.title}` : "";
}

/** The choice; nothing where there is none. `onChoice` gets a name, null for the metric. */
export function measureChoice(detail, at, onChoice) {
  const chosen = measureOf(at) ?? "";
  const measures = detail?.measures ?? [];
  const known = chosen === "" || measures.some(({ measure }) => measure === chosen);
  if (measures.length === 0 && known) return null;
  const options = [["", plainly(detail)]];
  for (const { measure, title } of measures) options.push([measure, `under ${title}`]);
  if (!known) options.push([chosen, chosen]); // nobody was measured so, or not yet
  return h(
    "label",
    { key: "measure" },
    "Measured",
    h(
      "select",
      { value: chosen, onchange: (event) => onChoice(event.target.value || null) },
      options.map(([value, title]) => h("option", { value }, title)),
    ),
  );
}

/** The metric, by its name where all datasets have the same. */
function plainly(detail) {
  const names = [...new Set(Object.values(detail?.metric ?? {}))];
  return `test ${names.length === 1 ? metricTitle(names[0]) : "metric"}, no attack`;
}
