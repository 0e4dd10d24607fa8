"""Runs of random schedules, in random order on several slots, with losses, pauses, failures.

A trial is a word: its seed, then the objective of every epoch. Training is spelling: a snapshot is
the word so far, and the losses of a trial spell its training, so that a record shows what was
really trained for it, and the epochs that were trained can be counted one by one.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sweep.cells import demand
from sweep.execution.base import Finished, WorkerSetup
from sweep.expand import Cell, Expansion, Role, cells
from sweep.interrupts import Interrupt
from sweep.run import run
from sweep.store import Store
from sweep.summary import RunSummary
from tests.sweep.executors import AnyOrder, Losses
from tests.sweep.tiny import prepared, result, science, tiny_study, weights
from trials.spec import HARD, Guide, Objective, Segment, TeacherRule, TrialSpec, cut
from trials.task import LoadTask, StageOutcome, StageTask, TeacherOutputs, TeachTask

STUDY = tiny_study()
TEACHER_EPOCHS = 2 * 3
TEACHERS = [cell for cell in cells(STUDY) if cell.role is Role.TEACHER]
STUDENT = next(cell for cell in cells(STUDY) if cell.role is Role.STUDENT and cell.spec.rules)
BASELINE = next(cell for cell in cells(STUDY) if cell.role is Role.BASELINE)
FIRST, SECOND = (cell.trial_id for cell in TEACHERS)
BOTH, ONE = TeacherRule((FIRST, SECOND), "validation"), TeacherRule((FIRST,), "test")
OBJECTIVES = {
    "h": HARD,
    "a": Objective(0.1, 0.9, guides=(Guide(BOTH),)),
    "b": Objective(0.6, 0.4, guides=(Guide(BOTH),)),
    "c": Objective(0.6, 0.4, guides=(Guide(ONE),)),
}
LETTERS = {objective.key: letter for letter, objective in OBJECTIVES.items()}
GUIDED_BY = {"h": None, "a": SECOND, "b": SECOND, "c": FIRST}
"""The teacher of the second seed is the better one, see `Spelling`."""

WORDS = st.lists(
    st.builds("{}{}".format, st.integers(1, 2), st.text("habc", min_size=1, max_size=6)),
    min_size=1, max_size=12, unique=True,
)  # fmt: skip
TREE = ["1aaah", "1aah", "1aahb", "1ahhh", "1aaaa", "1a", "1h", "1hhc", "2aah", "2aaa"]


def cell_of(word: str) -> Cell:
    spec = replace(
        STUDENT.spec,
        seed=int(word[0]),
        schedule=tuple(Segment(1, OBJECTIVES[letter]) for letter in word[1:]),
    )
    return replace(STUDENT if spec.rules else BASELINE, seed=spec.seed, spec=spec)


def spell(spec: TrialSpec, start: int = 0) -> str:
    parts = cut(spec.schedule, start, spec.epochs)
    return "".join(LETTERS[part.objective.key] * part.epochs for part in parts)


def prefixes(words: Iterable[str]) -> set[str]:
    """Every epoch that has to be trained, as the word it completes."""
    return {word[:end] for word in words for end in range(2, len(word) + 1)}


def until(word: str, last: Collection[str]) -> str:
    """How far a trial gets if training diverges or stops early in these epochs."""
    return min((found for found in last if word.startswith(found)), key=len, default=word)


class Spelling:
    """Stands in for training.

    Attributes:
        trained: how often each epoch of students was trained, by the word it completes.
        ended: how often each of them was brought to its end.
    """

    def __init__(
        self,
        fails: Iterable[str] = (),
        diverges: Iterable[str] = (),
        stops: Iterable[str] = (),
        pauses: Random | None = None,
    ) -> None:
        """Says what goes wrong.

        Args:
            fails: epochs, or networks, whose training fails.
            diverges: epochs in which the loss stops being finite.
            stops: epochs after which a training is stopped early.
            pauses: decides where a stage hands back what it has so far; None for nowhere.
        """
        self.trained: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self._fails, self._diverges, self._stops = set(fails), set(diverges), set(stops)
        self._pauses = pauses
        self._latest: dict[str, list[str]] = {}

    def forget(self, key: str) -> None:
        """Takes back the count of what a stage trained last, since it was lost."""
        self.trained.subtract(self._latest.get(key, ()))

    def __call__(
        self,
        task: StageTask | LoadTask | TeachTask,
        start: bytes | None,
        teachers: Sequence[TeacherOutputs],
        workshop: object,
    ) -> Any:
        if not isinstance(task, StageTask):
            return prepared(task)
        assert {outputs.trial_id for outputs in teachers} == set(task.teachers.values())
        if task.spec.recipe.model in self._fails:
            raise RuntimeError("a teacher that cannot be trained")
        if task.spec.recipe.model == "small":
            taught = result(validation_metric=float(task.spec.seed), epochs_run=task.spec.epochs)
            return StageOutcome(
                task.key, task.spec.epochs, None, taught, weights=weights("teacher")
            )
        word = str(task.spec.seed) if start is None else start.decode()
        assert len(word) == 1 + task.start_epoch
        latest = self._latest[task.key] = []
        for letter in spell(task.spec, task.start_epoch):
            guides = {chosen for chosen in task.teachers.values() if chosen == GUIDED_BY[letter]}
            assert guides == {GUIDED_BY[letter]} - {None}
            word += letter
            if word in self._fails:
                raise RuntimeError(f"at {word}")
            self.trained[word] += 1
            latest.append(word)
            if word in self._diverges:
                bad = self._result(task, word, status="diverged", diverged_epoch=len(word) - 2)
                return StageOutcome(task.key, len(word) - 1, len(word) - 2, bad)
            if word in self._stops:
                early = self._result(task, word, stopped_epoch=len(word) - 1)
                return StageOutcome(
                    task.key, len(word) - 1, None, early, stopped_epoch=len(word) - 1
                )
            if len(word) <= task.spec.epochs and self._pauses and self._pauses.random() < 0.3:
                return StageOutcome(
                    task.key, len(word) - 1, None, None, paused=True, product=word.encode()
                )
        self.ended[word] += task.ends_trial
        return StageOutcome(
            task.key,
            task.spec.epochs,
            None,
            self._result(task, word) if task.ends_trial else None,
            product=word.encode() if task.hand_over else None,
        )

    def _result(self, task: StageTask, word: str, **changes: Any) -> Any:
        met = task.spec.shortened(len(word) - 1).rules
        return result(
            epochs_run=len(word) - 1,
            train_loss=tuple(float(ord(letter)) for letter in word),
            train_loss_step=tuple(range(len(word))),
            teacher_trial_ids=tuple(dict.fromkeys(task.path_teachers[rule.key] for rule in met)),
            **changes,
        )


def go(
    words: Sequence[str],
    store: Store,
    training: Spelling,
    chance: Random,
    *,
    slots: int = 3,
    ends: Callable[[Finished], Finished] = lambda end: end,
    retry: Callable[[str], bool] = lambda kind: False,
    **options: Any,
) -> RunSummary:
    executor = AnyOrder(WorkerSetup(runner=training), slots, chance, ends)
    asked = [*TEACHERS, *map(cell_of, words)]
    with patch("sweep.cells.expand", lambda *_: Expansion(tuple(asked), ())), store.writing():
        try:
            return run(demand(STUDY, store, retry=retry), store, executor, **options)
        finally:
            executor.stop()


def records(store: Store) -> dict[str, dict[str, Any]]:
    """The record of each student and baseline, by its id."""
    rows = science(store).to_pylist()
    return {row["trial_id"]: row for row in rows if row["model"] != "small"}


def assert_each_has_its_own(
    store: Store,
    words: Iterable[str],
    diverges: Collection[str] = frozenset(),
    stops: Collection[str] = frozenset(),
) -> None:
    """These trials and no others have a record, of what was to be trained for each."""
    found, words = records(store), list(words)
    assert len(found) == len(words)
    for word in words:
        reached = until(word, {*diverges, *stops})
        epochs = len(reached) - 1
        row = found[cell_of(word).trial_id]
        assert "".join(chr(int(code)) for code in row["train_loss"]) == reached
        assert row["epochs_run"] == epochs
        assert row["status"] == ("diverged" if reached in diverges else "done")
        assert row["stopped_epoch"] == (epochs if reached in stops else None)
        guides = dict.fromkeys(GUIDED_BY[letter] for letter in reached[1:] if letter != "h")
        assert row["teacher_trial_ids"] == list(guides), word


@settings(max_examples=20, deadline=None)
@given(WORDS, st.integers(0, 2**32), st.integers(1, 6), st.booleans())
@example(TREE, 0, 3, True)
@example(TREE, 1, 1, False)
def test_every_epoch_is_trained_once_and_every_trial_gets_its_own(
    words: list[str], seed: int, slots: int, pauses: bool
) -> None:
    chance = Random(seed)
    training = Spelling(pauses=chance if pauses else None)
    with TemporaryDirectory() as folder:
        store = Store(folder)
        summary = go(words, store, training, chance, slots=slots)
        assert (summary.done, summary.exit_status) == (len(words) + 2, 0)
        assert training.trained == Counter(prefixes(words))
        assert training.ended == Counter(words)
        assert summary.epochs == len(prefixes(words)) + TEACHER_EPOCHS
        assert summary.epochs_alone == sum(len(word) - 1 for word in words) + TEACHER_EPOCHS
        assert_each_has_its_own(store, words)


@settings(max_examples=20, deadline=None)
@given(
    WORDS, st.integers(0, 2**32), st.integers(1, 6), st.booleans(),
    st.sampled_from(["gone", "ObjectLostError: gone"]),
)  # fmt: skip
@example(TREE, 0, 4, False, "ObjectLostError: gone")
def test_lost_workers_cost_time_alone(
    words: list[str], seed: int, slots: int, pauses: bool, message: str
) -> None:
    chance = Random(seed)
    losses = Losses(chance, 0.3, message)
    training = Spelling(pauses=chance if pauses else None)

    def ends(end: Finished) -> Finished:
        told = losses(end)
        if told is not end:
            training.forget(end.task_id)
        return told

    with TemporaryDirectory() as folder:
        store = Store(folder)
        summary = go(words, store, training, chance, slots=slots, ends=ends)
        assert (summary.done, summary.exit_status) == (len(words) + 2, 0)
        assert_each_has_its_own(store, words)
    if message == "gone":  # what was not lost is not trained again
        assert +training.trained == Counter(prefixes(words))


@settings(max_examples=12, deadline=None)
@given(WORDS, st.data(), st.booleans())
def test_a_failure_fails_the_trials_that_contain_it_and_no_others(
    words: list[str], draw: st.DataObject, share: bool
) -> None:
    broken = draw.draw(st.sets(st.sampled_from(sorted(prefixes(words))), max_size=3))
    chance = Random(0)
    fail = {word for word in words if broken & prefixes([word])}
    with TemporaryDirectory() as folder:
        store = Store(folder)
        summary = go(words, store, Spelling(fails=broken), chance, share=share)
        assert (summary.failed, summary.blocked) == (len(fail), 0)
        assert summary.done == 2 + len(words) - len(fail)
        assert_each_has_its_own(store, set(words) - fail)
        attempts, _ = store.attempts.read(["trial_id", "status", "kind"])
        failed = [row["trial_id"] for row in attempts.to_pylist() if row["status"] == "failed"]
        assert sorted(failed) == sorted(cell_of(word).trial_id for word in fail)
        # Tried again without the mistake, the rest is trained, and nothing that is there already.
        again = Spelling()
        retried = go(words, store, again, chance, share=share, retry=lambda kind: kind == "bug")
        assert (retried.done, retried.exit_status) == (len(fail), 0)
        assert again.ended == Counter(fail)
        assert_each_has_its_own(store, words)


@settings(max_examples=12, deadline=None)
@given(WORDS, st.data(), st.integers(0, 2**32))
def test_forks_of_a_trunk_that_ends_early_end_as_they_would_have_alone(
    words: list[str], draw: st.DataObject, seed: int
) -> None:
    some = st.sets(st.sampled_from(sorted(prefixes(words))), max_size=3)
    diverges = draw.draw(some)
    stops = draw.draw(some) - diverges
    reached = [until(word, diverges | stops) for word in words]
    bad = sum(word in diverges for word in reached)
    tables = []
    for share in (True, False):
        with TemporaryDirectory() as folder:
            store = Store(folder)
            training = Spelling(diverges=diverges, stops=stops)
            summary = go(words, store, training, Random(seed), share=share)
            assert (summary.diverged, summary.done) == (bad, len(words) + 2 - bad)
            assert_each_has_its_own(store, words, diverges, stops)
            if share:
                assert training.trained == Counter(prefixes(reached))
                assert summary.epochs == len(prefixes(reached)) + TEACHER_EPOCHS
            tables.append(science(store))
    assert tables[0].equals(tables[1])


def interrupted_by(word: str, words: Sequence[str], store: Store) -> None:
    """A run that is interrupted when a trial has ended, all of whose states are durable."""
    interrupt = Interrupt()

    def ends(end: Finished) -> Finished:
        if end.task_id == cell_of(word).trial_id:
            interrupt.ask()
        return end

    go(words, store, Spelling(), Random(0), slots=1, ends=ends, interrupt=interrupt,
       durable_every_s=0.0)  # fmt: skip
    assert set(records(store)) == {cell_of(word).trial_id}
    for teacher in (FIRST, SECOND):
        store.layout.weights(teacher).unlink()


def test_a_fork_of_a_kept_state_waits_for_the_teacher_that_is_trained_again(tmp_path: Path) -> None:
    # What is left of 1aahh is not guided, but its record names the teacher of its trunk.
    words, store = ["1aah", "1aahh"], Store(tmp_path)
    interrupted_by("1aah", words, store)
    training = Spelling()
    summary = go(words, store, training, Random(0), slots=4)
    assert (summary.done, summary.exit_status) == (3, 0)
    assert training.trained == Counter(["1aahh"])
    assert_each_has_its_own(store, words)


def test_a_fork_of_a_kept_state_is_blocked_where_that_teacher_fails(tmp_path: Path) -> None:
    words, store = ["1aah", "1aahh"], Store(tmp_path)
    interrupted_by("1aah", words, store)
    summary = go(words, store, Spelling(fails=["small"]), Random(0), slots=4)
    assert (summary.failed, summary.blocked, summary.done) == (2, 1, 0)
    assert_each_has_its_own(store, ["1aah"])


@settings(max_examples=8, deadline=None)
@given(WORDS, st.integers(0, 2**32), st.integers(1, 4), st.booleans())
@example(TREE, 5, 2, True)
def test_an_interrupted_run_goes_on_from_what_is_durable(
    words: list[str], seed: int, slots: int, pauses: bool
) -> None:
    chance = Random(seed)
    training = Spelling(pauses=chance if pauses else None)
    interrupt = Interrupt()

    def ends(end: Finished) -> Finished:
        if chance.random() < 0.1:
            interrupt.ask()
        return end

    with TemporaryDirectory() as folder:
        store = Store(folder)
        while True:
            summary = go(
                words, store, training, chance, slots=slots, ends=ends, interrupt=interrupt,
                durable_every_s=0.0,
            )  # fmt: skip
            if not summary.interrupted:
                break
            interrupt = Interrupt()
        assert summary.exit_status == 0
        assert training.trained == Counter(prefixes(words)), "no epoch is trained twice"
        assert training.ended == Counter(words)
        assert store.checkpoints() == {}, "nothing needs them any more"
        assert_each_has_its_own(store, words)
