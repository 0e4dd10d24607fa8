// All studies: those with results and how far they are, those to begin with, and a way to bring one.

import { link } from "./address.js";
import { h } from "./dom.js";
import { count, counted, duration, pace } from "./format.js";
import { Poll } from "./poll.js";
import { pill, progress } from "./progress.js";
import { Upload } from "./upload.js";
import { standing } from "./standing.js";

const ACTIVE_MS = 2000;
const IDLE_MS = 5000;
const SOURCES = { builtin: "built in", uploaded: "uploaded", imported: "imported", results: "" };

export class Studies {
  #redraw;
  #poll;
  #found = null;
  #problem = null;
  #upload;

  constructor(redraw, session) {
    this.#redraw = redraw;
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
    if (this.#found === null) {
      return this.#problem
        ? h("p", { class: "trouble", role: "alert" }, this.#problem.message)
        : h("p", { class: "wait" }, "Loading …");
    }
    const { studies } = this.#found;
    const begun = studies.filter((study) => study.counts !== null);
    const others = studies.filter((study) => study.counts === null);
    begun.sort((one, other) => Number(other.running) - Number(one.running));
    return [
      h("h1", { class: "unseen" }, "Studies"),
      h(
        "section",
        { class: "card", key: "begun", "aria-label": "Begun" },
        h("h2", null, "With results"),
        begun.length
          ? h("ul", { class: "studies" }, begun.map(line))
          : h("p", { class: "note" }, "No study was begun in this results directory. Choose one below."),
      ),
      this.#upload.draw(),
      h(
        "section",
        { class: "card", key: "others", "aria-label": "Not begun" },
        h("h2", null, "To begin with"),
        h("ul", { class: "studies" }, others.map(offered)),
      ),
    ];
  }
}

function line(study) {
  const { counts } = study;
  const side = study.running
    ? [`${duration(study.eta_s)} to go`, `${pace(study.trials_per_minute)} trials a minute`]
    : [];
  return h(
    "li",
    { key: study.name },
    h(
      "div",
      null,
      h("a", { class: "name", href: link(["studies", study.name]) }, study.name),
      study.title ? h("p", { class: "note" }, study.title) : null,
    ),
    progress(study.name, counts, counts.total),
    h(
      "div",
      { class: "side" },
      pill(...standing({ counts, active: study.running })),
      side.map((text) => h("div", { key: text.replace(/[\d.]+/g, "") }, text)),
    ),
  );
}

function offered(study) {
  const origin = SOURCES[study.source];
  return h(
    "li",
    { key: study.name, class: "plain" },
    h("div", null, h("a", { class: "name", href: link(["studies", study.name]) }, study.name), origin === "built in" ? null : h("p", { class: "note" }, origin)),
    h("p", { class: "note" }, study.question || study.title),
    h("div", { class: "side" }, study.cells === null ? "" : counted(study.cells, "cell")),
  );
}
