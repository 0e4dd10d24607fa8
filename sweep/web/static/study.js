// A study: how far it is, what can be done with it, and its parts in tabs.

import { link } from "./address.js";
import { Milestones } from "./announce.js";
import { api } from "./api.js";
import { h } from "./dom.js";
import { count, duration, pace } from "./format.js";
import { Poll } from "./poll.js";
import { Resource } from "./resource.js";
import { pill, progress } from "./progress.js";
import { actions } from "./actions.js";
import { Configurations } from "./configurations.js";
import { Failures } from "./failures.js";
import { Overview } from "./overview.js";
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

export class Study {
  #redraw;
  #name;
  #at;
  #poll;
  #state = null;
  #problem = null;
  #refused = null;
  #detail;
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
    const state = this.#state;
    if (state === null) {
      const said = this.#problem
        ? h("p", { class: "trouble", role: "alert" }, this.#problem.message)
        : h("p", { class: "wait" }, "Loading …");
      return [crumbs(), h("h1", null, this.#name), said];
    }
    const wanted = this.#at.parts[2] ?? "overview";
    const [tab, , Kind] = TABS.find(([key]) => key === wanted) ?? TABS[0];
    if (!this.#parts.has(tab)) this.#parts.set(tab, new Kind(this.#redraw, this.#name));
    // What it asks for changes only when it is run with other settings.
    const version = `${state.active} ${state.cells?.total}`;
    const detail = this.#detail.want(api`studies/${this.#name}`, version).data;
    const context = {
      name: this.#name,
      state,
      detail,
      at: this.#at,
      again: () => {
        this.#refused = null;
        this.#poll.now();
      },
      complain: (text) => {
        this.#refused = text;
        this.#redraw();
      },
    };
    return [
      crumbs(),
      this.#head(state, context),
      this.#refused ? h("p", { class: "trouble", role: "alert", key: "refused" }, this.#refused) : null,
      h(
        "nav",
        { "aria-label": "Parts of the study", key: "tabs" },
        h("ul", { class: "tabs" }, TABS.map(([key, title]) => this.#tab(key, title, key === tab))),
      ),
      h(
        "div",
        { key: `tab ${tab}` },
        state.counts === null && NEED_RESULTS.has(tab)
          ? h("p", { class: "note" }, "The study was not begun here.")
          : this.#parts.get(tab).draw(context),
      ),
    ];
  }

  #tab(key, title, here) {
    const failed = this.#state.counts?.failed ?? 0;
    const more = key === "failures" && failed ? ` (${count(failed)})` : "";
    const parts = key === "overview" ? ["studies", this.#name] : ["studies", this.#name, key];
    return h(
      "li",
      { key },
      h("a", { href: link(parts), "aria-current": here ? "page" : null }, title + more),
    );
  }

  #head(state, context) {
    const { detail } = context;
    const live = state.live;
    const tiles = [];
    if (state.active && live) {
      tiles.push([duration(live.eta_s), "to go (estimated)"]);
      tiles.push([pace(live.trials_per_minute), "trials a minute"]);
      tiles.push([`${count(live.epochs_done)} of ${count(live.epochs_total)}`, "epochs, after sharing"]);
      tiles.push([duration(live.elapsed_s), "since the start"]);
    }
    return h(
      "section",
      { class: "card", key: "head", "aria-label": "Progress" },
      h(
        "div",
        { class: "head" },
        h(
          "div",
          null,
          h("h1", null, this.#name),
          detail?.title ? h("p", { class: "lead", key: "title" }, h("b", null, detail.title)) : null,
          detail?.question ? h("p", { class: "lead", key: "question" }, detail.question) : null,
          h("p", { class: "note" }, pill(...standing(state)), warned(state)),
        ),
        actions(context, detail),
      ),
      state.counts ? progress(this.#name, state.counts, state.counts.total) : null,
      tiles.length
        ? h("ul", { class: "tiles" }, tiles.map(([value, what]) => h("li", { key: what }, h("b", null, value), h("span", null, what))))
        : null,
    );
  }
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

function warned(state) {
  if (!state.damaged.length) return null;
  return h("span", { class: "bad" }, ` ✕ damaged files are left out: ${state.damaged.join(", ")}`);
}
