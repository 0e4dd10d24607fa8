// Light or dark: what the system says, unless the reader chose. Runs before the first paint, so
// that a dark page never flashes white.
"use strict";

(() => {
  const KEY = "sweep-theme";
  const CHOICES = ["system", "light", "dark"];

  function chosen() {
    try {
      const found = localStorage.getItem(KEY);
      return CHOICES.includes(found) ? found : "system";
    } catch {
      return "system"; // storage may be forbidden; then nothing is remembered
    }
  }

  function apply(choice) {
    document.documentElement.dataset.theme = choice;
    document.dispatchEvent(new CustomEvent("sweep-theme"));
  }

  function label(button) {
    const choice = document.documentElement.dataset.theme;
    button.textContent = { system: "◐ System", light: "○ Light", dark: "● Dark" }[choice];
    button.setAttribute("aria-label", `Colours: ${choice}. Change`);
  }

  apply(chosen());
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    label(button);
    button.addEventListener("click", () => {
      const now = CHOICES.indexOf(document.documentElement.dataset.theme);
      const next = CHOICES[(now + 1) % CHOICES.length];
      try {
        localStorage.setItem(KEY, next);
      } catch {
        // See above.
      }
      apply(next);
      label(button);
    });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    document.dispatchEvent(new CustomEvent("sweep-theme")),
  );
})();
