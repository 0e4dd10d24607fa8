// What running a study would cost: trials, epochs that sharing saves, time where it is known.

import { post } from "./api.js";
import { h } from "./dom.js";
import { bytes, count, counted, dataset, duration } from "./format.js";

const ROLES = ["student", "baseline", "teacher"];

/** A plan as `sweep plan --json` gives it. */
export function overview(plan) {
  const roles = ROLES.filter((role) => plan.by_role?.[role]).map((role) => counted(plan.by_role[role], role));
  const datasets = Object.entries(plan.by_dataset ?? {}).map(([name, n]) => `${dataset(name)} ${count(n)}`);
  const saved = plan.epochs_naive ? 1 - plan.epochs_planned / plan.epochs_naive : 0;
  const estimate = plan.estimate ?? {};
  const facts = [
    ["trials", `${count(plan.trials)}: ${roles.join(", ")}`],
    datasets.length > 1 ? ["by dataset", datasets.join(", ")] : null,
    ["to do", `${count(plan.todo)}; ${count(plan.done)} done${plan.failed ? `, ${count(plan.failed)} failed before` : ""}`],
    ["epochs", `${count(plan.epochs_planned)} after sharing, ${count(plan.epochs_naive)} if each trial were alone (${Math.floor(100 * saved)} % saved)`],
    ["to train now", counted(plan.todo_epochs, "epoch")],
    ["estimated time", time(estimate)],
    estimate.records_bytes ? ["disk", [estimate.records_bytes, estimate.weights_bytes].filter(Boolean).map(bytes).join(" of records, ") + (estimate.weights_bytes ? " of weights" : " of records")] : null,
    plan.may_stop_early ? ["early stopping", `${counted(plan.may_stop_early, "trial")} may end before`] : null,
    plan.waiting?.length ? ["asked for later", plan.waiting.join("; ")] : null,
  ];
  return h(
    "dl",
    { class: "facts" },
    facts.filter(Boolean).map(([name, value]) => [h("dt", null, name), h("dd", null, value)]),
  );
}

function time({ seconds, slots, unknown = [] }) {
  if (typeof seconds === "number") return `${duration(seconds)} with ${counted(slots, "trial")} at a time`;
  return unknown.length ? "not known before the first results" : "none";
}

/** The plan of a study, asked for once. */
export class Plan {
  #redraw;
  #asked = false;
  #found = null;
  #problem = null;

  constructor(redraw) {
    this.#redraw = redraw;
  }

  draw(study) {
    if (!this.#asked) this.#ask(study);
    if (this.#problem) return h("p", { class: "trouble", role: "alert" }, this.#problem);
    return this.#found === null ? h("p", { class: "wait" }, "Planning …") : overview(this.#found);
  }

  async #ask(study) {
    this.#asked = true;
    try {
      this.#found = (await post("/api/plan", { study })).overview;
    } catch (error) {
      this.#problem = error.message;
    }
    this.#redraw();
  }
}
