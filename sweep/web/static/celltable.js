// The cells of a panel as a table of links, for whoever reads with a keyboard or a screen reader.

import { cellText, sentence } from "./cells.js";
import { h } from "./dom.js";
import { plain } from "./format.js";

/** The table of a panel; `hrefOf` says where a cell leads. */
export function cellTable(panel, { value, chosen, hrefOf }) {
  const { x, y, title, metricName } = panel;
  const region = { tabindex: 0, role: "region", "aria-label": `${title}, as a table` };
  const shown = (cell) =>
    h(
      "a",
      {
        href: hrefOf(cell),
        title: sentence(panel, cell),
        "aria-label": `${sentence(panel, cell)}: its trials`,
        "aria-current": cell.key === chosen ? "true" : null,
      },
      cellText(cell, value, metricName),
    );
  const row = (entry, r) =>
    h(
      "tr",
      { key: r },
      h("th", { scope: "row" }, plain(entry)),
      panel.cells[r].map((cell, c) => h("td", { key: c }, cell === null ? "" : shown(cell))),
    );
  return h(
    "div",
    { class: "scroll", key: "table", ...region },
    h(
      "table",
      { class: "grid-cells" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", { scope: "col" }, y.title ? `${y.title} \\ ${x.title}` : x.title),
          x.values.map((entry, i) => h("th", { scope: "col", key: i }, plain(entry))),
        ),
      ),
      h("tbody", null, y.values.map(row).reverse()), // as in the figure: the largest above
    ),
  );
}

