// The dialog that starts a study: how much of it, on how many workers, and what that would cost.

import { announce } from "./announce.js";
import { api, post } from "./api.js";
import { confirm } from "./dialog.js";
import { h, show } from "./dom.js";
import { overview } from "./plan.js";

const TYPING_MS = 500;

function chosen(form) {
  const said = new FormData(form);
  const number = (name) => (said.get(name) ? Number(said.get(name)) : undefined);
  const lines = (name) =>
    (said.get(name) ?? "")
      .split("\n")
      .map((line) => line.trim())
      .filter(Boolean);
  return {
    seeds: number("seeds"),
    only: lines("only").length ? lines("only") : undefined,
    settings: lines("settings").length ? lines("settings") : undefined,
  };
}

/** Opens the dialog of a study; the plan follows what is filled in. */
export async function launch(context) {
  const { name } = context;
  const plan = h("div", { class: "planned", "aria-live": "polite" }, h("p", { class: "wait" }, "Planning …"));
  let timer = null;
  let latest = 0;

  async function refresh(form) {
    latest += 1;
    const mine = latest;
    try {
      const found = await post("/api/plan", { study: name, ...chosen(form) });
      if (mine === latest) show(plan, overview(found.overview));
    } catch (problem) {
      if (mine === latest) show(plan, h("p", { class: "trouble" }, problem.message));
    }
  }

  const later = (event) => {
    const form = event.target.form;
    clearTimeout(timer);
    timer = setTimeout(() => refresh(form), TYPING_MS);
  };
  const field = (label, input) => h("label", { class: "field" }, label, input);
  const body = h(
    "div",
    null,
    h(
      "div",
      { class: "fields" },
      field("Only the first seeds", h("input", { type: "number", name: "seeds", min: 1, step: 1, placeholder: "all", oninput: later })),
      field("Trials at a time", h("input", { type: "number", name: "workers", min: 1, step: 1, placeholder: "as many as fit" })),
      field("Only these (filter)", h("input", { type: "text", name: "only", placeholder: "alpha=0.1|0.6 teacher=small", oninput: later, autocapitalize: "off" })),
    ),
    h(
      "details",
      null,
      h("summary", null, "Other settings"),
      field("One key = value a line", h("textarea", { name: "settings", rows: 3, placeholder: "recipe.epochs=2", oninput: later, spellcheck: "false" })),
    ),
    h("h3", null, "Plan"),
    plan,
  );
  const asked = confirm({
    title: `Launch ${name}`,
    body,
    yes: "Launch",
    act: (form) => {
      const workers = new FormData(form).get("workers");
      return post(api`studies/${name}/launch`, { ...chosen(form), workers: workers ? Number(workers) : undefined });
    },
  });
  refresh(body.closest("form"));
  if ((await asked) !== null) {
    announce(`${name} was launched.`);
    context.again();
  }
}
