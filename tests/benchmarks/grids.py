"""The same grid three ways: as one would write it today with Ray Tune, and by us, alone and shared.

Every run is a process of its own, timed from its start to its end, on Ray with the same number of
single-threaded workers. Repeats are interleaved and ratios taken within a repeat. Two lengths tell
what an epoch costs (slope) from what does not grow with the epochs (fixed): evaluation, attacks,
imports, Ray's start. The teacher's training is part of all three. Beside it stands the arithmetic
limit: the planned epochs at the pace of bare steps on all slots, and where every second above it
went. Tables must agree: the two of ours bit for bit, the other's within what other random numbers
explain.

    python -m tests.benchmarks.grids [--quick]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import data
from tests.benchmarks.grid import EPSILONS, Grid, absent

SLOTS = 2
REPEATS = 3

GRIDS: dict[str, tuple[Grid, ...]] = {
    "California Housing": (
        Grid("california_housing", epochs=15),
        Grid("california_housing", epochs=60),
    ),
    "Fashion-MNIST, cut": (
        Grid("fashion_mnist", epochs=15, batch_size=64, train_size=64, test_size=100),
        Grid("fashion_mnist", epochs=30, batch_size=64, train_size=64, test_size=100),
    ),
}
"""Two lengths of each grid."""

QUICK: dict[str, tuple[Grid, ...]] = {
    "Digits": (
        Grid("digits", epochs=4, switch_points=2, batch_size=64, train_size=640),
        Grid("digits", epochs=8, switch_points=2, batch_size=64, train_size=640),
    )
}
"""A trial of the measurement itself, on data that needs no download; its figures mean little."""

VARIANTS = ("today", "alone", "shared")
"""Ray Tune; ours with `share=False`; ours."""

RATIOS = (("today", "shared"), ("today", "alone"), ("alone", "shared"))

Run = dict[str, Any]


def process(module: str, *arguments: str) -> Run:
    """What a benchmark module prints, with the moments its process began and ended."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    began = time.time()
    answer = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    ended = time.time()
    if answer.returncode != 0:
        raise RuntimeError(f"{module} {' '.join(arguments)} failed:\n{answer.stderr[-4000:]}")
    found: Run = json.loads(answer.stdout)
    return {**found, "process_began": began, "process_ended": ended, "whole_s": ended - began}


def run_variant(variant: str, grid: Grid, folder: Path) -> Run:
    """Runs a grid one way.

    Returns:
        What it printed, with `window_s`: from the beginning of the first trial to the last result,
        which is free of the start's noise.
    """
    common = [*grid.arguments(), f"--workers={SLOTS}"]
    if variant == "today":
        found = process("as_today", *common)
        first, last = min(trial["began"] for trial in found["trials"]), found["tune_ended"]
    else:
        share = int(variant == "shared")
        found = process("as_a_study", *common, f"--share={share}", f"--results={folder}")
        first = min(stage["began"] for stage in found["stages"])
        last = max(stage["seen"] for stage in found["stages"])
    return {**found, "window_s": last - first}


def measure(lengths: Sequence[Grid], repeats: int) -> dict[str, Any]:
    """Runs a grid at its lengths in every way, interleaved, and works out the figures."""
    runs: dict[str, list[list[Run]]] = {v: [[] for _ in lengths] for v in VARIANTS}
    bare: list[Run] = []
    metrics: Run = {}
    for repeat in range(repeats):
        bare.append(process("bare_steps", *lengths[0].arguments(), f"--workers={SLOTS}"))
        order = VARIANTS[repeat % 3 :] + VARIANTS[: repeat % 3]
        for position, grid in enumerate(lengths):
            with tempfile.TemporaryDirectory() as folder:
                for variant in order:
                    place = Path(folder) / variant
                    runs[variant][position].append(run_variant(variant, grid, place))
                today = runs["today"][position][-1]
                metrics = same_work(grid, today, Path(folder))
    epochs = [
        {"naive": grid.epochs_of_students(False), "planned": grid.epochs_of_students(True)}
        for grid in lengths
    ]
    return {
        "grid": vars(lengths[0]) | {"epochs": [grid.epochs for grid in lengths]},
        "slots": SLOTS,
        "repeats": repeats,
        "epochs": epochs,
        "metrics": metrics,
        **times(runs, epochs),
        "limit": against_limit(runs["shared"], bare),
        "seconds": {
            "shared": [where_time_went(repeated, bare) for repeated in runs["shared"]],
            "today": [of_today(repeated) for repeated in runs["today"]],
        },
        "bare": {name: spread([found[name] for found in bare]) for name in BARE},
    }


BARE = (
    "teacher_step_s", "student_step_s", "guided_step_s", "student_epoch_s", "guided_epoch_s",
    "teacher_evaluation_s", "student_evaluation_s",
)  # fmt: skip


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median and range."""
    found = sorted(values)
    return {"median": statistics.median(found), "least": found[0], "most": found[-1]}


def times(runs: dict[str, list[list[Run]]], epochs: Sequence[dict[str, int]]) -> dict[str, Any]:
    """Slopes, fixed costs, whole times, and their ratios.

    Args:
        runs: for each variant, for each length, its repeats.
        epochs: for each length, naive and planned epochs of students and baseline.
    """
    slopes, fixed = {}, {}
    for variant in VARIANTS:
        short, long = runs[variant]
        grown = epochs[1]["naive"] - epochs[0]["naive"]
        slopes[variant] = [
            (b["window_s"] - a["window_s"]) / grown for a, b in zip(short, long, strict=True)
        ]
        fixed[variant] = [
            run["whole_s"] - slope * epochs[1]["naive"]
            for slope, run in zip(slopes[variant], long, strict=True)
        ]
    shorter = epochs[1]["naive"] / epochs[1]["planned"]
    whole = [
        {variant: [run["whole_s"] for run in runs[variant][length]] for variant in VARIANTS}
        for length in range(len(epochs))
    ]
    return {
        "whole_s": [_spreads(found) for found in whole],
        "slope_s_per_naive_epoch": _spreads(slopes),
        "slope_s_per_planned_epoch": spread(slope * shorter for slope in slopes["shared"]),
        "fixed_s": _spreads(fixed),
        "ratios": {"slope": _ratios(slopes), "whole": [_ratios(found) for found in whole]},
    }


def _spreads(found: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {name: spread(values) for name, values in found.items()}


def _ratios(found: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        f"{slow}/{fast}": spread(a / b for a, b in zip(found[slow], found[fast], strict=True))
        for slow, fast in RATIOS
    }


def arithmetic(run: Run, bare: Run) -> dict[str, float]:
    """Seconds of one process for what the stages of a run compute, at the pace of bare steps.

    Returns:
        `train_s`, `evaluate_s`, and `loop_s` for what a student's epoch takes beyond its steps.
    """
    found = {"train_s": 0.0, "evaluate_s": 0.0, "loop_s": 0.0}
    for stage in run["stages"]:
        who = "student" if stage["model"] == "student" else "teacher"
        how = "guided" if stage["guided"] else who
        steps = bare["steps_per_epoch"] * bare[f"{how}_step_s"]
        found["train_s"] += stage["epochs"] * steps
        found["evaluate_s"] += stage["evaluated"] * bare[f"{who}_evaluation_s"]
        if who == "student":
            found["loop_s"] += stage["epochs"] * (bare[f"{how}_epoch_s"] - steps)
    return found


def limit_s(run: Run, bare: Run) -> float:
    """Seconds that training and evaluation of a run's stages take on all slots at the least."""
    found = arithmetic(run, bare)
    return (found["train_s"] + found["evaluate_s"]) / SLOTS


def against_limit(shared: Sequence[Sequence[Run]], bare: Sequence[Run]) -> dict[str, Any]:
    """How far sharing is above the arithmetic limit: whole, at work, and by the slope."""
    limits = [
        [limit_s(run, b) for run, b in zip(repeated, bare, strict=True)] for repeated in shared
    ]
    whole, window = (
        [
            spread(r[key] / limit for r, limit in zip(repeated, of_length, strict=True))
            for repeated, of_length in zip(shared, limits, strict=True)
        ]
        for key in ("whole_s", "window_s")
    )
    slope = spread(
        (b["window_s"] - a["window_s"]) / (limits[1][i] - limits[0][i])
        for i, (a, b) in enumerate(zip(*shared, strict=True))
    )
    return {
        "limit_s": [spread(found) for found in limits],
        "whole_over_limit": whole,
        "window_over_limit": window,
        "slope_over_limit": slope,
        "critical_path_s": [
            spread(critical_path_s(run, b) for run, b in zip(repeated, bare, strict=True))
            for repeated in shared
        ],
    }


def critical_path_s(run: Run, bare: Run) -> float:
    """Bare seconds of the longest chain: the teacher, then one student guided throughout."""
    teacher = [stage for stage in run["stages"] if stage["model"] != "student"]
    epochs = max(stage["epochs"] for stage in run["stages"])
    student = epochs * bare["steps_per_epoch"] * bare["guided_step_s"]
    return SLOTS * limit_s({"stages": teacher}, bare) + student + bare["student_evaluation_s"]


def where_time_went(repeated: Sequence[Run], bare: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Every second of our runs, each item over the repeats; see `account`."""
    accounts = [account(run, b) for run, b in zip(repeated, bare, strict=True)]
    return {name: spread(found[name] for found in accounts) for name in accounts[0]}


def account(run: Run, bare: Run) -> dict[str, float]:
    """Seconds of a run, item by item; what slots do is divided by their number.

    Returns:
        Items that add up to `whole_s`. Until the first stage begins in a worker: `import_s` from
        the start of the process to `run_study`, `ray_s` to the first stage given out, `worker_s`
        for the rest. In stages: `train_s` and `evaluate_s` at the pace of bare steps, `loop_s`
        for the loop around them, `else_s` for what else workers did (first use of the data,
        networks and snapshots, waiting for memory). Between the stages of a worker: the way of an
        answer to the driver (`answer_s`), what the driver did or had to wait for (`driver_s`), the
        way of the next stage to the worker (`call_s`). `idle_first_s` before a worker's first
        stage, `idle_last_s` after its last. `close_s` from the end of the last stage.
    """
    stages = sorted(run["stages"], key=lambda stage: float(stage["began"]))
    first, last = stages[0]["began"], max(stage["ended"] for stage in stages)
    given_out = min(stage["submitted"] for stage in stages)
    slots = run["summary"]["slots"]
    busy = sum(stage["ended"] - stage["began"] for stage in stages)
    computed = arithmetic(run, bare)
    shares = {**computed, "else_s": busy - sum(computed.values())}
    between = dict.fromkeys(("answer_s", "driver_s", "call_s", "idle_first_s", "idle_last_s"), 0.0)
    workers = {stage["worker"] for stage in stages}
    between["idle_last_s"] = (slots - len(workers)) * (last - first)
    for worker in workers:
        own = [stage for stage in stages if stage["worker"] == worker]
        between["idle_first_s"] += own[0]["began"] - first
        between["idle_last_s"] += last - own[-1]["ended"]
        for before, after in pairwise(own):
            between["answer_s"] += before["seen"] - before["ended"]
            between["driver_s"] += after["submitted"] - before["seen"]
            between["call_s"] += after["began"] - after["submitted"]
    return {
        "import_s": run["called"] - run["process_began"],
        "ray_s": given_out - run["called"],
        "worker_s": first - given_out,
        **{name: seconds / slots for name, seconds in (shares | between).items()},
        "close_s": run["process_ended"] - last,
    }


def of_today(repeated: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Where Tune's runs spent their time: before the first trial, and a step and evaluation."""
    return {
        "start_up_s": spread(
            min(trial["began"] for trial in run["trials"]) - run["process_began"]
            for run in repeated
        ),
        "step_s": spread(
            statistics.median(trial["train_s"] / trial["steps"] for trial in run["trials"])
            for run in repeated
        ),
        "evaluation_s": spread(
            statistics.median(trial["evaluate_s"] for trial in run["trials"]) for run in repeated
        ),
    }


METRIC_MARGIN = {"california_housing": 0.25, "fashion_mnist": 0.25, "digits": 0.5}
"""How far apart, relative to ours, the means over the grid may be: other random numbers, a few
epochs; another learning rate, loss or attack would be further away."""


def same_work(grid: Grid, today: Run, folder: Path) -> dict[str, Any]:
    """Makes sure that the three ways did the same work.

    Returns:
        Means over students and baseline: ours, and today's.

    Raises:
        AssertionError: where sharing changed a result, the number of steps differs, or today's
            figures lie elsewhere than ours.
    """
    from sweep.store import Store
    from tests.sweep.tiny import science

    ours = science(Store(folder / "shared"))
    assert ours.equals(science(Store(folder / "alone"))), "sharing changed a result"
    rows = [row for row in ours.to_pylist() if row["role"] != "teacher"]
    assert len(rows) == len(today["trials"]) == grid.switch_points + 1
    steps = {row["epochs_run"] * row["steps_per_epoch"] for row in rows}
    assert steps == {trial["steps"] for trial in today["trials"]}, "other numbers of steps"
    assert {trial["threads"] for trial in today["trials"]} == {1}, "Tune's trials: other threads"
    measured = {"test_metric": ([r["test_metric"] for r in rows], "test_metric")}
    for epsilon in EPSILONS:
        own = [p["value"] for r in rows for p in r["robustness"] if p["epsilon"] == epsilon]
        measured[f"fgsm {epsilon:g}"] = (own, f"fgsm_{epsilon:g}")
    means = {}
    for name, (own, key) in measured.items():
        mine = statistics.mean(own)
        theirs = statistics.mean(trial[key] for trial in today["trials"])
        assert abs(theirs - mine) <= METRIC_MARGIN[grid.dataset] * mine, (name, theirs, mine)
        means[name] = {"ours": mine, "today": theirs}
    return means


NAMES = {"today": "Ray Tune", "alone": "ours, each alone", "shared": "ours, shared"}

ITEMS = {
    "import_s": "start: Python and imports",
    "ray_s": "start: plan and Ray",
    "worker_s": "start: workers' imports",
    "train_s": "training, arithmetic",
    "evaluate_s": "evaluation, arithmetic",
    "loop_s": "in stages: the loop around the steps",
    "else_s": "in stages: first use of data, networks, snapshots, memory",
    "answer_s": "between stages: answer to the driver",
    "driver_s": "between stages: driver (records, choice of teacher, nothing ready)",
    "call_s": "between stages: next stage to the worker",
    "idle_first_s": "a worker not started yet",
    "idle_last_s": "a worker with nothing left to do",
    "close_s": "end: last stage to end of command",
}


def markdown(results: dict[str, Any]) -> list[str]:
    """The tables of `results.md`."""
    lines = ["The same grid three ways.", ""]
    for name, found in results.items():
        lines += [f"### {name}", "", *(_section(found) if "grid" in found else [_skipped(found)])]
        lines.append("")
    return lines


def _skipped(found: dict[str, Any]) -> str:
    return f"Skipped: {found['skipped']}."


def _section(found: dict[str, Any]) -> list[str]:
    grid, slots = found["grid"], found["slots"]
    lengths = grid["epochs"]
    rows = [
        *(
            (f"whole, {epochs} epochs", whole, ratios, 1.0, "s")
            for epochs, whole, ratios in zip(
                lengths, found["whole_s"], found["ratios"]["whole"], strict=True
            )
        ),
        ("each epoch of a trial", found["slope_s_per_naive_epoch"], found["ratios"]["slope"],
         1000.0, "ms"),
        ("fixed", found["fixed_s"], {}, 1.0, "s"),
    ]  # fmt: skip
    limit = found["limit"]
    size = f"{grid['train_size']:,} training rows, " if grid["train_size"] else ""
    size += f"{grid['test_size']:,} test rows, " if grid["test_size"] else ""
    naive, planned = (
        " and ".join(str(e[key]) for e in found["epochs"]) for key in found["epochs"][0]
    )
    ratio_names = [f"{NAMES[slow]} / {fast}" for slow, fast in RATIOS]
    what = (
        f"{size}{grid['switch_points']} switch epochs and the baseline, {lengths[0]} and "
        f"{lengths[1]} epochs each: {naive} epochs of students and baseline, {planned} different "
        f"ones, on {slots} workers. Median of {found['repeats']} interleaved repeats (range); "
        "ratios within a repeat."
    )
    above = (
        f"Arithmetic limit of the shared plan (bare steps and evaluations, {slots} processes at a "
        f"time): {_both(limit['limit_s'], 's')}. Ours by the slope: "
        f"{_shown(limit['slope_over_limit'])} times it; from the first stage to the last: "
        f"{_both(limit['window_over_limit'])}; whole: {_both(limit['whole_over_limit'])}. Where "
        "the seconds went (medians; those of workers divided by their number):"
    )
    return [
        what,
        "",
        f"| | {' | '.join([*NAMES.values(), *ratio_names])} |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {label} | "
            + " | ".join(
                [_shown(seconds[v], scale, unit) for v in VARIANTS]
                + [_shown(ratios[f"{a}/{b}"]) if ratios else "" for a, b in RATIOS]
            )
            + " |"
            for label, seconds, ratios, scale, unit in rows
        ),
        "",
        above,
        "",
        f"| ours, shared | {lengths[0]} epochs | {lengths[1]} epochs |",
        "|---|---|---|",
        *(
            f"| {label} | "
            + " | ".join(f"{seconds[key]['median']:.2f} s" for seconds in found["seconds"]["shared"])
            + " |"
            for key, label in ITEMS.items()
        ),
    ]  # fmt: skip


def _both(found: Sequence[dict[str, float]], unit: str = "") -> str:
    return " and ".join(_shown(each, unit=unit) for each in found)


def _shown(found: dict[str, float], scale: float = 1.0, unit: str = "") -> str:
    median, least, most = (scale * found[key] for key in ("median", "least", "most"))
    digits = 1 if unit else 2
    return f"{median:.{digits}f} {unit}".strip() + f" ({least:.{digits}f}-{most:.{digits}f})"


def main() -> None:
    """Measures and prints JSON; a grid whose data is not there says so instead."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny grid, once")
    parser.add_argument("--repeats", type=int, help="instead of 3")
    parser.add_argument("--epochs", type=int, nargs=2, help="instead of each grid's lengths")
    parser.add_argument("--only", help="the grid on this dataset alone")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for name, lengths in (QUICK if options.quick else GRIDS).items():
        if options.only and lengths[0].dataset != options.only:
            continue
        if options.epochs:
            lengths = tuple(
                replace(g, epochs=e) for g, e in zip(lengths, options.epochs, strict=True)
            )
        why_not = absent([lengths[0].dataset])
        if why_not:
            results[name] = {"skipped": why_not}
            continue
        data.fetch(lengths[0].dataset)  # or each worker would prepare it from its source
        repeats = options.repeats or (1 if options.quick else REPEATS)
        results[name] = measure(lengths, repeats)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
