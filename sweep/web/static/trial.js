// One trial whole: parameters, figures, curves, robustness, attempts.

import { link } from "./address.js";
import { api } from "./api.js";
import { CATEGORIES, DASHES, INK, axis, layout, literal } from "./charts.js";
import { h } from "./dom.js";
import { bytes, count, dataset, metric, metricTitle, moment, plain, shortId, took, words } from "./format.js";
import { Poll } from "./poll.js";
import { pill } from "./progress.js";
import { table } from "./table.js";

const POLL_MS = 5000;
const MEASURED = [
  ["test_metric", "test"],
  ["validation_metric", "validation"],
];
const RUN = new Set([
  "status", "metric_name", "test_metric", "test_loss", "validation_metric", "validation_loss", "mae",
  "r2", "epochs_run", "diverged_epoch", "stopped_epoch", "best_epoch", "selected_on",
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
      const said = this.#problem
        ? h("p", { class: "trouble", role: "alert" }, this.#problem.message)
        : h("p", { class: "wait" }, "Loading …");
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
    const { record } = found;
    const tiles = MEASURED.filter(([key]) => typeof record[key] === "number").map(([key, split]) => [
      metric(record[key], found.metric),
      `${split} ${metricTitle(found.metric).replace(" (%)", "")}`,
    ]);
    if (record.epochs_run !== undefined) tiles.push([count(record.epochs_run), "epochs"]);
    if (record.wall_s !== undefined) tiles.push([took(record.wall_s), "wall time"]);
    return h(
      "section",
      { class: "card", key: "head", "aria-label": "Trial" },
      h("h1", null, found.uses[0]?.label ?? this.title()),
      h("p", { class: "lead" }, "Trial ", h("code", null, found.trial_id)),
      h("p", { class: "note" }, pill(found.status), found.weights_kept ? " · its weights are kept" : ""),
      tiles.length
        ? h("ul", { class: "tiles" }, tiles.map(([value, what]) => h("li", { key: what }, h("b", null, value), h("span", null, what))))
        : null,
      uses(found),
    );
  }
}

function crumbs(used) {
  const study = used[0]?.study;
  return h(
    "p",
    { class: "crumbs", key: "crumbs" },
    h("a", { href: "#/studies" }, "Studies"),
    study ? [" / ", h("a", { href: link(["studies", study]) }, study)] : null,
    study
      ? [" / ", h("a", { href: link(["studies", study], { cell: used[0].cell }) }, "its cell")]
      : null,
  );
}

function uses(found) {
  const baselines = [...new Set(found.uses.map((use) => use.baseline_trial).filter(Boolean))];
  const trials = (ids) =>
    ids.map((id, i) => [i ? ", " : "", h("a", { href: link(["trials", id]) }, h("code", null, shortId(id)))]);
  const rest = found.uses.slice(1);
  return [
    found.teachers.length ? h("p", { key: "teachers" }, found.teachers.length > 1 ? "Teachers: " : "Teacher: ", trials(found.teachers)) : null,
    baselines.length ? h("p", { key: "baselines" }, "Baseline of the same seed: ", trials(baselines)) : null,
    rest.length
      ? h(
          "details",
          { key: "uses" },
          h("summary", null, "Also asked for as"),
          h("ul", null, rest.map((use) => h("li", { key: `${use.study} ${use.cell}` }, h("a", { href: link(["studies", use.study], { cell: use.cell }) }, `${use.study}: ${use.label}`)))),
        )
      : null,
  ];
}

function facts(name, entries) {
  return h(
    "section",
    { class: "card", key: name, "aria-label": name },
    h("h2", null, name),
    entries.length
      ? h("dl", { class: "facts" }, entries.map(([key, value]) => [h("dt", null, key), h("dd", null, value)]))
      : h("p", { class: "note" }, "Nothing is known yet."),
  );
}

function parameters({ record }) {
  const entries = Object.entries(record)
    .filter(([name, value]) => !RUN.has(name) && value !== null && !Array.isArray(value))
    .map(([name, value]) => [words(name), name === "dataset" ? dataset(value) : plain(value)]);
  return facts("Parameters", entries);
}

function run({ record, metric: name }) {
  const entries = [];
  const add = (key, label, write = plain) => {
    if (record[key] !== undefined && record[key] !== null) entries.push([label, write(record[key])]);
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
  return facts("Run", entries);
}

function curves(found) {
  const known = found.curves.filter((curve) => curve.x.length > 0);
  if (known.length === 0) return null;
  // Curves with one kind of x axis and one unit share a figure.
  const groups = new Map();
  for (const curve of known) {
    const key = `${/loss/.test(curve.name) ? "loss" : curve.name.replace(/^(test|validation|train)[_ ]/, "")}|${curve.x_title}`;
    groups.set(key, [...(groups.get(key) ?? []), curve]);
  }
  return h(
    "section",
    { class: "card", key: "curves", "aria-label": "Curves" },
    h("h2", null, "Curves"),
    h("div", { class: "pair" }, [...groups].map(([key, group]) => curveFigure(key, group, found))),
  );
}

function curveFigure(key, group, found) {
  const [unit, xTitle] = key.split("|");
  const title = group.map((curve) => words(curve.name)).join(", ");
  const yTitle = unit === "metric" ? metricTitle(found.metric) : words(unit);
  const thinned = group.filter((curve) => curve.points > curve.x.length);
  return h(
    "figure",
    { key },
    h("figcaption", null, title),
    h("div", {
      class: "plot",
      opaque: true,
      key: `plot ${key}`,
      role: "img",
      "aria-label": `${title} over ${xTitle}: ${group.map(ends).join("; ")}`,
      keep: {
        data: group.map((curve, i) => ({
          type: "scatter",
          mode: curve.x.length < 40 ? "lines+markers" : "lines",
          name: literal(words(curve.name)),
          x: curve.x,
          y: curve.y,
          line: { color: CATEGORIES[i % CATEGORIES.length], width: 2, dash: DASHES[i % DASHES.length] },
          marker: { size: 5 },
          hovertemplate: `%{x:.4g}: %{y:.5g}<extra>${literal(words(curve.name))}</extra>`,
        })),
        layout: layout({
          height: 300,
          margin: { l: 58, r: 12, t: group.length > 1 ? 34 : 10, b: 46 },
          showlegend: group.length > 1,
          dragmode: false,
          xaxis: axis(literal(xTitle), { fixedrange: true, rangemode: "tozero" }),
          yaxis: axis(literal(yTitle), { fixedrange: true }),
          ...guidanceEnd(found, xTitle),
        }),
      },
    }),
    thinned.length
      ? h("p", { class: "note" }, `Thinned for drawing: ${count(thinned[0].x.length)} of ${count(thinned[0].points)} points, peaks kept.`)
      : null,
  );
}

/** A line where the teacher leaves: what is minimised is another loss from there on. */
function guidanceEnd({ record }, xTitle) {
  const at = record.switch_epoch;
  const within = record.role === "student" && at > 0 && at < record.epochs;
  if (!within || xTitle !== "epoch") return {};
  const line = { color: INK, width: 1, dash: "dot" };
  return {
    shapes: [{ type: "line", x0: at, x1: at, y0: 0, y1: 1, yref: "paper", line }],
    annotations: [
      { x: at, y: 1, yref: "paper", xanchor: "left", yanchor: "top", showarrow: false, text: " guidance ends" },
    ],
  };
}

function ends(curve) {
  const known = curve.y.filter((value) => value !== null);
  return `${words(curve.name)} from ${plain(known[0])} to ${plain(known.at(-1))}`;
}

function robustness(found) {
  const { record, metric: name } = found;
  if (found.robustness.length === 0) return null;
  const rows = found.robustness.map((point) => ({
    key: `${point.split} ${point.attack} ${point.epsilon}`,
    cells: [words(point.attack), point.split, plain(point.epsilon), metric(point.value, name)],
  }));
  const series = new Map();
  for (const point of found.robustness) {
    const key = point.split === "test" ? point.attack : `${point.attack} (${point.split})`;
    series.set(key, [...(series.get(key) ?? []), point]);
  }
  const clean = (points) => (points[0].split === "test" ? record.test_metric : record.validation_metric);
  return h(
    "section",
    { class: "card", key: "robustness", "aria-label": "Robustness" },
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
        keep: {
          data: [...series].map(([attack, points], i) => ({
            type: "scatter",
            mode: "lines+markers",
            name: literal(words(attack)),
            x: [0, ...points.map((point) => point.epsilon)],
            y: [clean(points) ?? null, ...points.map((point) => point.value)],
            line: { color: CATEGORIES[i % CATEGORIES.length], width: 2, dash: DASHES[i % DASHES.length] },
            marker: { size: 7 },
            hovertemplate: `epsilon %{x}: %{y:.5g}<extra>${literal(words(attack))}</extra>`,
          })),
          layout: layout({
            height: 300,
            margin: { l: 58, r: 12, t: 34, b: 46 },
            showlegend: true,
            dragmode: false,
            xaxis: axis("epsilon (0: clean)", { fixedrange: true, rangemode: "tozero" }),
            yaxis: axis(literal(metricTitle(name)), { fixedrange: true }),
          }),
        },
      }),
      table({
        name: "Robustness",
        columns: [
          { key: "attack", label: "attack" },
          { key: "split", label: "split" },
          { key: "epsilon", label: "epsilon", num: true },
          { key: "value", label: metricTitle(name).replace(" (%)", ""), num: true },
        ],
        rows,
      }),
    ),
  );
}

function attempts(found) {
  return h(
    "section",
    { class: "card", key: "attempts", "aria-label": "Attempts" },
    h("h2", null, "Attempts"),
    table({
      name: "Attempts",
      columns: [
        { key: "number", label: "no.", num: true },
        { key: "status", label: "outcome" },
        { key: "kind", label: "kind" },
        { key: "node", label: "node" },
        { key: "worker", label: "worker" },
        { key: "device", label: "device" },
        { key: "started", label: "begun" },
        { key: "wall", label: "time", num: true },
        { key: "message", label: "message" },
      ],
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
    found.attempts
      .filter((one) => one.traceback || one.message)
      .map((one) =>
        h(
          "details",
          { key: one.attempt_id, open: one === found.attempts.at(-1) && found.status === "failed" },
          h("summary", null, `Traceback of attempt ${plain(one.number)}`),
          h("pre", { tabindex: 0 }, one.traceback || one.message),
        ),
      ),
  );
}
