// How a comparison with the baseline ended.

/** The colour that goes with a verdict; the word stands beside it. */
export function verdictClass(verdict) {
  return verdict === "better" || verdict === "worse" ? verdict : "";
}
