// What can be done with a study: launch, stop, retry, report, delete. Each asks first where it costs.

import { go, link } from "./address.js";
import { announce } from "./announce.js";
import { api, post, remove } from "./api.js";
import { confirm } from "./dialog.js";
import { h } from "./dom.js";
import { counted, moment, words } from "./format.js";
import { launch } from "./launch.js";
import { button, note } from "./parts.js";

/** The buttons of a study. */
export function actions(context) {
  const { state, detail } = context;
  const { total = null, done = 0, failed = 0 } = state.counts ?? {};
  const complete = total !== null && done === total;
  const buttons = [];
  if (state.active) {
    const stopping = state.job?.status === "stopping";
    const label = stopping ? "Stopping …" : "Stop";
    buttons.push(button(label, () => stop(context), { class: "danger", key: "stop" }));
  } else if (detail !== null) {
    const off = { disabled: !detail.can_launch, title: detail.why_not };
    if (!complete) {
      const label = done + failed > 0 ? "Continue …" : "Launch …";
      const more = { class: "primary", key: "launch", ...off };
      buttons.push(button(label, () => launch(context), more));
    }
    if (failed) {
      const label = `Retry ${counted(failed, "failed trial")}`;
      buttons.push(button(label, () => retry(context, null, failed), { key: "retry", ...off }));
    }
  }
  const refused = !state.active && !complete ? detail?.why_not : null;
  return h(
    "div",
    { class: "actions" },
    h("div", { class: "buttons" }, buttons, report(context), deleting(context)),
    refused ? note(refused) : null,
  );
}

function report(context) {
  const { state } = context;
  if (!state.counts?.done) return null;
  const { exists, made_at: made, url, job } = state.report;
  const making = job?.status === "running";
  const label = making ? "Making the report …" : exists ? "Make it anew" : "Make report";
  const opened = { class: "button", key: "open", target: "_blank", rel: "noopener" };
  return [
    exists ? h("a", { ...opened, href: url, title: `made ${moment(made)}` }, "Open report") : null,
    button(label, () => make(context), { key: "make", disabled: making }),
    job && ["failed", "lost"].includes(job.status)
      ? h("span", { class: "bad", key: "failed" }, "✕ the report could not be made")
      : null,
  ];
}

async function make(context) {
  try {
    await post(api`studies/${context.name}/report`);
    announce("The report is being made.");
    context.again();
  } catch (problem) {
    context.complain(problem.message);
  }
}

async function stop(context) {
  const { name } = context;
  const answer = await confirm({
    title: `Stop ${name}?`,
    body: h(
      "p",
      null,
      "Finished trials are kept. What is being trained is lost up to its last checkpoint; " +
        "launching again goes on from there.",
    ),
    yes: "Stop the run",
    danger: true,
    act: () => post(api`studies/${name}/stop`),
  });
  if (answer === null) return;
  announce("The run is being stopped.");
  context.again();
}

function deleting(context) {
  const { state, detail } = context;
  if (detail?.source !== "uploaded" || state.active) return null;
  return button("Delete …", () => drop(context), { class: "danger", key: "delete" });
}

async function drop(context) {
  const { name, state } = context;
  const after =
    state.counts === null
      ? "Nothing was trained of it, so it will not be listed any more."
      : "Its results stay as they are: the study goes on being listed from them.";
  const answer = await confirm({
    title: `Delete ${name}?`,
    body: h("p", null, `The study file that was uploaded is deleted. ${after}`),
    yes: "Delete the file",
    danger: true,
    act: () => remove(api`studies/${name}`),
  });
  if (answer === null) return;
  announce(`The file of ${name} was deleted.`);
  if (answer.has_results) context.again();
  else go(link(["studies"]));
}

/** Runs failed trials again: those of a kind, or all. */
export async function retry(context, kind, failed) {
  const { name } = context;
  const which = kind === null ? "" : ` that failed as ${words(kind)}`;
  const said = `The trials${which} are trained again. Their earlier attempts stay in the record.`;
  const answer = await confirm({
    title: `Retry ${counted(failed, "trial")} of ${name}?`,
    body: h("p", null, said),
    yes: "Retry",
    act: () => post(api`studies/${name}/retry`, kind === null ? {} : { kind: [kind] }),
  });
  if (answer === null) return;
  announce("The failed trials are being run again.");
  context.again();
}
