// A study: how far it is, what can be done with it, and its parts in tabs.

import { actions } from "./actions.js";
import { link } from "./address.js";
import { Milestones } from "./announce.js";
import { api } from "./api.js";
import { Configurations } from "./configurations.js";
import { h } from "./dom.js";
import { Failures } from "./failures.js";
import { count, duration, pace } from "./format.js";
import { measureOf } from "./measure.js";
import { Overview } from "./overview.js";
import { card, note, tiles, trouble, waiting } from "./parts.js";
import { Poll } from "./poll.js";
import { pill, progress } from "./progress.js";
import { Resource } from "./resource.js";
import { standing } from "./standing.js";
import { StudyFile } from "./studyfile.js";
import { Trials } from "./trials.js";

const ACTIVE_MS = 2000;
const IDLE_MS = 5000;
const TABS = [
  ["overview", "Overview", Overview],
  ["configurations", "Configurations", Configurations],
  ["trials", "Trials", Trials],
  ["failures", "Failures", Failures],
  ["file", "Study file", StudyFile],
];
const NEED_RESULTS = new Set(["configurations", "trials", "failures"]);
/** Tabs that go on with the same measure. */
const MEASURED = new Set(["overview", "configurations"]);

export class Study {
  #redraw;
  #name;
  #at;
  #poll;
  #detail;
  #state = null;
  #problem = null;
  #refused = null;
  #acted = 0;
  #parts = new Map();
  #milestones = new Milestones();

  constructor(redraw, _session, at) {
    this.#redraw = redraw;
    this.#at = at;
    this.#name = at.parts[1];
    this.#detail = new Resource(redraw);
    this.#poll = new Poll(
      api`studies/${this.#name}/state`,
      (state) => this.#take(state),
      () => (this.#state?.active ? ACTIVE_MS : IDLE_MS),
      (problem) => {
        this.#problem = problem;
        redraw();
      },
    );
  }

  title() {
    return this.#name;
  }

  enter() {
    this.#poll.start();
  }

  leave() {
    this.#poll.stop();
    this.#detail.leave();
    for (const part of this.#parts.values()) part.leave();
  }

  route(at) {
    const elsewhere = at.parts[2] !== this.#at.parts[2];
    this.#at = at;
    if (elsewhere) queueMicrotask(showTab); // once it is drawn
  }

  #take(state) {
    this.#state = state;
    this.#problem = null;
    if (state.counts) this.#milestones.tell(this.#name, state.counts.done, state.counts.total);
    this.#redraw();
  }

  draw() {
    if (this.#state === null) {
      const said = this.#problem ? trouble(this.#problem.message) : waiting();
      return [crumbs(), h("h1", null, this.#name), said];
    }
    const context = this.#context();
    const wanted = this.#at.parts[2] ?? "overview";
    const [tab, , Kind] = TABS.find(([key]) => key === wanted) ?? TABS[0];
    if (!this.#parts.has(tab)) this.#parts.set(tab, new Kind(this.#redraw, this.#name));
    return [
      crumbs(),
      this.#head(context),
      trouble(this.#problem?.message ?? this.#refused),
      h(
        "nav",
        { "aria-label": "Parts of the study", key: "tabs" },
        h(
          "ul",
          { class: "tabs" },
          TABS.map(([key, title]) => this.#tab(key, title, key === tab)),
        ),
      ),
      h(
        "div",
        { key: `tab ${tab}` },
        context.state.counts === null && NEED_RESULTS.has(tab)
          ? note("The study was not begun here.")
          : this.#parts.get(tab).draw(context),
      ),
    ];
  }

  /** What the parts are given. */
  #context() {
    const state = this.#state;
    // What it asks for changes only when it is run with other settings, or by what is done here.
    // What cells can be compared by may be more with more results: it is asked for with twice as many.
    const results = `${Math.floor(Math.log2(1 + (state.counts?.done ?? 0)))} ${state.evaluated}`;
    const version = `${state.active} ${state.cells?.total} ${results} ${this.#acted}`;
    return {
      name: this.#name,
      state,
      detail: this.#detail.want(api`studies/${this.#name}`, version).data,
      at: this.#at,
      again: () => {
        this.#refused = null;
        this.#acted += 1;
        this.#poll.now();
        this.#redraw();
      },
      complain: (text) => {
        this.#refused = text;
        this.#redraw();
      },
    };
  }

  #tab(key, title, here) {
    const failed = this.#state.counts?.failed ?? 0;
    const more = key === "failures" && failed ? ` (${count(failed)})` : "";
    const parts = key === "overview" ? ["studies", this.#name] : ["studies", this.#name, key];
    const current = here ? "page" : null;
    const kept = MEASURED.has(key) ? { measure: measureOf(this.#at) } : {};
    const href = link(parts, kept);
    return h("li", { key }, h("a", { href, "aria-current": current }, title + more));
  }

  #head(context) {
    const { state, detail } = context;
    const { counts, damaged } = state;
    const lead = (key, text) => (text ? h("p", { class: "lead", key }, text) : null);
    return card(
      "head",
      "Progress",
      h(
        "div",
        { class: "head" },
        h(
          "div",
          null,
          h("h1", null, this.#name),
          lead("title", detail?.title ? h("b", null, detail.title) : null),
          lead("question", detail?.question),
          note(
            pill(...standing(state)),
            damaged.length
              ? h("span", { class: "bad" }, ` ✕ damaged, left out: ${damaged.join(", ")}`)
              : null,
          ),
        ),
        actions(context),
      ),
      counts ? progress(this.#name, counts, counts.total) : null,
      state.active && state.live ? tiles(pulse(state.live)) : null,
    );
  }
}

function pulse(live) {
  return [
    [duration(live.eta_s), "to go (estimated)"],
    [pace(live.trials_per_minute), "trials a minute"],
    [`${count(live.epochs_done)} of ${count(live.epochs_total)}`, "epochs, after sharing"],
    [duration(live.elapsed_s), "since the start"],
  ];
}

/** On a narrow screen the tabs scroll, and the chosen one may be out of sight. */
function showTab() {
  const tab = document.querySelector(".tabs [aria-current]");
  const list = tab?.closest(".tabs");
  if (tab) list.scrollLeft = tab.parentElement.offsetLeft - list.offsetLeft - 24;
}

function crumbs() {
  return h("p", { class: "crumbs", key: "crumbs" }, h("a", { href: "#/studies" }, "Studies"));
}
