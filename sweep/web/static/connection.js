// Says calmly that the server does not answer, and that it does again.

import { announce } from "./announce.js";
import { h, show } from "./dom.js";
import { moment } from "./format.js";

let lastAnswer = null;
let lost = false;

/** Watches the answers of every poll; writes into `place`. */
export function watchConnection(place) {
  document.addEventListener("sweep-answered", () => {
    lastAnswer = new Date();
    if (!lost) return;
    lost = false;
    show(place);
    announce("The server answers again.");
  });
  document.addEventListener("sweep-unanswered", ({ detail: problem }) => {
    if (problem.status !== 0 && problem.status < 500) return; // a view says what it was refused
    lost = true;
    const since = lastAnswer === null ? "" : ` Shown is what was known at ${moment(lastAnswer)}.`;
    const what = problem.status === 0 ? "No connection to the server." : "The server has trouble.";
    show(
      place,
      h(
        "p",
        { class: "lost" },
        h("b", null, what),
        `${since} Runs go on by themselves; trying again.`,
      ),
    );
  });
}
