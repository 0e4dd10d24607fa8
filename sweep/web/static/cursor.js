// The keyboard on a figure: the arrows move between cells, Enter opens one.

import { announce } from "./announce.js";
import { sentence } from "./cells.js";

/** Where the keyboard is in a panel; moves on arrows, opens on Enter. */
export class Cursor {
  #at = new Map();

  of(panel) {
    return this.#at.get(panel.key) ?? null;
  }

  leave(panel) {
    this.#at.delete(panel.key);
  }

  /** Takes a key; gives whether it meant something. */
  press(event, panel, onCell) {
    const steps = {
      ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0],
    }; // prettier-ignore
    const at = this.of(panel);
    if (event.key in steps) {
      const [up, right] = steps[event.key];
      const rows = panel.cells.length;
      const columns = panel.x.values.length;
      const next =
        at === null
          ? { row: rows - 1, column: 0 }
          : {
              row: Math.max(0, Math.min(rows - 1, at.row + up)),
              column: Math.max(0, Math.min(columns - 1, at.column + right)),
            };
      this.#at.set(panel.key, next);
      const cell = panel.cells[next.row][next.column];
      announce(cell === null ? "not asked for" : sentence(panel, cell));
      return true;
    }
    if ((event.key === "Enter" || event.key === " ") && at !== null) {
      const cell = panel.cells[at.row][at.column];
      if (cell !== null) onCell(cell);
      return true;
    }
    return false;
  }
}
