// Asking before something costs. A native modal dialog keeps the focus inside, closes on Escape and
// gives the focus back.

import { h } from "./dom.js";

/**
 * Asks a question.
 *
 * @param {object} asked `title`, `body` (elements or text), `yes` (the label of the button that
 *   does it), `danger`; `act`, called when it is confirmed: while it runs the dialog stays, and
 *   what it throws is shown inside.
 * @returns {Promise<*>} What `act` gave; null where the reader said no.
 */
export function confirm({ title, body, yes, danger = false, act }) {
  return new Promise((resolve) => {
    let result = null;
    const trouble = h("p", { class: "trouble", role: "alert", hidden: true });
    const doIt = h("button", { type: "submit", class: danger ? "danger" : "primary" }, yes);
    const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
    const form = h(
      "form",
      {
        method: "dialog",
        onsubmit: async (event) => {
          event.preventDefault();
          doIt.disabled = true;
          trouble.hidden = true;
          try {
            result = (await act(form)) ?? {};
            dialog.close();
          } catch (error) {
            trouble.textContent = error.message;
            trouble.hidden = false;
            doIt.disabled = false;
            doIt.focus();
          }
        },
      },
      h("h2", { id: "dialog-title" }, title),
      body,
      trouble,
      h("div", { class: "buttons" }, cancel, doIt),
    );
    const dialog = h("dialog", { "aria-labelledby": "dialog-title", class: "ask" }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
