// The file of a study, and what running the rest of it would cost.

import { h } from "./dom.js";
import { Plan } from "./plan.js";

export class StudyFile {
  #plan;

  constructor(redraw) {
    this.#plan = new Plan(redraw);
  }

  leave() {}

  draw({ name, detail }) {
    if (detail === null) return h("p", { class: "wait" }, "Loading …");
    return [
      detail.can_launch
        ? h("section", { class: "card", key: "plan" }, h("h2", null, "Plan"), this.#plan.draw(name))
        : null,
      h(
        "section",
        { class: "card", key: "file" },
        h("h2", null, "Study file"),
        h("pre", { tabindex: 0, role: "region", "aria-label": "Study file" }, detail.text),
      ),
    ];
  }
}
