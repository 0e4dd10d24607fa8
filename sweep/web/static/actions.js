// What can be done with a study: launch, stop, retry, report. Each asks first where it costs.

import { announce } from "./announce.js";
import { api, post } from "./api.js";
import { confirm } from "./dialog.js";
import { h } from "./dom.js";
import { counted, moment, words } from "./format.js";
import { launch } from "./launch.js";

/** The buttons of a study. */
export function actions(context, detail) {
  const { state } = context;
  const allowed = detail?.can_launch ?? false;
  const total = state.counts?.total ?? null;
  const complete = total !== null && state.counts.done === total;
  const begun = (state.counts?.done ?? 0) + (state.counts?.failed ?? 0) > 0;
  const failed = state.counts?.failed ?? 0;
  const buttons = [];
  if (state.active) {
    buttons.push(button("Stop", () => stop(context), { class: "danger" }));
  } else if (detail !== null) {
    const off = { disabled: !allowed, title: detail.why_not };
    const label = begun ? "Continue" : "Launch";
    if (!complete) buttons.push(button(`${label} …`, () => launch(context), { class: "primary", ...off }));
    if (failed) buttons.push(button(`Retry ${counted(failed, "failed trial")}`, () => retry(context, null, failed), off));
  }
  return h(
    "div",
    { class: "actions" },
    h("div", { class: "buttons" }, buttons, report(context)),
    detail?.why_not && !state.active && !complete ? h("p", { class: "note" }, detail.why_not) : null,
  );
}

function button(label, onclick, more = {}) {
  return h("button", { type: "button", key: label, onclick, ...more }, label);
}

function report(context) {
  const { state, name } = context;
  const made = state.report;
  if (!state.counts) return null;
  const making = made.job?.status === "running";
  const failed = made.job && ["failed", "lost"].includes(made.job.status);
  const outcome = [];
  if (made.exists) {
    outcome.push(
      h(
        "a",
        { class: "button", key: "open", href: made.url, target: "_blank", rel: "noopener", title: `made ${moment(made.made_at)}` },
        "Open report",
      ),
    );
  }
  if (state.counts.done) {
    const label = making ? "Making the report …" : made.exists ? "Make it anew" : "Make report";
    const make = () =>
      post(api`studies/${name}/report`).then(
        () => {
          announce("The report is being made.");
          context.again();
        },
        (problem) => context.complain(problem.message),
      );
    outcome.push(h("button", { type: "button", key: "make", disabled: making, onclick: make }, label));
  }
  if (failed) outcome.push(h("span", { class: "bad", key: "failed" }, "✕ the report could not be made; see the job's log"));
  return outcome;
}

async function stop(context) {
  const { name } = context;
  const answer = await confirm({
    title: `Stop ${name}?`,
    body: h("p", null, "Finished trials are kept. What is being trained is lost up to its last checkpoint; launching again goes on from there."),
    yes: "Stop the run",
    danger: true,
    act: () => post(api`studies/${name}/stop`),
  });
  if (answer !== null) {
    announce("The run is being stopped.");
    context.again();
  }
}

/** Runs failed trials again: those of a kind, or all. */
export async function retry(context, kind, failed) {
  const { name } = context;
  const which = kind === null ? "" : ` that failed as ${words(kind)}`;
  const answer = await confirm({
    title: `Retry ${counted(failed, "trial")} of ${name}?`,
    body: h("p", null, `The trials${which} are trained again. Their earlier attempts stay in the record.`),
    yes: "Retry",
    act: () => post(api`studies/${name}/retry`, kind === null ? {} : { kind: [kind] }),
  });
  if (answer !== null) {
    announce("The failed trials are being run again.");
    context.again();
  }
}
