// Tables that scroll in themselves and say how they are sorted, and the buttons between pages.

import { h } from "./dom.js";
import { count } from "./format.js";

/**
 * A table.
 *
 * @param {object} table
 * @param {string} table.name What it holds, for whoever cannot see it; also its key.
 * @param {{key: string, label: *, num?: boolean, title?: string, sorts?: boolean}[]} table.columns
 * @param {{key: string, cells: *[]}[]} table.rows Cells are text, elements, or
 *   `{show, class}` with either.
 * @param {{by: string, order: "asc" | "desc"} | null} [table.sort]
 * @param {(by: string) => void} [table.onSort]
 * @param {boolean} [table.tall] Whether it keeps to a part of the screen.
 * @param {string} [table.empty] What is said where there are no rows.
 */
export function table({ name, columns, rows, sort = null, onSort, tall = false, empty }) {
  if (rows.length === 0) return h("p", { class: "note", key: name }, empty ?? "Nothing yet.");
  const head = columns.map((column) => heading(column, sort, onSort));
  const body = rows.map((row) =>
    h(
      "tr",
      { key: row.key },
      row.cells.map((cell, i) => entry(cell, columns[i])),
    ),
  );
  const wrap = { class: tall ? "scroll tall" : "scroll", key: name };
  return h(
    "div",
    { ...wrap, tabindex: 0, role: "region", "aria-label": name },
    h("table", null, h("thead", null, h("tr", null, head)), h("tbody", null, body)),
  );
}

function heading(column, sort, onSort) {
  const sorts = onSort !== undefined && column.sorts !== false;
  const classes = [column.num ? "num" : "", sorts ? "sorts" : ""].join(" ").trim();
  const props = { scope: "col", class: classes || null, title: column.title, key: column.key };
  if (!sorts) return h("th", props, column.label);
  if (sort?.by === column.key) {
    props["aria-sort"] = sort.order === "desc" ? "descending" : "ascending";
  }
  const press = { type: "button", onclick: () => onSort(column.key) };
  return h("th", props, h("button", press, column.label));
}

function entry(cell, column) {
  const plainly = cell === null || typeof cell !== "object" || cell instanceof Node;
  const styled = !plainly && !Array.isArray(cell);
  const classes = [column.num ? "num" : "", styled ? (cell.class ?? "") : ""].join(" ").trim();
  return h("td", { class: classes || null }, styled ? cell.show : cell);
}

/** How an address says that a table is sorted; null where it does not. */
export function sortOf(query) {
  const by = query.get("sort");
  return by === null ? null : { by, order: query.get("order") === "desc" ? "desc" : "asc" };
}

/** The other order of a column that is sorted by already; ascending for another one. */
export function nextSort(sort, by) {
  return { by, order: sort?.by === by && sort.order === "asc" ? "desc" : "asc" };
}

/** Buttons to the pages before and after. */
export function pager({ offset, limit, total, onPage }) {
  if (total === 0) return null;
  const last = Math.min(offset + limit, total);
  const turn = (label, to, off) =>
    h("button", { type: "button", disabled: off, onclick: () => onPage(to) }, label);
  const one = total <= limit;
  return h(
    "div",
    { class: "pager", key: "pager" },
    one ? null : turn("← Back", Math.max(0, offset - limit), offset === 0),
    h("span", null, `${count(offset + 1)}–${count(last)} of ${count(total)}`),
    one ? null : turn("Next →", offset + limit, last >= total),
  );
}
