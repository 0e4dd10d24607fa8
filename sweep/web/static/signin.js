// Asking for the token.

import { post } from "./api.js";
import { h } from "./dom.js";

export class SignIn {
  #redraw;
  #problem = null;
  #busy = false;

  constructor(redraw) {
    this.#redraw = redraw;
  }

  title() {
    return "Sign in";
  }

  enter() {
    document.getElementById("token")?.focus();
  }

  draw() {
    return h(
      "section",
      { class: "card signin" },
      h("h1", null, "Sign in"),
      h(
        "p",
        { class: "note", id: "token-note" },
        "This server asks for its token. ",
        h("code", null, "sweep serve"),
        " prints it when it starts.",
      ),
      h(
        "form",
        { onsubmit: (event) => this.#submit(event) },
        h(
          "label",
          { class: "field" },
          "Token",
          h("input", {
            type: "password",
            id: "token",
            name: "token",
            autocomplete: "current-password",
            required: true,
            "aria-describedby": "token-note",
          }),
        ),
        this.#problem && h("p", { class: "trouble", role: "alert" }, this.#problem),
        h("button", { type: "submit", class: "primary", disabled: this.#busy }, "Sign in"),
      ),
    );
  }

  async #submit(event) {
    event.preventDefault();
    const token = new FormData(event.target).get("token");
    this.#busy = true;
    this.#redraw();
    try {
      await post("/api/login", { token });
      document.dispatchEvent(new CustomEvent("sweep-signed-in"));
    } catch (error) {
      this.#problem = error.message;
      this.#busy = false;
      this.#redraw();
    }
  }
}
