// What running a study would cost: trials, epochs that sharing saves, time where it is known.

import { post } from "./api.js";
import { bytes, count, counted, dataset, duration } from "./format.js";
import { facts, trouble, waiting } from "./parts.js";

const ROLES = ["student", "baseline", "teacher"];

/** A plan as `sweep plan --json` gives it. */
export function overview(plan) {
  const roles = ROLES.filter((role) => plan.by_role[role]);
  const byRole = roles.map((role) => counted(plan.by_role[role], role)).join(", ");
  const datasets = Object.entries(plan.by_dataset);
  const byDataset = datasets.map(([name, n]) => `${dataset(name)} ${count(n)}`).join(", ");
  const before = plan.failed ? `, ${count(plan.failed)} failed before` : "";
  return facts(
    [
      ["trials", `${count(plan.trials)}: ${byRole}`],
      datasets.length > 1 ? ["by dataset", byDataset] : null,
      ["to do", `${count(plan.todo)}; ${count(plan.done)} done${before}`],
      ["epochs", epochs(plan)],
      ["to train now", counted(plan.todo_epochs, "epoch")],
      ["estimated time", time(plan.estimate)],
      ["disk", disk(plan.estimate)],
      plan.may_stop_early
        ? ["early stopping", `${counted(plan.may_stop_early, "trial")} may end before`]
        : null,
      plan.waiting.length ? ["asked for later", plan.waiting.join("; ")] : null,
    ].filter((entry) => entry !== null && entry[1] !== null),
  );
}

function epochs({ epochs_naive: alone, epochs_planned: shared }) {
  const saved = alone ? Math.floor(100 * (1 - shared / alone)) : 0;
  return (
    `${count(shared)} after sharing, ` +
    `${count(alone)} if each trial were alone (${saved} % saved)`
  );
}

function time({ seconds, slots, unknown }) {
  if (typeof seconds === "number") {
    return `${duration(seconds)} with ${counted(slots, "trial")} at a time`;
  }
  return unknown.length ? "not known before the first results" : "none";
}

function disk({ records_bytes: records, weights_bytes: weights }) {
  const said = [];
  if (records) said.push(`${bytes(records)} of records`);
  if (weights) said.push(`${bytes(weights)} of weights`);
  return said.length ? said.join(", ") : null;
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
    if (this.#problem) return trouble(this.#problem);
    return this.#found === null ? waiting("Planning …") : overview(this.#found);
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
