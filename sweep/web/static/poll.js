// Asking for one thing again and again: only while the page is looked at, only for what changed,
// and ever more rarely while nobody answers.

import { getIfChanged } from "./api.js";

const LONGEST_PAUSE_MS = 15_000;

/** Watches one path. */
export class Poll {
  #path;
  #take;
  #pauseMs;
  #refused;
  #tag = null;
  #timer = null;
  #asking = null;
  #misses = 0;
  #stopped = true;
  #seen = () => this.#look();

  /**
   * @param {string} path What is asked for.
   * @param {(data: object) => void} take Gets every new answer.
   * @param {() => number} pauseMs How long to wait after an answer.
   * @param {(problem: Error) => void} refused Gets what the server refuses: an unknown name.
   */
  constructor(path, take, pauseMs, refused = () => {}) {
    this.#path = path;
    this.#take = take;
    this.#pauseMs = pauseMs;
    this.#refused = refused;
  }

  start() {
    this.#stopped = false;
    document.addEventListener("visibilitychange", this.#seen);
    return this.now();
  }

  stop() {
    this.#stopped = true;
    document.removeEventListener("visibilitychange", this.#seen);
    clearTimeout(this.#timer);
    this.#asking?.abort();
  }

  /** Asks at once, whatever the pause. */
  async now() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    try {
      const { tag, data } = await getIfChanged(this.#path, this.#tag, { signal: asking.signal });
      if (this.#stopped || asking.signal.aborted) return;
      this.#tag = tag;
      this.#misses = 0;
      tell("sweep-answered", null);
      if (data !== null) this.#take(data);
    } catch (error) {
      if (this.#stopped || error.name === "AbortError") return;
      if (error.status === 401) return; // signing in starts the page afresh
      this.#misses += 1;
      if (error.status >= 400 && error.status < 500) {
        this.#tag = null; // so that the next answer is a whole one
        this.#refused(error);
      }
      tell("sweep-unanswered", error);
    }
    this.#plan();
  }

  #plan() {
    clearTimeout(this.#timer);
    if (this.#stopped || document.hidden) return;
    const pause = this.#misses
      ? Math.min(LONGEST_PAUSE_MS, 1000 * 2 ** Math.min(this.#misses, 4))
      : this.#pauseMs();
    this.#timer = setTimeout(() => this.now(), pause);
  }

  #look() {
    if (document.hidden) clearTimeout(this.#timer);
    else this.now();
  }
}

function tell(name, detail) {
  document.dispatchEvent(new CustomEvent(name, { detail }));
}
