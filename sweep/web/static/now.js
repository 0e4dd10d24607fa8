// What the workers do at this moment, and how much of each device is used.

import { h } from "./dom.js";
import { bytes, count, plain } from "./format.js";
import { card, note } from "./parts.js";
import { table } from "./table.js";

const MOST = 12;

/** What runs now; words where nothing does. */
export function now(state) {
  const live = state.active ? state.live : null;
  return card(
    "running",
    "Running now",
    h("h2", null, "Running now"),
    live?.running.length ? list(live.running) : note(idle(state)),
    live?.last_failure
      ? h("p", { class: "bad" }, h("b", null, "Last failure: "), live.last_failure)
      : null,
    live?.devices.length ? [h("h3", null, "Devices"), devices(live.devices)] : null,
  );
}

function idle(state) {
  return state.active ? "Starting, or between two stages." : "Nothing runs.";
}

function list(running) {
  const rest = running.length - MOST;
  return h(
    "ul",
    { class: "plainlist" },
    running.slice(0, MOST).map((text, i) => h("li", { key: i }, text)),
    rest > 0 ? h("li", { class: "faint", key: "rest" }, `and ${count(rest)} more`) : null,
  );
}

function devices(found) {
  return table({
    name: "Devices",
    columns: [
      { key: "node", label: "node" },
      { key: "device", label: "device" },
      { key: "busy", label: "slots in use", num: true },
      { key: "use", label: "use", num: true },
      { key: "memory", label: "memory", num: true },
    ],
    rows: found.map((one) => ({
      key: `${one.node} ${one.device}`,
      cells: [
        plain(one.node),
        plain(one.device),
        [meter(one.busy, one.slots), `${plain(one.busy)} of ${plain(one.slots)}`],
        typeof one.utilisation_percent === "number"
          ? `${one.utilisation_percent.toFixed(0)} %`
          : "–",
        typeof one.memory_total_bytes === "number"
          ? `${bytes(one.memory_used_bytes)} of ${bytes(one.memory_total_bytes)}`
          : "–",
      ],
    })),
  });
}

function meter(part, whole) {
  const width = whole ? Math.min(100, (100 * part) / whole) : 0;
  return h(
    "span",
    { class: "meter", "aria-hidden": "true" },
    h("i", { style: { width: `${width}%` } }),
  );
}
