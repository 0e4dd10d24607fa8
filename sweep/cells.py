"""What a run wants: the cells that were asked for, and what the store holds of them."""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from sweep.begun import begun_of
from sweep.errors import StudyError
from sweep.expand import Cell, Expansion, expand
from sweep.failures import last_failures
from sweep.filters import Condition, check, matches
from sweep.findings import known_to
from sweep.needs import pools, supporting
from sweep.records import TRIALS, tuples
from sweep.searching import Course
from sweep.selection import SELECTION_COLUMNS, Candidate
from sweep.shard import Shard, Share, share_of
from sweep.store import Store
from sweep.study import Study
from trials.spec import TrialSpec
from trials.task import Measures


@dataclass(frozen=True)
class Wanted:
    """What is to be measured and kept of a trial."""

    measures: Measures
    keep_weights: bool
    keep_snapshot: bool


@dataclass(frozen=True)
class Demand:
    """The trials a run has to do, and what it needs to know of the others.

    Attributes:
        study: what was asked.
        everything: all its cells.
        chosen: the requested cells, teachers that they need included.
        todo: for each trial to train, the cell whose words its record takes.
        done: how many requested trials the store holds.
        failed_before: how many failed earlier and are left alone.
        diverged_before: how many of those that the store holds diverged.
        candidates: of the trials that some rule may choose, those that are trained.
        by_id: a requested cell for every trial.
        teacher_ids: trials that some rule may choose.
        kept: earlier states that trials to do go on from, by their key, whose snapshots are kept.
        continuing: how many trials to do go on from them.
        superseded: checkpoints that lead to those states or to trials that have ended, or are
            damaged: nothing goes on from them.
        damaged: trials whose kept snapshot would be gone on from, but is not what was written.
        waiting: what will be asked for once some of these are done, in words.
        courses: the search of `[tune]` by dataset, where it has begun.
        shard: which part of what was asked this is; None for all of it.
        repeated: requested trials that other shards need, and train, as well.
    """

    study: Study
    everything: tuple[Cell, ...]
    chosen: tuple[Cell, ...]
    todo: Mapping[str, Cell]
    done: int
    failed_before: int
    diverged_before: int
    candidates: Mapping[str, Candidate]
    by_id: Mapping[str, Cell]
    teacher_ids: frozenset[str]
    kept: Mapping[str, TrialSpec]
    continuing: int
    superseded: frozenset[str]
    damaged: frozenset[str] = frozenset()
    waiting: tuple[str, ...] = ()
    shard: Shard | None = None
    repeated: frozenset[str] = frozenset()
    courses: Mapping[str, Course] = field(default_factory=dict)

    @functools.cached_property
    def resumed(self) -> frozenset[str]:
        """Trials from whose snapshots later ones of a search go on."""
        return frozenset[str]().union(*(one.resumed for one in self.courses.values()))

    @property
    def teaching(self) -> frozenset[str]:
        """Trained trials that a trial to do may learn from, whose weights it then needs."""
        return pools(self.todo.values()) & frozenset(self.candidates)

    @property
    def not_done_before(self) -> int:
        """How many have no result but are left alone."""
        return self.failed_before + self.diverged_before

    def cell(self, trial_id: str) -> Cell:
        """A requested cell of a trial."""
        return self.by_id[trial_id]

    def measures(self, trial_id: str) -> Wanted:
        """What to measure and keep of a trial; teachers' weights are always kept."""
        dataset = self.by_id[trial_id].dataset
        section = self.study.datasets[dataset].evaluation
        return Wanted(
            self._measures[dataset],
            section.keep != "none" or trial_id in self.teacher_ids,
            section.keep == "snapshot" or trial_id in self.resumed,
        )

    @functools.cached_property
    def _measures(self) -> Mapping[str, Measures]:
        """What is measured of trials of a dataset."""
        return {
            name: Measures(
                one.evaluation.attacks, one.evaluation.every_epochs, one.evaluation.validation
            )
            for name, one in self.study.datasets.items()
        }


def choose(
    all_cells: Iterable[Cell], only: Iterable[Condition] = (), seeds: int | None = None
) -> tuple[Cell, ...]:
    """The cells that a filter and a number of seeds select.

    Both choose students and baselines. The teachers are all those from which the chosen students'
    are selected: a pool is never shrunk.

    Args:
        all_cells: of a study.
        only: conditions that all must hold; one on a column that a cell leaves empty holds.
        seeds: the first so many seeds of the study.

    Raises:
        StudyError: where nothing is left.
        FilterError: for a condition that no value in the study satisfies.
    """
    all_cells, only = list(all_cells), list(only)
    learners = [c for c in matching(all_cells, only, seeds) if not c.role.supports]
    everything = not only and seeds is None
    by_role = any(condition.key == "role" for condition in only)
    asked_for = [
        cell
        for cell in all_cells
        if cell.role.supports and (everything or (by_role and matches(cell, only)))
    ]
    needed = supporting([*learners, *asked_for], all_cells) | {c.trial_id for c in asked_for}
    teachers = [cell for cell in all_cells if cell.role.supports and cell.trial_id in needed]
    if not learners and not teachers:
        raise StudyError("nothing is left to run: no cell matches --only and --seeds")
    return tuple(teachers + learners)


def matching(
    all_cells: Iterable[Cell], only: Iterable[Condition] = (), seeds: int | None = None
) -> list[Cell]:
    """The cells of any role that a filter and a number of seeds match.

    Args:
        all_cells: of a study.
        only: conditions that all must hold; one on a column that a cell leaves empty holds.
        seeds: the first so many seeds of the study's students and baselines.

    Raises:
        StudyError: where the number of seeds is not positive.
        FilterError: for a condition that no value in the study satisfies.
    """
    all_cells, only = list(all_cells), list(only)
    check(all_cells, only)
    if seeds is not None and seeds < 1:
        raise StudyError(f"--seeds {seeds}: must be 1 or more")
    order = dict.fromkeys(c.seed for c in all_cells if not c.role.supports)
    kept = set(order if seeds is None else list(order)[:seeds])
    return [
        cell for cell in all_cells if (seeds is None or cell.seed in kept) and matches(cell, only)
    ]


def demand(
    study: Study,
    store: Store | None,
    only: Iterable[Condition] = (),
    seeds: int | None = None,
    retry: Callable[[str], bool] = lambda _: False,
    shard: Shard | None = None,
    *,
    searched_alone: bool = False,
) -> Demand:
    """Study minus store.

    Args:
        study: what is asked.
        store: what is there; None for nothing.
        only: see `choose`.
        seeds: see `choose`.
        retry: for a trial that failed earlier, whether to try it again, by the kind of failure.
        shard: which part of what is chosen; None for all of it.
        searched_alone: whether only the cells of the search of `[tune]` are chosen, and what they need.
    """
    known = {} if store is None else known_to(study, store)
    begun = begun_of(study, store)
    expansion = expand(study, known, seeds, begun)
    everything = expansion.cells
    if searched_alone:
        share = Share(_searched(expansion))
    else:
        all_chosen = choose(everything, only, seeds)
        share = _share(study, all_chosen, seeds, shard, begun is not None)
    chosen = share.cells
    by_id: dict[str, Cell] = {}
    for cell in chosen:
        by_id.setdefault(cell.trial_id, cell)
    teacher_ids = pools(chosen) | {c.trial_id for c in chosen if c.role.supports}
    records = (
        TRIALS.empty_table().select(SELECTION_COLUMNS)
        if store is None
        else store.trials.read(SELECTION_COLUMNS)[0]
    )
    kept_weights = {} if store is None else store.kept_weights()
    finished = {
        trial_id: status
        for trial_id, status in tuples(records.select(["trial_id", "status"]))
        if trial_id in by_id
        and (trial_id not in teacher_ids or status == "diverged" or trial_id in kept_weights)
    }
    diverged = {trial_id for trial_id, status in finished.items() if status == "diverged"}
    again = diverged if retry("diverged") else set()
    failed = {
        trial_id: kind
        for trial_id, kind in ({} if store is None else last_failures(store)).items()
        if trial_id in by_id and trial_id not in finished
    }
    left_alone = {trial_id for trial_id, kind in failed.items() if not retry(kind)}
    todo = {
        trial_id: cell
        for trial_id, cell in by_id.items()
        if (trial_id not in finished or trial_id in again) and trial_id not in left_alone
    }
    ended = [cell.spec for trial_id, cell in by_id.items() if trial_id not in todo]
    states = _States() if store is None else _kept_states(store, todo, ended)
    return Demand(
        study=study,
        everything=everything,
        chosen=chosen,
        todo=todo,
        done=len(finished) - len(again),
        failed_before=len(left_alone),
        diverged_before=len(diverged - again),
        candidates={
            trial_id: Candidate.of(dict(zip(SELECTION_COLUMNS, row, strict=True)))
            for trial_id, row in zip(records["trial_id"].to_pylist(), tuples(records), strict=True)
            if trial_id in teacher_ids and trial_id in finished and trial_id not in again
        },
        by_id=by_id,
        teacher_ids=teacher_ids,
        kept=states.kept,
        continuing=states.continuing,
        superseded=states.superseded,
        damaged=states.damaged,
        waiting=_waiting(expansion) if searched_alone else expansion.waiting,
        courses=expansion.courses,
        shard=shard,
        repeated=share.repeated,
    )


def _searched(expansion: Expansion) -> tuple[Cell, ...]:
    """The cells of a search and of what they need."""
    learners = [cell for course in expansion.courses.values() for cell in course.cells]
    needed = supporting(learners, expansion.cells)
    others = [c for c in expansion.cells if c.role.supports and c.trial_id in needed]
    return (*others, *learners)


def _waiting(expansion: Expansion) -> tuple[str, ...]:
    """What a search waits for, whatever else the study does."""
    return tuple(
        f"{name}: {course.waiting}"
        for name, course in expansion.courses.items()
        if course.waiting is not None
    )


def _share(
    study: Study, chosen: tuple[Cell, ...], seeds: int | None, shard: Shard | None, searched: bool
) -> Share:
    if shard is None:
        return Share(chosen)
    first = None
    if study.then or study.search or searched:  # what is known by now may be more
        first = frozenset(cell.trial_id for cell in expand(study, {}, seeds).cells)
    return share_of(chosen, shard, first)


@dataclass(frozen=True)
class _States:
    """Of a demand, the attributes of these names."""

    kept: Mapping[str, TrialSpec] = field(default_factory=dict)
    continuing: int = 0
    superseded: frozenset[str] = frozenset()
    damaged: frozenset[str] = frozenset()


def _kept_states(store: Store, todo: Mapping[str, Cell], ended: Iterable[TrialSpec]) -> _States:
    """The longest kept state that each trial goes on from, and what is of no use beside it.

    One that is itself to be trained (its record was not written any more) is no such state: nothing
    would come to its end.
    """
    ends, checkpoints = store.kept_snapshots(), store.checkpoints()
    lengths = {epochs for epochs, _ in checkpoints.values()}
    if ends:
        records, _ = store.trials.read(["trial_id", "epochs"])
        lengths |= {epochs for trial_id, epochs in tuples(records) if trial_id in ends}
    found: dict[str, TrialSpec] = {}
    continuing = 0
    passed: set[str] = set()
    damaged: set[str] = set()
    for spec in (cell.spec for cell in todo.values()) if lengths else ():
        longest: str | None = None
        for length in sorted((n for n in lengths if n < spec.epochs), reverse=True):
            short = spec.shortened(length)
            key = short.trial_id
            if key in damaged or not (key in ends or key in checkpoints):
                continue
            if longest is not None or key in todo:
                passed.add(key)
                continue
            if key not in found and store.read_state(key) is None:
                damaged.add(key)
                continue
            found[key] = short
            longest = key
        continuing += longest is not None
    unclear = set(checkpoints) - set(found) - passed - damaged
    for spec in ended:  # killed between the record and their removal
        if not unclear:
            break
        states = {spec.shortened(n).trial_id for n in lengths if n <= spec.epochs}
        passed |= states & unclear
        unclear -= states
    return _States(
        found,
        continuing,
        frozenset(((passed | damaged) & set(checkpoints)) - set(found)),
        frozenset(damaged & set(ends)),
    )
