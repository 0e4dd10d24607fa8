// One trial whole: parameters, figures, curves, robustness, attempts.

import { link } from "./address.js";
import { api } from "./api.js";
import { CATEGORIES, DASHES, INK, axis, layout, literal } from "./charts.js";
import { h } from "./dom.js";
import {
  bytes,
  count,
  dataset,
  metric,
  metricTitle,
  moment,
  plain,
  shortId,
  took,
  words,
} from "./format.js";
import { card, facts, note, tiles, trialLinks, trouble, waiting } from "./parts.js";
import { Poll } from "./poll.js";
import { pill } from "./progress.js";
import { table } from "./table.js";

const POLL_MS = 5000;
const MEASURED = [
  ["test_metric", "test"],
  ["validation_metric", "validation"],
];
const RUN = new Set([
  "status", "metric_name", "test_metric", "test_loss", "validation_metric", "validation_loss",
  "mae", "r2", "epochs_run", "diverged_epoch", "stopped_epoch", "best_epoch", "selected_on",
  "teacher_trial_ids", "wall_s", "train_s", "evaluate_s", "stage_s", "device_s",
  "peak_memory_bytes", "device_name", "numerics_class", "numerics_version", "code_version",
  "data_fingerprint", "schedule", "finished_at", "zero_gradients_percent", "steps_per_epoch",
  "trial_id", "per_class", "confusion", "perturbed",
]); // prettier-ignore

export class Trial {
  #redraw;
  #id;
  #poll;
  #found = null;
  #problem = null;

  constructor(redraw, _session, at) {
    this.#redraw = redraw;
    this.#id = at.parts[1];
    this.#poll = new Poll(
      api`trials/${this.#id}`,
      (found) => {
        this.#found = found;
        this.#problem = null;
        redraw();
      },
      () => POLL_MS,
      (problem) => {
        this.#problem = problem;
        redraw();
      },
    );
  }

  title() {
    return `Trial ${shortId(this.#id)}`;
  }

  enter() {
    this.#poll.start();
  }

  leave() {
    this.#poll.stop();
  }

  draw() {
    const found = this.#found;
    if (found === null) {
      const said = this.#problem ? trouble(this.#problem.message) : waiting();
      return [crumbs([]), h("h1", null, this.title()), said];
    }
    return [
      crumbs(found.uses),
      this.#head(found),
      h("div", { class: "pair", key: "facts" }, parameters(found), run(found)),
      curves(found),
      robustness(found),
      attempts(found),
    ];
  }

  #head(found) {
    const { record, metric: name } = found;
    const measured = MEASURED.filter(([key]) => typeof record[key] === "number");
    const said = measured.map(([key, split]) => [
      metric(record[key], name),
      `${split} ${unitless(name)}`,
    ]);
    if (record.epochs_run !== undefined) said.push([count(record.epochs_run), "epochs"]);
    if (record.wall_s !== undefined) said.push([took(record.wall_s), "wall time"]);
    return card(
      "head",
      "Trial",
      h("h1", null, called(found.uses) ?? this.title()),
      h("p", { class: "lead" }, "Trial ", h("code", null, found.trial_id)),
      note(pill(found.status), found.weights_kept ? " · its weights are kept" : ""),
      tiles(said),
      related(found),
    );
  }
}

function called(uses) {
  return uses.length ? `${uses[0].label}, seed ${uses[0].seed}` : null;
}

function unitless(metricName) {
  return metricTitle(metricName).replace(" (%)", "");
}

function crumbs(uses) {
  const parts = [h("a", { href: "#/studies" }, "Studies")];
  if (uses.length) {
    const { study, cell } = uses[0];
    parts.push(" / ", h("a", { href: link(["studies", study]) }, study));
    parts.push(" / ", h("a", { href: link(["studies", study], { cell }) }, "its cell"));
  }
  return h("p", { class: "crumbs", key: "crumbs" }, parts);
}

/** Links to the teachers, to the baseline, and to whatever else asks for this trial. */
function related(found) {
  const baselines = [...new Set(found.uses.map((use) => use.baseline_trial).filter(Boolean))];
  const { teachers } = found;
  const rest = found.uses.slice(1);
  const use = ({ study, cell, label }) =>
    h(
      "li",
      { key: `${study} ${cell}` },
      h("a", { href: link(["studies", study], { cell }) }, `${study}: ${label}`),
    );
  return [
    teachers.length
      ? h(
          "p",
          { key: "teachers" },
          teachers.length > 1 ? "Teachers: " : "Teacher: ",
          trialLinks(teachers),
        )
      : null,
    baselines.length
      ? h("p", { key: "baselines" }, "Baseline of the same seed: ", trialLinks(baselines))
      : null,
    rest.length
      ? h(
          "details",
          { key: "uses" },
          h("summary", null, "Also asked for as"),
          h("ul", null, rest.map(use)),
        )
      : null,
  ];
}

function known(name, entries) {
  const said = entries.length ? facts(entries) : note("Nothing is known yet.");
  return card(name, name, h("h2", null, name), said);
}

/** As they were trained; before that, as they were asked for. */
function parameters({ record, uses }) {
  const asked = uses.length ? { ...uses[0].words, seed: uses[0].seed } : {};
  const entries = Object.entries(record.role === undefined ? asked : record)
    .filter(([name, value]) => !RUN.has(name) && value !== null && !Array.isArray(value))
    .map(([name, value]) => [words(name), name === "dataset" ? dataset(value) : plain(value)]);
  return known("Parameters", entries);
}

function run({ record, metric: name }) {
  const entries = [];
  const add = (key, label, write = plain) => {
    const value = record[key];
    if (value !== undefined && value !== null) entries.push([label, write(value)]);
  };
  add("finished_at", "finished", moment);
  add("test_loss", "test loss", (value) => metric(value, "loss"));
  add("validation_loss", "validation loss", (value) => metric(value, "loss"));
  if (name !== "mae") add("mae", "mean absolute error", (value) => metric(value, "mae"));
  if (name !== "r2") add("r2", "R²", (value) => metric(value, "r2"));
  add("selected_on", "teacher chosen on");
  add("best_epoch", "best epoch");
  add("stopped_epoch", "stopped early after epoch");
  add("diverged_epoch", "diverged in epoch");
  add("train_s", "training", took);
  add("evaluate_s", "evaluation", took);
  add("device_s", "device time", took);
  add("peak_memory_bytes", "peak memory", bytes);
  add("device_name", "device");
  add("code_version", "code version");
  add("numerics_class", "numerics class");
  add("data_fingerprint", "data");
  add("schedule", "schedule");
  return known("Run", entries);
}

function curves(found) {
  const drawn = found.curves.filter((curve) => curve.x.length > 0);
  if (drawn.length === 0) return null;
  // Curves with one unit and one kind of x axis share a figure.
  const groups = new Map();
  for (const curve of drawn) {
    const key = JSON.stringify([unitOf(curve), curve.x_title]);
    groups.set(key, [...(groups.get(key) ?? []), curve]);
  }
  const figures = [...groups].map(([key, group]) => curveFigure(key, group, found));
  return card("curves", "Curves", h("h2", null, "Curves"), h("div", { class: "pair" }, figures));
}

function unitOf({ name }) {
  return name.includes("loss") ? "loss" : name.replace(/^(test|validation|train)_/, "");
}

function curveFigure(key, group, found) {
  const unit = unitOf(group[0]);
  const xTitle = group[0].x_title;
  const yTitle = unit === "metric" ? metricTitle(found.metric) : words(unit);
  const title = group.map((curve) => words(curve.name)).join(", ");
  const thinned = group.find((curve) => curve.points > curve.x.length);
  return h(
    "figure",
    { key },
    h("figcaption", null, title),
    h("div", {
      class: "plot",
      opaque: true,
      key: "plot",
      role: "img",
      "aria-label": `${title} over ${xTitle}: ${group.map(ends).join("; ")}`,
      keep: {
        data: group.map((curve, i) => ({
          ...series(words(curve.name), i, "%{x:.4g}"),
          mode: curve.x.length < 40 ? "lines+markers" : "lines",
          x: curve.x,
          y: curve.y,
        })),
        layout: chart(xTitle, yTitle, group.length > 1, guidanceEnd(found, xTitle)),
      },
    }),
    thinned ? note(thinning(thinned)) : null,
  );
}

function thinning(curve) {
  const [shown, all] = [curve.x.length, curve.points].map(count);
  return `Thinned for drawing: ${shown} of ${all} points, peaks kept.`;
}

/** How the curve at a position among others is drawn. */
function series(name, i, at) {
  const colour = CATEGORIES[i % CATEGORIES.length];
  return {
    type: "scatter",
    name: literal(name),
    line: { color: colour, width: 2, dash: DASHES[i % DASHES.length] },
    marker: { size: 6 },
    hovertemplate: `${at}: %{y:.5g}<extra>${literal(name)}</extra>`,
  };
}

function chart(xTitle, yTitle, legend, more = {}) {
  return layout({
    height: 300,
    margin: { l: 58, r: 12, t: legend ? 34 : 10, b: 46 },
    showlegend: legend,
    dragmode: false,
    xaxis: axis(literal(xTitle), { fixedrange: true, rangemode: "tozero" }),
    yaxis: axis(literal(yTitle), { fixedrange: true }),
    ...more,
  });
}

/** A line where the teacher leaves: what is minimised is another loss from there on. */
function guidanceEnd({ record }, xTitle) {
  const at = record.switch_epoch;
  const within = record.role === "student" && at > 0 && at < record.epochs;
  if (!within || xTitle !== "epoch") return {};
  const line = { color: INK, width: 1, dash: "dot" };
  const corner = { y: 1, yref: "paper", xanchor: "left", yanchor: "top", showarrow: false };
  return {
    shapes: [{ type: "line", x0: at, x1: at, y0: 0, y1: 1, yref: "paper", line }],
    annotations: [{ ...corner, x: at, text: " guidance ends" }],
  };
}

function ends(curve) {
  const values = curve.y.filter((value) => value !== null);
  return `${words(curve.name)} from ${plain(values[0])} to ${plain(values.at(-1))}`;
}

function robustness(found) {
  const { robustness: points, metric: name } = found;
  if (points.length === 0) return null;
  const attacks = new Map();
  for (const point of points) {
    const key = point.split === "test" ? point.attack : `${point.attack} (${point.split})`;
    attacks.set(key, [...(attacks.get(key) ?? []), point]);
  }
  const drawn = [...attacks].map(([attack, own], i) => ({
    ...series(words(attack), i, "epsilon %{x}"),
    mode: "lines+markers",
    x: [0, ...own.map((point) => point.epsilon)],
    y: [clean(found, own[0].split), ...own.map((point) => point.value)],
  }));
  return card(
    "robustness",
    "Robustness",
    h("h2", null, "Robustness"),
    h(
      "div",
      { class: "pair" },
      h("div", {
        class: "plot",
        opaque: true,
        key: "plot",
        role: "img",
        "aria-label": "Figures under attack by epsilon; the table beside has the numbers",
        keep: { data: drawn, layout: chart("epsilon (0: clean)", metricTitle(name), true) },
      }),
      table({
        name: "Robustness",
        columns: [
          { key: "attack", label: "attack" },
          { key: "split", label: "split" },
          { key: "epsilon", label: "epsilon", num: true },
          { key: "value", label: unitless(name), num: true },
        ],
        rows: points.map((point) => ({
          key: `${point.split} ${point.attack} ${point.epsilon}`,
          cells: [
            words(point.attack),
            point.split,
            plain(point.epsilon),
            metric(point.value, name),
          ],
        })),
      }),
    ),
  );
}

/** The figure without an attack. */
function clean({ record }, split) {
  return (split === "test" ? record.test_metric : record.validation_metric) ?? null;
}

const ATTEMPTS = [
  { key: "number", label: "no.", num: true },
  { key: "status", label: "outcome" },
  { key: "kind", label: "kind" },
  { key: "node", label: "node" },
  { key: "worker", label: "worker" },
  { key: "device", label: "device" },
  { key: "started", label: "begun" },
  { key: "wall", label: "time", num: true },
  { key: "message", label: "message" },
];

function attempts(found) {
  const explained = found.attempts.filter((one) => one.traceback || one.message);
  return card(
    "attempts",
    "Attempts",
    h("h2", null, "Attempts"),
    table({
      name: "Attempts",
      columns: ATTEMPTS,
      rows: found.attempts.map((one) => ({
        key: one.attempt_id,
        cells: [
          plain(one.number),
          pill(one.status),
          { show: one.kind ? words(one.kind) : "–", class: one.kind ? "bad" : "faint" },
          plain(one.node),
          plain(one.worker),
          plain(one.device),
          moment(one.started_at),
          took(one.wall_s),
          { show: (one.message ?? "").split("\n", 1)[0] || "–", class: "long" },
        ],
      })),
      empty: "It was not tried yet.",
    }),
    explained.map((one) =>
      h(
        "details",
        { key: one.attempt_id, open: found.status === "failed" && one === explained.at(-1) },
        h("summary", null, `Traceback of attempt ${plain(one.number)}`),
        h("pre", { tabindex: 0 }, one.traceback || one.message),
      ),
    ),
  );
}
