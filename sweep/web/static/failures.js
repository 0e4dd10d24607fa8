// What failed, grouped by kind and message, each group with a traceback and a way to run it again.

import { retry } from "./actions.js";
import { api } from "./api.js";
import { h } from "./dom.js";
import { count, counted, moment, words } from "./format.js";
import { button, card, head, held, note, trialLinks } from "./parts.js";
import { Resource } from "./resource.js";

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
    const path = api`studies/${this.#name}/failures`;
    return held(this.#groups.want(path, context.state.version), ({ groups }) =>
      groups.length
        ? groups.map((group) => failed(group, context))
        : card("none", "Failures", h("h2", null, "Failures"), note("No attempt has failed.")),
    );
  }
}

function failed(group, context) {
  const kind = words(group.kind);
  const rest = group.trial_ids.length - TRIALS_SHOWN;
  const again = { disabled: context.state.active };
  const said = h(
    "div",
    null,
    h("h2", { class: "bad" }, `✕ ${kind}`),
    h("p", null, group.headline),
    note(
      `${counted(group.attempts, "failed attempt")} of ${counted(group.trials, "trial")}; `,
      `${counted(group.still_failed, "trial")} still without a result; `,
      `last ${moment(group.last_at)}`,
      group.nodes.length ? `; on ${group.nodes.join(", ")}` : "",
    ),
  );
  return card(
    `${group.kind} ${group.headline}`,
    kind,
    head(
      said,
      group.still_failed
        ? button(`Retry ${kind}`, () => retry(context, group.kind, group.still_failed), again)
        : null,
    ),
    note(
      "Trials: ",
      trialLinks(group.trial_ids.slice(0, TRIALS_SHOWN)),
      rest > 0 ? `, and ${count(rest)} more` : "",
    ),
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
