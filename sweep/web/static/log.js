// The end of what the latest job of a study wrote; read on from where it was read to.

import { api, get, withQuery } from "./api.js";
import { h } from "./dom.js";
import { moment } from "./format.js";
import { card, note } from "./parts.js";
import { pill } from "./progress.js";

const MOST_CHARACTERS = 60_000;
const MARKS = {
  running: "running",
  stopping: "running",
  done: "done",
  failed: "failed",
  lost: "failed",
  stopped: "stopped",
};

export class Log {
  #redraw;
  #job = null;
  #text = "";
  #offset = 0;
  #size = -1;
  #busy = false;
  #gone = false;

  constructor(redraw) {
    this.#redraw = redraw;
  }

  leave() {
    this.#gone = true;
  }

  draw(state) {
    const { job } = state;
    if (!job) return null;
    if (job.id !== this.#job) {
      this.#job = job.id;
      this.#text = "";
      this.#offset = 0;
      this.#size = -1;
    }
    if (job.log_bytes !== this.#size && !this.#busy) this.#read(job);
    const region = { tabindex: 0, role: "region", "aria-label": "Log of the job" };
    return card(
      "log",
      "Job",
      h("h2", null, "Job"),
      note(pill(MARKS[job.status], job.status), ` ${job.action}, begun ${moment(job.started_at)}`),
      h("pre", { id: "log", key: "text", ...region }, this.#text || "Nothing written yet."),
    );
  }

  async #read(job) {
    this.#busy = true;
    const size = job.log_bytes;
    try {
      const found = await get(withQuery(api`jobs/${job.id}/log`, { offset: this.#offset }));
      if (this.#gone || job.id !== this.#job) return;
      this.#text = (this.#text + found.text).slice(-MOST_CHARACTERS);
      this.#offset = found.next_offset;
      this.#size = size;
    } catch {
      return; // the next state asks again
    } finally {
      this.#busy = false;
    }
    const box = document.getElementById("log");
    const atEnd = box === null || box.scrollHeight - box.scrollTop - box.clientHeight < 24;
    this.#redraw();
    // Only who looks at the end is kept there.
    if (atEnd) {
      const shown = document.getElementById("log");
      if (shown !== null) shown.scrollTop = shown.scrollHeight;
    }
  }
}
