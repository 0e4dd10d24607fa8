// Something a view shows, asked for when it is first drawn and again when its version is another.
// What was known stays on the page until the new answer is there.

import { get } from "./api.js";

const AGAIN_MS = 3000;

export class Resource {
  data = null;
  problem = null;
  #redraw;
  #path = null;
  #version = null;
  #asking = null;
  #again = false;
  #timer = null;

  constructor(redraw) {
    this.#redraw = redraw;
  }

  /** Wants what is at a path, in a version; gives this. Called with every drawing. */
  want(path, version = "") {
    if (path === this.#path && version === this.#version) return this;
    const elsewhere = path !== this.#path;
    this.#path = path;
    this.#version = version;
    if (elsewhere) this.#asking?.abort();
    // Versions may come faster than answers: the running request is finished, then one more made.
    if (!elsewhere && this.#asking !== null) this.#again = true;
    else this.#ask();
    return this;
  }

  leave() {
    this.#asking?.abort();
    clearTimeout(this.#timer);
    this.#redraw = () => {};
  }

  async #ask() {
    const asking = new AbortController();
    this.#asking = asking;
    this.#again = false;
    clearTimeout(this.#timer);
    try {
      this.data = await get(this.#path, { signal: asking.signal });
      this.problem = null;
    } catch (error) {
      if (error.name === "AbortError" || asking.signal.aborted) return;
      this.problem = error;
      // Nobody answered, or somebody who is busy: it is asked once more after a while.
      if (error.status === 0 || error.status >= 500 || error.status === 429) {
        this.#timer = setTimeout(() => this.#ask(), AGAIN_MS);
      }
    }
    if (this.#asking !== asking) return;
    this.#asking = null;
    if (this.#again) this.#ask();
    this.#redraw();
  }
}
