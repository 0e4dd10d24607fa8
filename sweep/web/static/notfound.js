// An address that names nothing.

import { h } from "./dom.js";

export class NotFound {
  title() {
    return "Nothing here";
  }

  draw() {
    return [
      h("h1", null, "Nothing here"),
      h("p", null, "The address names no page. ", h("a", { href: "#/studies" }, "All studies")),
    ];
  }
}
