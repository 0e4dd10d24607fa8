// All studies: those with results and how far they are, those to begin with, and a way to bring
// one.

import { link } from "./address.js";
import { h } from "./dom.js";
import { counted, duration, pace } from "./format.js";
import { card, note, trouble, waiting } from "./parts.js";
import { Poll } from "./poll.js";
import { pill, progress } from "./progress.js";
import { standing } from "./standing.js";
import { Upload } from "./upload.js";

const ACTIVE_MS = 2000;
const IDLE_MS = 5000;

export class Studies {
  #poll;
  #found = null;
  #problem = null;
  #upload;

  constructor(redraw, session) {
    this.#poll = new Poll(
      "/api/studies",
      (found) => {
        this.#found = found;
        redraw();
      },
      () => (this.#found?.studies.some((study) => study.running) ? ACTIVE_MS : IDLE_MS),
      (problem) => {
        this.#problem = problem;
        redraw();
      },
    );
    this.#upload = new Upload(redraw, session);
  }

  title() {
    return "Studies";
  }

  enter() {
    this.#poll.start();
  }

  leave() {
    this.#poll.stop();
  }

  draw() {
    if (this.#found === null) return this.#problem ? trouble(this.#problem.message) : waiting();
    const { studies } = this.#found;
    const begun = studies.filter((study) => study.counts !== null);
    const others = studies.filter((study) => study.counts === null);
    begun.sort((one, other) => Number(other.running) - Number(one.running));
    return [
      h("h1", { class: "unseen", key: "title" }, "Studies"),
      card(
        "begun",
        "Begun",
        h("h2", null, "With results"),
        begun.length
          ? h("ul", { class: "studies" }, begun.map(line))
          : note("No study was begun in this results directory. Choose one below."),
      ),
      this.#upload.draw(),
      card(
        "others",
        "Not begun",
        h("h2", null, "To begin with"),
        h("ul", { class: "studies" }, others.map(offered)),
      ),
    ];
  }
}

function named(study) {
  return h("a", { class: "name", href: link(["studies", study.name]) }, study.name);
}

function line(study) {
  const { counts, running } = study;
  return h(
    "li",
    { key: study.name },
    h("div", null, named(study), study.title ? note(study.title) : null),
    progress(study.name, counts, counts.total),
    h(
      "div",
      { class: "side" },
      pill(...standing({ counts, active: running })),
      running && study.trials_per_minute !== null
        ? [
            h("div", { key: "eta" }, `${duration(study.eta_s)} to go`),
            h("div", { key: "pace" }, `${pace(study.trials_per_minute)} trials a minute`),
          ]
        : null,
    ),
  );
}

function offered(study) {
  return h(
    "li",
    { key: study.name, class: "plain" },
    h("div", null, named(study), study.source === "builtin" ? null : note(study.source)),
    note(study.question || study.title),
    h("div", { class: "side" }, study.cells === null ? "" : counted(study.cells, "cell")),
  );
}
