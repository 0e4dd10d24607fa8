// How a study stands, in one word.

/** A class and a word for a study's `counts`, whether it is `active`, and its `job`. */
export function standing({ counts, active, job = null }) {
  const { done = 0, failed = 0, total = 0 } = counts ?? {};
  if (active) return ["running", job?.status === "stopping" ? "stopping" : "running"];
  if (total && done === total) return ["done", "finished"];
  if (failed) return ["failed", "stopped, with failures"];
  if (done) return ["partly", "not finished"];
  return ["missing", "not begun"];
}
