// A question in SQL and its answer.

import { link, rewrite } from "./address.js";
import { announce } from "./announce.js";
import { get, post } from "./api.js";
import { h } from "./dom.js";
import { counted, plain } from "./format.js";
import { table } from "./table.js";

export class Query {
  #redraw;
  #sql;
  #answer = null;
  #problem = null;
  #busy = false;
  #examples = [];
  #asking = null;

  constructor(redraw, _session, at) {
    this.#redraw = redraw;
    this.#sql = at.query.get("sql") ?? "";
  }

  title() {
    return "Query";
  }

  enter() {
    get("/api/query/examples").then(
      (found) => {
        this.#examples = found.examples;
        if (!this.#sql && this.#examples.length) this.#write(this.#examples[0].sql);
        this.#redraw();
      },
      () => {},
    );
    if (this.#sql) this.#ask();
  }

  route(at) {
    const sql = at.query.get("sql") ?? "";
    if (sql && sql !== this.#sql) {
      this.#write(sql);
      this.#ask();
    }
  }

  leave() {
    this.#asking?.abort();
  }

  draw() {
    return [
      h("h1", null, "Query"),
      h(
        "p",
        { class: "lead" },
        "SQL (DuckDB) over all results here: views ",
        h("code", null, "trials"),
        ", ",
        h("code", null, "cells"),
        ", ",
        h("code", null, "requested"),
        ", ",
        h("code", null, "curves"),
        ", ",
        h("code", null, "robustness"),
        ", ",
        h("code", null, "attempts"),
        ". It reads and never writes.",
      ),
      h("section", { class: "card", key: "ask", "aria-label": "Question" }, this.#form()),
      h("section", { class: "card", key: "answer", "aria-label": "Answer" }, this.#shown()),
    ];
  }

  #form() {
    const chosen = this.#examples.find((example) => example.sql === this.#sql);
    return h(
      "form",
      {
        onsubmit: (event) => {
          event.preventDefault();
          this.#ask();
        },
      },
      h(
        "div",
        { class: "controls" },
        h(
          "label",
          null,
          "Example",
          h(
            "select",
            { onchange: (event) => this.#pick(event.target.value), value: chosen?.name ?? "" },
            h("option", { value: "" }, "own query"),
            this.#examples.map(({ name, question }) =>
              h("option", { value: name, title: question }, `${name}: ${shorter(question)}`),
            ),
          ),
        ),
      ),
      chosen ? h("p", { class: "note" }, chosen.question) : null,
      h("label", { class: "field", for: "sql" }, "SQL"),
      h(
        "textarea",
        {
          id: "sql",
          key: "sql",
          spellcheck: "false",
          autocapitalize: "off",
          rows: 9,
          oninput: (event) => {
            this.#sql = event.target.value;
          },
          onkeydown: (event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
              event.preventDefault();
              this.#ask();
            }
          },
        },
        this.#sql,
      ),
      h(
        "div",
        { class: "buttons" },
        h("button", { type: "submit", class: "primary", disabled: this.#busy }, "Ask"),
        h("span", { class: "note" }, this.#busy ? "asking …" : "or Ctrl + Enter"),
      ),
    );
  }

  #shown() {
    if (this.#problem) {
      return h("p", { class: "trouble", role: "alert", key: "problem" }, this.#problem);
    }
    if (this.#answer === null) {
      return h("p", { class: "note", key: "none" }, "The answer appears here.");
    }
    const { columns, rows, warnings } = this.#answer;
    const names = columns.map((column) => column.name);
    const numeric = names.map((_, i) => {
      const known = rows.filter((row) => row[i] !== null);
      return known.length > 0 && known.every((row) => typeof row[i] === "number");
    });
    return [
      h("p", { class: "note", key: "size" }, counted(rows.length, "row")),
      warnings.map((text, i) => h("p", { class: "warning", key: `warning ${i}` }, text)),
      table({
        name: "Answer",
        tall: true,
        columns: names.map((name, i) => ({ key: `${i} ${name}`, label: name, num: numeric[i] })),
        rows: rows.map((row, i) => ({
          key: i,
          cells: row.map((value, at) => cell(value, names[at])),
        })),
        empty: "The answer has no rows.",
      }),
    ];
  }

  #pick(name) {
    const example = this.#examples.find((one) => one.name === name);
    if (example === undefined) return;
    this.#write(example.sql);
    this.#ask();
  }

  #write(sql) {
    this.#sql = sql;
    const box = document.getElementById("sql");
    if (box !== null) box.value = sql;
  }

  async #ask() {
    const sql = this.#sql.trim();
    if (!sql) return;
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    this.#busy = true;
    rewrite(link(["query"], { sql: this.#sql }));
    this.#redraw();
    try {
      this.#answer = await post("/api/query", { sql }, { signal: asking.signal });
      this.#problem = null;
      announce(`The answer has ${counted(this.#answer.rows.length, "row")}.`);
    } catch (error) {
      if (asking.signal.aborted) return;
      this.#problem = error.message;
    }
    this.#busy = false;
    this.#redraw();
  }
}

function shorter(text) {
  return text.length <= 60 ? text : `${text.slice(0, 57)}…`;
}

function cell(value, name) {
  if (name === "trial_id" && typeof value === "string") {
    return h("a", { href: link(["trials", value]) }, value);
  }
  return { show: plain(value), class: value === null ? "faint" : "" };
}
