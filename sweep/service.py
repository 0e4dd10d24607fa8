"""What the command line and notebooks call: run a study, evaluate, compare, export, report."""

import contextlib
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa

import data
import models
from sweep.begun import begun_of
from sweep.cells import Demand, demand, matching
from sweep.errors import StudyError, SweepError
from sweep.events import About, Event, Events, Logged, Telling, Unheard, What, told_if_broken
from sweep.execution.base import Executor, Runner, WorkerSetup
from sweep.expand import expand, smoke_study
from sweep.filters import Condition
from sweep.findings import known_to
from sweep.imported import refuse_to_run
from sweep.interrupts import Interrupt, end_on_signals, stop_on_signals
from sweep.kept_networks import answers
from sweep.policy import Policy
from sweep.progress import Lasting, Progress, Silent
from sweep.records import CELLS, ROBUSTNESS_OF, cell_row, code_version, evaluation_id, tuples
from sweep.results import Results, mixed
from sweep.run import run
from sweep.scratch import Scratch
from sweep.shard import Shard
from sweep.snapshots import DURABLE_EVERY_S
from sweep.store import Store
from sweep.study import Study
from sweep.summary import RunSummary
from sweep.tuning import Tuning
from trials.attack_settings import NO_ATTACKS
from trials.engine import Engine
from trials.spec import TrialSpec
from trials.task import EvaluateOutcome, EvaluateTask

_NOT_IN_SMOKE = ("seed", "switch_epoch", "epochs", "train_size", "lr_schedule", "trial_id")
"""Columns that a short trial has other values in."""


@dataclass(frozen=True)
class Where:
    """Where trials run.

    Attributes:
        local: in this process, one at a time.
        address: of an existing Ray cluster; None starts one on this machine.
        workers: at most this many at a time; None for as many as fit.
        gpus_per_trial: share of a GPU; None takes a quarter where there are GPUs; "auto" measures
            what trials take of one and chooses.
        data_dir: where datasets lie; None is the default place.
        snapshot_bytes: room for snapshots that wait to be gone on from; None takes half of the
            cluster's object store.
        durable_every_s: seconds of training after which a snapshot is put on disk, so that no more
            than that is lost with a node.
        engine: how training steps are executed, see `trials.engine.engine_for`. Part of the
            numerics class of a result.
    """

    local: bool = False
    address: str | None = None
    workers: int | None = None
    gpus_per_trial: float | Literal["auto"] | None = None
    data_dir: Path | None = None
    snapshot_bytes: int | None = None
    durable_every_s: float = DURABLE_EVERY_S
    engine: Engine | None = None

    @property
    def data_folder(self) -> Path:
        """Where datasets lie; absolute, since a cluster's workers were started somewhere else."""
        return (self.data_dir or data.default_data_dir()).absolute()


def run_study(
    study: Study,
    results: Path | str = "results",
    where: Where | None = None,
    *,
    only: Iterable[Condition] = (),
    seeds: int | None = None,
    policy: Policy | None = None,
    share: bool = True,
    retry: Iterable[str] | None = None,
    shard: Shard | None = None,
    progress: Progress | None = None,
    events: Events | None = None,
) -> RunSummary:
    """Trains what is missing of a study.

    Args:
        study: what to train.
        results: the results directory; continued if it exists.
        where: on what.
        only: see `sweep.cells.choose`.
        seeds: the first so many seeds.
        policy: what to do about failures.
        share: False trains every trial alone.
        retry: kinds of earlier failures to try again; empty for every kind, None for none.
        shard: the part of what is chosen that is asked for here. Grids that depend on answers are then
            left to the next run: their answers lie in several places until they are merged.
        progress: shows what happens.
        events: told what happens; None logs it, see `sweep.events`.
    """
    where = where or Where()
    told = About(events or Logged(), study.name)
    progress = Telling(progress or Silent(), told)
    kinds = None if retry is None else frozenset(retry)
    store = Store(results)
    only = list(only)

    tuning = None if study.tune is None else Tuning(study, store)

    def look(again: bool = True, stopped: bool = False) -> Demand:
        def wanted() -> Demand:
            return demand(
                study, store, only, seeds,
                retry=lambda kind: again and kinds is not None and (not kinds or kind in kinds),
                shard=shard,
            )  # fmt: skip

        return wanted() if tuning is None else tuning.seen(wanted, stopped)

    return _carry_out(study, store, look, where, policy, share, shard, progress, told)


def tune_study(
    study: Study,
    results: Path | str = "results",
    where: Where | None = None,
    *,
    policy: Policy | None = None,
    share: bool = True,
    progress: Progress | None = None,
    events: Events | None = None,
) -> RunSummary:
    """Runs the search of a study by its section `[tune]`, or goes on with it.

    Args:
        study: what to search.
        results: the results directory; what it holds of the points is known.
        where: on what.
        policy: what to do about failures.
        share: False trains every trial alone.
        progress: shows what happens.
        events: told what happens; None logs it, see `sweep.events`.

    Raises:
        StudyError: where the study has no such section.
    """
    where = where or Where()
    told = About(events or Logged(), study.name)
    progress = Telling(progress or Silent(), told)
    store = Store(results)
    tuning = Tuning(study, store)
    begun = False

    def look(stopped: bool = False, **_: bool) -> Demand:
        nonlocal begun
        if not begun:
            tuning.begin()
            begun = True
        return tuning.seen(lambda: demand(study, store, searched_alone=True), stopped)

    return _carry_out(study, store, look, where, policy, share, None, progress, told)


def _carry_out(
    study: Study,
    store: Store,
    look: Callable[..., Demand],
    where: Where,
    policy: Policy | None,
    share: bool,
    shard: Shard | None,
    progress: Progress,
    told: About,
) -> RunSummary:
    """Trains what is wanted, and what follows from it.

    Args:
        study: what it is of.
        store: for the results.
        look: finds what is wanted by now; `again` says whether what failed is to be tried again,
            `stopped` whether the run is over before it was at its end.
        where: on what.
        policy: what to do about failures.
        share: whether trials share what they train alike.
        shard: the part that is wanted; None for all, and what follows from it.
        progress: shows what happens.
        told: told what happens.
    """
    refuse_to_run(store, study.name)
    with end_on_signals(), store.writing(), told_if_broken(told, "the run"):
        wanted = _without_damage(look, store, progress)
        told.tell(_begins(wanted, store))
        _say_what_is_there(study, wanted, _write_cells(study, wanted, store), store, progress)
        if not wanted.todo:
            store.remove_checkpoints(wanted.superseded)
            _say_what_waits(wanted, progress)
            told.tell(_ended(nothing := _nothing_to_do(wanted)))
            return nothing
        _fetch_data(wanted, where, progress)
        interrupt = Interrupt()
        shown = Lasting(progress)
        names = tuple(sorted({cell.dataset for cell in wanted.todo.values()}))
        workers_for = executor(where, probe=_kinds(wanted), datasets=names)
        with workers_for as workers, stop_on_signals(interrupt):

            def train() -> RunSummary:
                return run(
                    wanted, store, workers, progress=shown, events=told, interrupt=interrupt,
                    policy=policy, share=share, snapshot_bytes=where.snapshot_bytes,
                    durable_every_s=where.durable_every_s,
                )  # fmt: skip

            summary = train()
            tried = _uses(wanted)
            if shard is not None:
                _say_what_waits(wanted, progress)
            while (
                shard is None
                and (wanted.waiting or wanted.courses)  # what was tried again may change a course
                and not summary.interrupted
                and summary.stopped is None
            ):
                wanted = look(again=False)  # what failed was tried again once
                _write_cells(study, wanted, store)
                # What was blocked or held back in this run is so still, and counts once.
                follows = {trial_id for trial_id, _ in _uses(wanted) - tried}
                if not follows:
                    _say_what_waits(wanted, progress)
                    break
                tried |= _uses(wanted)
                wanted = replace(
                    wanted, todo={key: c for key, c in wanted.todo.items() if key in follows}
                )
                progress.say(f"{len(wanted.todo)} trials follow from what was found")
                _fetch_data(wanted, where, progress)
                summary = summary.then(train())
        if wanted.courses and (summary.interrupted or summary.stopped is not None):
            # The table of the search holds what this round found, too.
            look(again=False, stopped=True)
        progress.close()
        told.tell(_ended(summary))
        return summary


def _begins(wanted: Demand, store: Store) -> Event:
    """A run has the results directory to itself."""
    return Event(What.RUN_STARTED, f"{len(wanted.todo)} trials to train, results in {store}")


def _ended(summary: RunSummary) -> Event:
    """A run is over; its message is read by people, its counts are in `runs/*.parquet`."""
    counts = {key: getattr(summary, key) for key in ("done", "diverged", "failed", "blocked")}
    said = ", ".join(f"{count} {key}" for key, count in counts.items())
    why = "; interrupted" if summary.interrupted else f"; {summary.stopped}" * bool(summary.stopped)
    return Event(What.RUN_ENDED, f"{said}, {summary.left} left{why}", duration_s=summary.elapsed_s)


def _without_damage(look: Callable[[], Demand], store: Store, progress: Progress) -> Demand:
    """What is wanted, once files that are not what was written are set aside and told of."""
    for path in store.set_aside_damaged():
        progress.say(f"{store.on.shown(path)} is damaged: set aside, its trials are run again")
    wanted = look()
    damaged = store.set_aside_damaged_weights(sorted(wanted.teaching))
    for path in map(store.layout.snapshot, sorted(wanted.damaged)):
        store.set_aside(path)
        progress.say(f"{store.on.shown(path)} is damaged: set aside, what it was for is trained")
    for path in damaged:
        progress.say(f"{store.on.shown(path)} is damaged: set aside, its trial is run again")
    return look() if damaged else wanted


def _say_what_is_there(
    study: Study, wanted: Demand, changes: "_Changes", store: Store, progress: Progress
) -> None:
    """What an earlier run left, and how the study has changed since."""
    if changes.dropped:
        progress.say(
            f"{changes.dropped} cells that were asked for earlier are not in the study as it is "
            "now: they are left out of it, their trials are kept"
        )
    if not changes.first:
        progress.say(_what_is_new(wanted, changes))
    if wanted.failed_before:
        part = "" if wanted.shard is None else f" --shard {wanted.shard}"
        progress.say(
            f"{wanted.failed_before} trials failed earlier and are left alone; "
            f"`sweep retry {study.name}{part}` runs them again"
        )
    for line in mixed(Results(str(store)).origins(wanted.by_id)):
        progress.say(line)


def _uses(wanted: Demand) -> set[tuple[str, bool]]:
    """The trials to do, and whether others need their weights: one may be asked for again for these."""
    return {(trial_id, trial_id in wanted.teacher_ids) for trial_id in wanted.todo}


def _say_what_waits(wanted: Demand, progress: Progress) -> None:
    """What is not asked for although nothing is left to train."""
    for line in wanted.waiting:
        progress.say(f"not asked for yet: {line}; earlier trials are not all done and measured")


@dataclass(frozen=True)
class EvaluationSummary:
    """How an evaluation ended.

    Attributes:
        evaluated: trials that were measured.
        complete: trials that had every point already.
        without_weights: trials whose weights were not kept.
        failures: one line each.
    """

    evaluated: int
    complete: int
    without_weights: int
    failures: tuple[str, ...]


def evaluate_study(
    study: Study,
    results: Path | str,
    where: Where | None = None,
    *,
    only: Iterable[Condition] = (),
    seeds: int | None = None,
    progress: Progress | None = None,
    events: Events | None = None,
) -> EvaluationSummary:
    """Measures the trained networks of a study where points are missing. Trains nothing.

    Args:
        study: whose trials to measure, and under what: `evaluation` may be another than it was
            trained with.
        results: where their weights are kept.
        where: on what.
        only: conditions on the cells, teachers' as well; see `sweep.cells.matching`.
        seeds: the first so many seeds.
        progress: shows what happens.
        events: told what happens; None logs it, see `sweep.events`.

    Raises:
        StoreError: where the study was never run there.
        StudyError: where no cell is chosen.
    """
    told = About(events or Logged(), study.name)
    progress = Telling(progress or Silent(), told)
    store = Store(results)
    asked = expand(study, known_to(study, store), seeds, begun_of(study, store)).cells
    specs = {cell.trial_id: cell.spec for cell in matching(asked, only, seeds)}
    if not specs:
        raise StudyError("nothing is left to evaluate: no cell matches --only and --seeds")
    refuse_to_run(store, study.name)
    found = Results(results)
    columns = ["trial_id", "status", *ROBUSTNESS_OF.values()]
    known = {
        row["trial_id"]: {
            split: {(point["attack"], point["epsilon"]) for point in row[column] or ()}
            for split, column in ROBUSTNESS_OF.items()
        }
        for row in found.cell_table(study.name).select(columns).to_pylist()
        if row["status"] == "done"
    }
    kept = store.kept_weights()
    tasks: list[EvaluateTask] = []
    complete = without_weights = 0
    for trial_id, have in known.items():
        if trial_id not in specs:
            continue
        spec = specs[trial_id]
        wanted = study.datasets[spec.data.name].evaluation
        missing = wanted.attacks.without(have["test"])
        validation = wanted.attacks.without(have["validation"]) if wanted.validation else NO_ATTACKS
        if not missing.points and not validation.points:
            complete += 1
        elif trial_id not in kept:
            without_weights += 1
        else:
            model = spec.recipe.model
            tasks.append(EvaluateTask(trial_id, spec.data, model, missing, spec.seed, validation))
    failures: list[str] = []
    began = time.monotonic()
    told.tell(Event(What.RUN_STARTED, f"{len(tasks)} trials to evaluate, results in {store}"))
    with told_if_broken(told, "the evaluation"):
        if tasks:
            where = where or Where()
            names = tuple(sorted({task.data.name for task in tasks}))
            _have_data(names, where, progress)
            with store.writing(), executor(where, datasets=names) as workers:
                for outcome in answers(
                    workers, tasks, store, failures, progress, "evaluated", told
                ):
                    if isinstance(outcome, EvaluateOutcome):
                        store.evaluations.publish(_evaluation_rows(outcome))
    progress.close()
    done = len(tasks) - len(failures)
    ended = f"{done} evaluated, {len(failures)} failed"
    told.tell(Event(What.RUN_ENDED, ended, duration_s=time.monotonic() - began))
    return EvaluationSummary(done, complete, without_weights, tuple(failures))


def _evaluation_rows(outcome: EvaluateOutcome) -> list[dict[str, Any]]:
    measured = {"test": outcome.points, "validation": outcome.validation_points}
    return [
        {
            "evaluation_id": evaluation_id(outcome.trial_id, point, split),
            "trial_id": outcome.trial_id,
            **point,
            "zero_gradients_percent": outcome.zero_gradients_percent if split == "test" else None,
            "split": split,
            "numerics_class": outcome.numerics_class,
            "code_version": code_version(),
            "finished_at": outcome.finished_at,
        }
        for split, points in measured.items()
        for point in points
    ]


def smoke(
    study: Study,
    where: Where | None = None,
    *,
    only: Iterable[Condition] = (),
    progress: Progress | None = None,
) -> RunSummary:
    """Runs one short trial per configuration in a directory that is thrown away.

    Args:
        study: what to try.
        where: on what.
        only: see `sweep.cells.choose`; conditions on what a smoke run shortens are left out.
        progress: told what happens.
    """
    only = [condition for condition in only if condition.key not in _NOT_IN_SMOKE]
    with Scratch() as scratch:
        results = scratch.folder() / "results"
        return run_study(
            smoke_study(study), results, where, only=only, progress=progress, events=Unheard()
        )


@contextlib.contextmanager
def executor(
    where: Where,
    runner: Runner | None = None,
    probe: tuple[TrialSpec, ...] = (),
    datasets: tuple[str, ...] = (),
) -> Iterator[Executor]:
    """Workers as asked for, stopped at the end.

    Args:
        where: on what.
        runner: a stand-in for what workers do.
        probe: a trial of each kind, to be measured where the share of a GPU is "auto".
        datasets: those that are needed.
    """
    auto = where.gpus_per_trial == "auto"
    gpus = None if where.gpus_per_trial == "auto" else where.gpus_per_trial
    setup = WorkerSetup(
        gpus, where.data_folder, _extensions(), where.engine, runner, probe if auto else (),
        datasets=datasets,
    )  # fmt: skip
    workers: Executor
    if where.local:
        from sweep.execution.local import LocalExecutor

        workers = LocalExecutor(setup)
    else:
        from sweep.execution.ray import RayExecutor

        workers = RayExecutor(setup, where.address, where.workers)
    try:
        yield workers
    finally:
        workers.stop()


def _kinds(wanted: Demand) -> tuple[TrialSpec, ...]:
    """A trial for each dataset and recipe."""
    return tuple({(c.spec.data, c.spec.recipe): c.spec for c in wanted.todo.values()}.values())


def _extensions() -> tuple[Any, ...]:
    """Datasets and networks that were registered outside this package."""
    return (*data.registered(), *models.registered())


def _fetch_data(wanted: Demand, where: Where, progress: Progress) -> None:
    """Gets absent datasets before any worker looks for them."""
    _have_data(dict.fromkeys(cell.dataset for cell in wanted.todo.values()), where, progress)


def _have_data(names: Iterable[str], where: Where, progress: Progress) -> None:
    """Gets datasets that are absent."""
    folder = where.data_folder
    present = {status.name for status in data.describe(folder) if status.present}
    for name in names:
        if name in present:
            continue
        progress.say(f"fetching {name} into {folder}")
        try:
            data.fetch(name, folder)
        except data.DataError as error:
            raise SweepError(str(error)) from None


class _Changes(NamedTuple):
    """What a study asks for, against what it asked for when it was run last.

    Attributes:
        first: whether it was never run here.
        dropped: cells that are not in the study any more.
        added: trials that no cell asked for until now.
    """

    first: bool
    dropped: int
    added: frozenset[str]


def _what_is_new(wanted: Demand, changes: _Changes) -> str:
    """One line for who comes back to a study."""
    todo, new = len(wanted.todo), len(changes.added & set(wanted.todo))
    parts = [f"{wanted.done} trials are done, {todo} to train"]
    if new:
        parts.append(f"{new} of them asked for the first time")
    if wanted.continuing:
        parts.append(f"{wanted.continuing} go on from what earlier trainings left")
    return ", ".join(parts)


def _write_cells(study: Study, wanted: Demand, store: Store) -> _Changes:
    """Writes the cells now asked for, and those asked for earlier that the study still has."""
    rows = [cell_row(cell) for cell in wanted.everything]
    words = [_words(row) for row in rows]
    chosen = set(map(id, wanted.chosen))
    keep = {w for w, cell in zip(words, wanted.everything, strict=True) if id(cell) in chosen}
    found = store.read_cells(study.name)
    before = {} if found is None else _asked_before(found[0])
    now = {w: row["trial_id"] for w, row in zip(words, rows, strict=True)}
    still = {w for w, trial_id in before.items() if now.get(w) == trial_id}
    keep |= still
    asked = [row for w, row in zip(words, rows, strict=True) if w in keep]
    store.write_cells(study.name, asked, study.to_json())
    added = frozenset(cell.trial_id for cell in wanted.chosen) - set(before.values())
    return _Changes(found is None, len(before) - len(still), added)


_WORDS = tuple(name for name in CELLS.names if name != "trial_id")
_words: Callable[[Mapping[str, Any]], tuple[Any, ...]] = operator.itemgetter(*_WORDS)


def _asked_before(cells: pa.Table) -> dict[tuple[Any, ...], str]:
    """The trial of every cell, by the cell's words."""
    return dict(zip(tuples(cells.select(_WORDS)), cells["trial_id"].to_pylist(), strict=True))


def _nothing_to_do(wanted: Demand) -> RunSummary:
    return RunSummary(
        total=0, done=0, diverged=0, failed=0, blocked=0,
        already_done=wanted.done - wanted.diverged_before,
        not_done_before=wanted.not_done_before, interrupted=False, epochs=0, epochs_alone=0, elapsed_s=0.0, busy_s=0.0, slots=0, peak_snapshot_bytes=0, failures=(),
    )  # fmt: skip
