// Bringing a study file: dropped, chosen or pasted; checked and planned before it is taken.

import { go, link } from "./address.js";
import { announce } from "./announce.js";
import { post } from "./api.js";
import { h } from "./dom.js";
import { button, card, note, trouble, waiting } from "./parts.js";
import { overview } from "./plan.js";

const MOST_BYTES = 256 * 1024;

export class Upload {
  #redraw;
  #session;
  #text = null;
  #file = "";
  #plan = null;
  #problem = null;
  #busy = false;
  #over = false;

  constructor(redraw, session) {
    this.#redraw = redraw;
    this.#session = session;
  }

  draw() {
    if (!this.#session.can_launch) return null;
    return card(
      "upload",
      "Upload",
      h("h2", null, "Bring a study file"),
      this.#place(),
      this.#busy ? waiting(`Checking ${this.#file} …`) : null,
      trouble(this.#problem),
      this.#plan === null ? null : this.#planned(),
    );
  }

  #place() {
    return h(
      "div",
      {
        class: this.#over ? "drop over" : "drop",
        key: "drop",
        ondragover: (event) => {
          event.preventDefault();
          if (!this.#over) this.#set({ over: true });
        },
        ondragleave: () => this.#set({ over: false }),
        ondrop: (event) => {
          event.preventDefault();
          this.#over = false;
          this.#take(event.dataTransfer.files[0]);
        },
      },
      h(
        "label",
        { class: "field" },
        "A study file (TOML), dropped here or chosen",
        h("input", {
          type: "file",
          accept: ".toml,text/plain",
          onchange: (event) => this.#take(event.target.files[0]),
        }),
      ),
      note(
        "It is checked as ",
        h("code", null, "sweep run"),
        " checks it and planned; nothing is trained before you launch it.",
      ),
    );
  }

  #planned() {
    const { study } = this.#plan;
    const discard = () => this.#set({ plan: null, problem: null, text: null });
    const keep = { class: "primary", disabled: this.#busy };
    return h(
      "div",
      { key: "plan" },
      h("h3", null, `Plan of ${study}`),
      overview(this.#plan),
      h(
        "div",
        { class: "buttons" },
        button(`Upload ${study}`, () => this.#keep(), keep),
        button("Discard", discard),
      ),
    );
  }

  #set(changes) {
    if ("plan" in changes) this.#plan = changes.plan;
    if ("problem" in changes) this.#problem = changes.problem;
    if ("busy" in changes) this.#busy = changes.busy;
    if ("over" in changes) this.#over = changes.over;
    if ("text" in changes) this.#text = changes.text;
    this.#redraw();
  }

  async #take(file) {
    if (file === undefined) return;
    this.#file = file.name;
    if (file.size > MOST_BYTES) {
      const problem = `${file.name}: larger than 256 KiB, which no study file is.`;
      this.#set({ plan: null, problem });
      return;
    }
    this.#set({ plan: null, problem: null, busy: true });
    try {
      const text = await file.text();
      const { overview: plan } = await post("/api/plan", { text });
      this.#set({ plan, text, busy: false });
      announce(`${plan.study} is a valid study of ${plan.trials} trials.`);
    } catch (problem) {
      this.#set({ plan: null, problem: problem.message, busy: false });
    }
  }

  async #keep() {
    this.#set({ busy: true, problem: null });
    try {
      const { name } = await post("/api/studies", { text: this.#text });
      go(link(["studies", name]));
    } catch (problem) {
      this.#set({ problem: problem.message, busy: false });
    }
  }
}
