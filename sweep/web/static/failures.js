// What failed, grouped by kind and message, each group with a traceback and a way to run it again.

import { link } from "./address.js";
import { api } from "./api.js";
import { h } from "./dom.js";
import { counted, moment, shortId, words } from "./format.js";
import { Resource } from "./resource.js";
import { retry } from "./actions.js";

const TRIALS_SHOWN = 12;

export class Failures {
  #name;
  #groups;

  constructor(redraw, name) {
    this.#name = name;
    this.#groups = new Resource(redraw);
  }

  leave() {
    this.#groups.leave();
  }

  draw(context) {
    const { state } = context;
    const found = this.#groups.want(api`studies/${this.#name}/failures`, state.version);
    if (found.data === null) {
      return found.problem
        ? h("p", { class: "trouble", role: "alert" }, found.problem.message)
        : h("p", { class: "wait" }, "Loading …");
    }
    const groups = found.data.groups;
    if (groups.length === 0) {
      return h("section", { class: "card" }, h("h2", null, "Failures"), h("p", { class: "note" }, "No attempt has failed."));
    }
    return groups.map((group, i) => this.#group(group, i, context));
  }

  #group(group, i, context) {
    const failed = group.still_failed;
    const rest = group.trial_ids.length - TRIALS_SHOWN;
    return h(
      "section",
      { class: "card", key: `${group.kind} ${group.headline}`, "aria-labelledby": `group${i}` },
      h(
        "div",
        { class: "head" },
        h(
          "div",
          null,
          h("h2", { id: `group${i}`, class: "bad" }, `✕ ${words(group.kind)}`),
          h("p", null, group.headline),
          h(
            "p",
            { class: "note" },
            `${counted(group.attempts, "failed attempt")} of ${counted(group.trials, "trial")}; ` +
              `${counted(failed, "trial")} still without a result; last ${moment(group.last_at)}` +
              (group.nodes.length ? `; on ${group.nodes.join(", ")}` : ""),
          ),
        ),
        h(
          "div",
          { class: "buttons" },
          failed
            ? h(
                "button",
                { type: "button", disabled: context.state.active, onclick: () => retry(context, group.kind, failed) },
                `Retry ${words(group.kind)}`,
              )
            : null,
        ),
      ),
      group.trial_ids.length
        ? h(
            "p",
            { class: "note" },
            "Trials: ",
            group.trial_ids.slice(0, TRIALS_SHOWN).map((id, at) => [at ? ", " : "", h("a", { href: link(["trials", id]) }, h("code", null, shortId(id)))]),
            rest > 0 ? `, and ${rest} more` : null,
          )
        : null,
      group.traceback
        ? h(
            "details",
            { key: "traceback" },
            h("summary", null, "Traceback of the last one"),
            h("pre", { tabindex: 0 }, group.traceback),
          )
        : null,
    );
  }
}
