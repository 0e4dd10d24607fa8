// The dialog that starts a study: how much of it, on how many workers, and what that would cost.

import { announce } from "./announce.js";
import { api, post } from "./api.js";
import { confirm } from "./dialog.js";
import { h, show } from "./dom.js";
import { trouble, waiting } from "./parts.js";
import { overview } from "./plan.js";

const TYPING_MS = 500;

/** What the form says of which trials are run. */
function chosen(form) {
  const said = new FormData(form);
  const lines = (name) => {
    const found = said.get(name).split("\n").map((line) => line.trim());
    const given = found.filter(Boolean);
    return given.length ? given : undefined;
  };
  return { seeds: number(said, "seeds"), only: lines("only"), settings: lines("settings") };
}

function number(said, name) {
  return said.get(name) ? Number(said.get(name)) : undefined;
}

/** Opens the dialog of a study; the plan follows what is filled in. */
export async function launch(context) {
  const { name } = context;
  const planned = h("div", { "aria-live": "polite" }, waiting("Planning …"));
  let timer = null;
  let latest = 0;

  async function plan(form) {
    latest += 1;
    const mine = latest;
    try {
      const found = await post("/api/plan", { study: name, ...chosen(form) });
      if (mine === latest) show(planned, overview(found.overview));
    } catch (problem) {
      if (mine === latest) show(planned, trouble(problem.message));
    }
  }

  function typed(event) {
    const { form } = event.target;
    clearTimeout(timer);
    timer = setTimeout(() => plan(form), TYPING_MS);
  }

  const body = h("div", null, fields(typed), h("h3", null, "Plan"), planned);
  const answer = confirm({
    title: `Launch ${name}`,
    body,
    yes: "Launch",
    act: (form) => {
      const workers = number(new FormData(form), "workers");
      return post(api`studies/${name}/launch`, { ...chosen(form), workers });
    },
  });
  plan(body.closest("form"));
  if ((await answer) === null) return;
  announce(`${name} was launched.`);
  context.again();
}

function fields(typed) {
  const field = (label, input) => h("label", { class: "field" }, label, input);
  const counting = (name, placeholder, oninput) =>
    h("input", { type: "number", name, min: 1, step: 1, placeholder, oninput });
  const filter = { placeholder: "alpha=0.1|0.6 teacher=small", autocapitalize: "off" };
  const keys = { placeholder: "recipe.epochs=2", rows: 3, spellcheck: "false" };
  return [
    h(
      "div",
      { class: "fields" },
      field("Only the first seeds", counting("seeds", "all", typed)),
      field("Trials at a time", counting("workers", "as many as fit", null)),
      field(
        "Only these (filter)",
        h("input", { type: "text", name: "only", oninput: typed, ...filter }),
      ),
    ),
    h(
      "details",
      null,
      h("summary", null, "Other settings"),
      field(
        "One key = value a line",
        h("textarea", { name: "settings", oninput: typed, ...keys }),
      ),
    ),
  ];
}
