// Elements from data, and bringing what is shown to what should be shown with as few changes as
// there are, so that focus, selection, scroll positions and open details outlive an update.
//
// Data becomes text nodes and attributes only; nothing here parses HTML.

const OWNED_BY_READER = { DETAILS: ["open"], DIALOG: ["open"] };

/**
 * An element.
 *
 * @param {string} tag
 * @param {object | null} props Attributes, with these exceptions. `onclick` and its like are
 *   handlers; `key` tells siblings apart; `value` and `checked` are properties; `opaque` says that
 *   the content belongs to somebody else; `keep` holds values that travel with the element.
 *   null, undefined and false are left out, true is an empty attribute.
 * @param {...*} children Elements, text, numbers, lists of them; null and false are left out.
 * @returns {HTMLElement}
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  element.handlers = {};
  let value = null;
  for (const [name, given] of Object.entries(props ?? {})) {
    if (given === null || given === undefined || given === false) continue;
    if (name.startsWith("on")) {
      element.handlers[name] = given;
      element[name] = given;
    } else if (name === "keep") {
      element.keep = given;
    } else if (name === "key") {
      element.dataset.key = String(given);
    } else if (name === "value" && tag !== "option" && tag !== "progress") {
      value = given;
    } else if (name === "checked") {
      element.checked = true;
    } else if (name === "style") {
      // One by one: a style attribute as text is what a content policy may forbid.
      for (const [key, text] of Object.entries(given)) element.style.setProperty(key, text);
    } else {
      const attribute = name === "opaque" ? "data-opaque" : name;
      element.setAttribute(attribute, given === true ? "" : String(given));
    }
  }
  append(element, children);
  if (value !== null) element.value = value; // after the options of a select are there
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Makes `root` hold what `children` say. */
export function show(root, ...children) {
  const fresh = document.createElement(root.tagName);
  append(fresh, children);
  const focused = document.activeElement;
  morphChildren(root, fresh);
  // An element that moved has lost the focus on the way.
  if (focused !== document.activeElement && focused !== document.body && root.contains(focused)) {
    focused.focus({ preventScroll: true });
  }
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? (node.dataset.key ?? null) : null;
}

function alike(one, other) {
  return one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}

function morph(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const name of Object.keys(old.handlers ?? {})) old[name] = null;
  old.handlers = fresh.handlers ?? {};
  for (const [name, handler] of Object.entries(old.handlers)) old[name] = handler;
  if (fresh.keep !== undefined) old.keep = fresh.keep;
  if ("opaque" in old.dataset && "opaque" in fresh.dataset) return;
  morphAttributes(old, fresh);
  if (old.tagName === "TEXTAREA") return; // what is written there is the reader's
  morphChildren(old, fresh);
  if (old.tagName === "SELECT" && old.value !== fresh.value) old.value = fresh.value;
  if (old.tagName === "INPUT") {
    if (old.checked !== fresh.checked) old.checked = fresh.checked;
    const typing = old === document.activeElement;
    if (old.type !== "file" && !typing && old.value !== fresh.value) old.value = fresh.value;
  }
}

function morphAttributes(old, fresh) {
  const owned = OWNED_BY_READER[old.tagName] ?? [];
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !owned.includes(name) && name !== "style") {
      old.removeAttribute(name);
    }
  }
  for (const { name, value } of fresh.attributes) {
    if (name === "style") continue;
    if (old.getAttribute(name) !== value && !owned.includes(name)) old.setAttribute(name, value);
  }
  if (old.style.cssText !== fresh.style.cssText) old.style.cssText = fresh.style.cssText;
}

function morphChildren(parent, fresh) {
  const wanted = new Set([...fresh.childNodes].map(keyOf));
  const known = new Map();
  for (const child of [...parent.childNodes]) {
    const key = keyOf(child);
    if (key === null) continue;
    if (wanted.has(key)) known.set(key, child);
    else child.remove();
  }
  let at = parent.firstChild;
  for (const next of [...fresh.childNodes]) {
    const key = keyOf(next);
    const match = key === null ? at : known.get(key);
    if (match === undefined || match === null || !alike(match, next)) {
      parent.insertBefore(next, at);
      continue;
    }
    if (match === at) at = at.nextSibling;
    else parent.insertBefore(match, at);
    morph(match, next);
  }
  while (at !== null) {
    const rest = at;
    at = at.nextSibling;
    rest.remove();
  }
}
