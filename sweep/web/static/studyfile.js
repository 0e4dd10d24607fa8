// The file of a study, and what running the rest of it would cost.

import { h } from "./dom.js";
import { card, waiting } from "./parts.js";
import { Plan } from "./plan.js";

export class StudyFile {
  #plan;

  constructor(redraw) {
    this.#plan = new Plan(redraw);
  }

  leave() {}

  draw({ name, detail }) {
    if (detail === null) return waiting();
    const region = { tabindex: 0, role: "region", "aria-label": "Study file" };
    return [
      detail.can_launch ? card("plan", "Plan", h("h2", null, "Plan"), this.#plan.draw(name)) : null,
      card("file", "Study file", h("h2", null, "Study file"), h("pre", region, detail.text)),
    ];
  }
}
