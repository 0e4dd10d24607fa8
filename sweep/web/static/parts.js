// Small pieces that several views show.

import { link } from "./address.js";
import { h } from "./dom.js";
import { shortId } from "./format.js";

/** A part of a view, in a frame of its own. */
export function card(key, label, ...children) {
  return h("section", { class: "card", key, "aria-label": label }, ...children);
}

/** Something at the left and its buttons at the right. */
export function head(left, ...right) {
  return h("div", { class: "head" }, left, h("div", { class: "buttons" }, ...right));
}

/** A remark. */
export function note(...children) {
  return h("p", { class: "note" }, ...children);
}

/** What went wrong, as text; nothing where nothing did. */
export function trouble(text) {
  return text ? h("p", { class: "trouble", role: "alert", key: "trouble" }, text) : null;
}

/** That something is on its way. */
export function waiting(text = "Loading …") {
  return h("p", { class: "wait", key: "wait" }, text);
}

/** What a resource holds, drawn; or why it holds nothing. */
export function held(resource, draw) {
  const { data, problem } = resource;
  if (data === null) return problem ? trouble(problem.message) : waiting();
  return [trouble(problem?.message), draw(data)];
}

/** A button. */
export function button(label, onclick, more = {}) {
  return h("button", { type: "button", onclick, ...more }, label);
}

/** Numbers that matter, each with what it is. */
export function tiles(entries) {
  if (entries.length === 0) return null;
  const one = ([value, what]) => h("li", { key: what }, h("b", null, value), h("span", null, what));
  return h("ul", { class: "tiles" }, entries.map(one));
}

/** Names and values. */
export function facts(entries) {
  const one = ([name, value]) => [h("dt", null, name), h("dd", null, value)];
  return h("dl", { class: "facts" }, entries.map(one));
}

/** A link to a trial. */
export function trialLink(id) {
  return h("a", { href: link(["trials", id]), key: id }, h("code", null, shortId(id)));
}

/** Links to trials, with commas between. */
export function trialLinks(ids) {
  return ids.map((id, i) => [i ? ", " : "", trialLink(id)]);
}
