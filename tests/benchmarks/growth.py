"""How planning, resuming, asking and reporting grow with the number of trials.

A grid of two datasets (digits, California Housing), three teachers, alphas, switch epochs 1 to 15,
learning rates and seeds, of about 1,000, 10,000 and 100,000 trials. Its records are made up, with
curves of 15 points, robustness at three strengths and, for digits, figures per class; they are
published through the store in batches of 500, as a run does, and folded. Every measurement is a
process of its own: a whole command, or (`demand`, `query`, `asked_again`, `held`) one call after the
imports; those of a query are the work of a process that it starts.
Beside them stands the thesis, 6,255 trials of three datasets, with curves as long as its own (105,
135 and 1,500 points): what its report and its table of cells take.
Reported: medians of several runs (elapsed, and processor time, which a busy machine disturbs less),
peak memory, and the exponent with which processor time grows from the middle to the largest size (1
is linear).

    python -m tests.benchmarks.growth [--sizes 1000 10000 100000] [--repeats 3]

`--sizes` without a number measures the thesis alone.
"""

import argparse
import json
import math
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tests.benchmarks.__main__ import command

if TYPE_CHECKING:
    from sweep.study import Study

AXES = {1_000: (10, 1, 1), 10_000: (15, 7, 1), 100_000: (15, 15, 5)}
"""Seeds, alphas and learning rates of a size: 980, 9,570 and 101,490 trials."""

AGGREGATE = (
    "SELECT dataset, teacher, alpha, switch_epoch, learning_rate, n, mean, deviation, ci_low, "
    "ci_high, difference, difference_ci_low, difference_ci_high FROM cells "
    "WHERE role = 'student' ORDER BY mean DESC LIMIT 20"
)
"""All that `cells` says of every configuration, the best ones shown."""

THESIS_POINTS = {"cifar10": 105, "fashion_mnist": 135, "california_housing": 1500}
"""Points of a loss curve of the thesis: 7 and 9 an epoch for 15 epochs, and one for each of 1,500."""

BATCH = 500
AT = datetime(2026, 1, 1, tzinfo=UTC)
T = TypeVar("T")


def study_file(size: int) -> str:
    """The study of a size as TOML."""
    seeds, alphas, rates = AXES[size]
    return "\n".join(
        [
            'name = "growth"',
            f"seeds = {list(range(1, seeds + 1))}",
            "[grid]",
            'teacher = ["small", "medium", "large"]',
            f"alpha = {[position / 20 for position in range(1, alphas + 1)]}",
            "switch_epoch = { start = 1, stop = 15 }",
            f"learning_rate = {[0.001 * 2**position for position in range(rates)]}",
            "[recipe]",
            "epochs = 15",
            "batch_size = 64",
            "[teacher]",
            'select_on = "test"',
            "[evaluation]",
            "fgsm_epsilons = [0.005, 0.01, 0.05]",
            "[datasets.digits]",
            "[datasets.california_housing]",
        ]
    )


def fill(folder: Path, left_out: int = 0) -> None:
    """Publishes a record and an attempt of every trial but the last, and teachers' weights."""
    from sweep.study import load_study

    _publish(folder, load_study(folder / "growth.toml"), {}, left_out)


def arrivals(
    folder: Path, batch: int
) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Records and attempts of trials that `fill` left out, so many at a time."""
    from sweep.cells import demand
    from sweep.store import Store
    from sweep.study import load_study

    study = load_study(folder / "growth.toml")
    missing = list(demand(study, Store(folder / "full")).todo.values())
    steps = {dataset: _steps(dataset, None) for dataset in study.datasets}
    return _records(missing, steps, batch, seed=2)


def fill_thesis(folder: Path) -> None:
    """The same for the thesis."""
    from sweep.study import load_study

    _publish(folder, load_study("thesis"), THESIS_POINTS)


def _publish(folder: Path, study: "Study", points: Mapping[str, int], left_out: int = 0) -> None:
    from sweep.cells import demand
    from sweep.records import cell_row
    from sweep.store import Store

    store = Store(folder / "full")
    wanted = demand(study, store)
    steps = {dataset: _steps(dataset, points.get(dataset)) for dataset in study.datasets}
    with store.writing():
        store.write_cells(study.name, [cell_row(c) for c in wanted.everything], study.to_json())
        todo = list(wanted.todo.values())
        for rows, attempts in _records(todo[: len(todo) - left_out], steps):
            store.trials.publish(rows)
            store.attempts.publish(attempts)
        for trial_id in wanted.teacher_ids:
            path = store.layout.weights(trial_id)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"weights")


def _steps(dataset: str, points: int | None) -> tuple[tuple[int, ...], int]:
    """Steps of a loss curve and steps of an epoch: of the thesis, or a point for each of 15 epochs."""
    from analysis.reference import published_steps

    (steps,), (per_epoch,) = published_steps([dataset], [points])
    if steps is None or per_epoch is None:
        return tuple(range(23, 23 * 16, 23)), 23
    return tuple(steps.tolist()), per_epoch


def _records(
    cells: Sequence[Any],
    steps: Mapping[str, tuple[tuple[int, ...], int]],
    batch: int = BATCH,
    seed: int = 1,
) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    from sweep.records import Attempt, trial_row

    draw = random.Random(seed)
    for start in range(0, len(cells), batch):
        part = cells[start : start + batch]
        at = AT + timedelta(seconds=start)
        yield (
            [trial_row(cell, _result(cell, draw, at, *steps[cell.dataset])) for cell in part],
            [
                Attempt(
                    f"a{seed}-{start + position:08}", cell.trial_id, cell.trial_id, "done", None, None,
                    None, "node", "worker", at, at + timedelta(seconds=1), 1.0,
                ).row()
                for position, cell in enumerate(part)
            ],
        )  # fmt: skip


def _result(
    cell: Any, draw: random.Random, at: datetime, steps: tuple[int, ...], steps_per_epoch: int
) -> Any:
    from trials.task import TrialResult

    classes = cell.dataset != "california_housing"
    metric = draw.gauss(90.0, 2.0) if classes else draw.gauss(0.2, 0.01)
    return TrialResult(
        status="done", metric_name="accuracy" if classes else "mse", test_metric=metric,
        test_loss=draw.random(), validation_metric=None, validation_loss=None,
        mae=None if classes else draw.random(), r2=None if classes else draw.random(),
        train_loss=tuple(1 / point + 0.1 * draw.random() for point in range(1, len(steps) + 1)),
        train_loss_step=steps, steps_per_epoch=steps_per_epoch, curve=(),
        robustness=tuple(
            {"attack": "fgsm", "epsilon": epsilon, "value": metric * (1 - epsilon)}
            for epsilon in (0.005, 0.01, 0.05)
        ),
        zero_gradients_percent=0.0,
        per_class=tuple(
            {"label": label, "precision": draw.random(), "recall": draw.random(),
             "f1": draw.random(), "support": 36} for label in range(10)
        ) if classes else None,
        confusion=tuple(
            tuple(draw.randrange(36) if row == column else draw.randrange(2) for column in range(10))
            for row in range(10)
        ) if classes else None,
        epochs_run=15, diverged_epoch=None, stopped_epoch=None, best_epoch=None,
        teacher_trial_ids=(), wall_s=1.0,
        train_s=0.9, evaluate_s=0.1, stage_s=0.5, device_s=0.5, peak_memory_bytes=10**8,
        device_name="cpu", numerics_class="made up", data_fingerprint="made up", finished_at=at,
    )  # fmt: skip


def call_demand(folder: Path) -> dict[str, float]:
    """What is left to do of a study that is done."""
    from sweep.cells import demand
    from sweep.store import Store
    from sweep.study import load_study

    found, spent = timed(lambda: demand(load_study(folder / "growth.toml"), Store(folder / "full")))
    assert not found.todo
    return spent


def call_query(folder: Path) -> dict[str, float]:
    """The aggregate, asked once."""
    from sweep.query import query

    answer, spent = timed(lambda: query(folder / "full", AGGREGATE))
    assert answer.num_rows == 20
    return spent


def call_asked_again(folder: Path) -> dict[str, float]:
    """The aggregate, asked again by a process that asks repeatedly: the mean of ten."""

    def asked(times: int) -> tuple[float, float]:
        """Seconds of all questions but the first, and processor seconds of everything."""
        from sweep.query import Asking

        before = _cpu_s()
        with Asking(folder / "full") as asking:
            asking.query(AGGREGATE)
            began = time.perf_counter()
            for _ in range(times - 1):
                assert asking.query(AGGREGATE).num_rows == 20
            seconds = time.perf_counter() - began
        return seconds, _cpu_s() - before

    asked(1)  # the imports
    (_, once), (seconds, often) = asked(1), asked(11)
    return {"seconds": seconds / 10, "cpu_s": max(0.001, (often - once) / 10)}


def call_cell_table(folder: Path) -> dict[str, float]:
    """What the seeds say about every configuration, of cells that have been read."""
    import analysis
    from sweep.reporting import BY_CLASS
    from sweep.results import Results

    (study,) = (path.stem for path in (folder / "full" / "studies").glob("*.parquet"))
    cells = Results(folder / "full").cells(study, without=BY_CLASS)
    analysis.summarise(cells.head(100))  # the imports
    table, spent = timed(lambda: analysis.summarise(cells))
    assert table["n"].sum() == len(cells)
    return spent


def call_held(folder: Path) -> dict[str, float]:
    """What a run of everything keeps in memory: cells and plan."""
    from sweep.cells import Demand, demand
    from sweep.plan import Plan, plan
    from sweep.store import Store
    from sweep.study import load_study

    study = load_study(folder / "growth.toml")
    store = Store(folder / "empty")
    before = _resident_kb()

    def planned() -> tuple[Demand, Plan]:
        wanted = demand(study, store)
        return wanted, plan(cell.spec for cell in wanted.todo.values())

    (wanted, stages), spent = timed(planned)
    assert stages.epochs > 0
    trials = len(wanted.todo)
    return {
        **spent, "held_kb_per_trial": (_resident_kb() - before) / trials, "trials": trials,
    }  # fmt: skip


def timed(work: Callable[[], T]) -> tuple[T, dict[str, float]]:
    """What a function returns, and the seconds and processor seconds that it took."""
    began, began_cpu = time.perf_counter(), _cpu_s()
    done = work()
    return done, {"seconds": time.perf_counter() - began, "cpu_s": _cpu_s() - began_cpu}


def _cpu_s() -> float:
    """Processor seconds of this process and of those that it started and that ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


CALLS: dict[str, Callable[[Path], dict[str, float]]] = {
    "demand": call_demand,
    "query": call_query,
    "asked_again": call_asked_again,
    "cell_table": call_cell_table,
    "held": call_held,
}


def _resident_kb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024


def called(what: str, folder: Path, repeats: int) -> dict[str, float]:
    """Runs one of `CALLS` in processes of its own."""
    answers = [
        json.loads(
            subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.growth", "--call", what, str(folder)],
                stdout=subprocess.PIPE, text=True, check=True,
            ).stdout
        )
        for _ in range(repeats)
    ]  # fmt: skip
    seconds = [answer["seconds"] for answer in answers]
    return {
        **answers[-1],
        "median_s": statistics.median(seconds),
        "least_s": min(seconds),
        "most_s": max(seconds),
        "cpu_s": statistics.median(answer["cpu_s"] for answer in answers),
        "peak_mb": max(answer["peak_mb"] for answer in answers),
    }


def measure(size: int, repeats: int) -> dict[str, dict[str, float]]:
    """All measurements of one size."""
    sweep = str(Path(sys.executable).parent / "sweep")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = folder / "growth.toml"
        study.write_text(study_file(size))
        called("fill", folder, 1)
        full = ("--results", str(folder / "full"))
        empty = ("--results", str(folder / "empty"))
        report = ("--output", str(folder / "report.html"))
        return {
            "sweep plan, nothing done": command(
                sweep, "plan", str(study), *empty, "--json", repeats=repeats
            ),
            "sweep plan, all done": command(
                sweep, "plan", str(study), *full, "--json", repeats=repeats
            ),
            "resume check (`demand`)": called("demand", folder, repeats),
            "sweep run, nothing to do": command(
                sweep, "run", str(study), *full, "--json", repeats=repeats
            ),
            "sweep status": command(sweep, "status", *full, "--json", repeats=repeats),
            "aggregate (`query`), asked once": called("query", folder, repeats),
            "aggregate, asked again (`Asking`)": called("asked_again", folder, repeats),
            "sweep query, aggregate": command(
                sweep, "query", AGGREGATE, *full, "--json", repeats=repeats
            ),
            "cell table (`summarise`)": called("cell_table", folder, repeats),
            "sweep report": command(sweep, "report", "growth", *full, *report, repeats=repeats),
            "cells and plan in memory": called("held", folder, repeats),
        }


def measure_thesis(repeats: int) -> dict[str, dict[str, float]]:
    """The report and the table of cells of the thesis."""
    sweep = str(Path(sys.executable).parent / "sweep")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        called("fill_thesis", folder, 1)
        full = ("--results", str(folder / "full"))
        report = ("--output", str(folder / "report.html"))
        return {
            "cell table (`summarise`)": called("cell_table", folder, repeats),
            "sweep report": command(sweep, "report", "thesis", *full, *report, repeats=repeats),
        }


def exponents(found: dict[int, dict[str, dict[str, float]]]) -> dict[str, float]:
    """How work grows from the second largest size to the largest: `cpu_s ~ trials ** exponent`."""
    if len(found) < 2:
        return {}
    small, large = sorted(found)[-2:]
    trials = [found[size]["cells and plan in memory"]["trials"] for size in (small, large)]
    return {
        what: math.log(found[large][what]["cpu_s"] / found[small][what]["cpu_s"])
        / math.log(trials[1] / trials[0])
        for what in found[large]
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=sorted(AXES), choices=sorted(AXES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--call", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        what, where = options.call
        filling = {"fill": fill, "fill_thesis": fill_thesis}.get(what)
        if filling is None:
            answer = CALLS[what](Path(where))
        else:
            filling(Path(where))
            answer = {"seconds": 0.0, "cpu_s": 0.0}
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        peak = max(resource.getrusage(who).ru_maxrss for who in whose) / 1024
        print(json.dumps({**answer, "peak_mb": peak}))
    else:
        measured = {size: measure(size, options.repeats) for size in options.sizes}
        thesis = measure_thesis(options.repeats)
        found = {"sizes": measured, "exponents": exponents(measured), "thesis": thesis}
        print(json.dumps(found, indent=2))
