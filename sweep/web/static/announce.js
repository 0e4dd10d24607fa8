// What a screen reader is told without being asked: one short sentence at a time.

/** Says a sentence; the same one twice in a row is said once. */
export function announce(text) {
  const place = document.getElementById("announce");
  if (place.textContent !== text) place.textContent = text;
}

/** Says how far something is, but only at every tenth part of it. */
export class Milestones {
  #last = null;

  tell(name, done, total) {
    const tenth = total ? Math.floor((10 * done) / total) : 0;
    if (this.#last !== null && tenth > this.#last) {
      announce(`${name}: ${done} of ${total} trials done.`);
    }
    this.#last = tenth;
  }
}
