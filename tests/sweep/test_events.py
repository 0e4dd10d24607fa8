"""What a run tells: each trial once, failures once per attempt, and only what is on disk."""

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sweep import service
from sweep.cells import demand
from sweep.events import ATTRIBUTE, LOGGER, Event, What
from sweep.execution.base import WorkerSetup
from sweep.execution.local import LocalExecutor
from sweep.execution.ray import RayExecutor
from sweep.jsonlines import JsonLines
from sweep.policy import Policy
from sweep.progress import Silent
from sweep.records import FailureKind
from sweep.run import run
from sweep.store import Store
from tests.sweep.handover.made import BEGAN
from tests.sweep.tiny import FakeTraining, prepared, tiny_study, weights


class Heard:
    """Keeps what it is told, and what the store held when it was told of a trial."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.events: list[Event] = []
        self.early: list[Event] = []

    def tell(self, event: Event) -> None:
        self.events.append(event)
        if event.what is What.TRIAL_DONE:
            there = self.store.trials.read(["trial_id"])[0]["trial_id"].to_pylist()
            if event.trial_id not in there:
                self.early.append(event)

    def of(self, what: What) -> list[Event]:
        return [event for event in self.events if event.what is what]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


@pytest.fixture
def heard(store: Store) -> Heard:
    return Heard(store)


def go(store: Store, heard: Heard, training: FakeTraining, **options: Any) -> None:
    executor = options.pop("executor", None) or LocalExecutor(WorkerSetup(runner=training))
    with store.writing():
        try:
            run(demand(tiny_study(), store), store, executor, events=heard, **options)
        finally:
            executor.stop()


def rows(store: Store) -> tuple[list[str], list[dict[str, Any]]]:
    done = store.trials.read(["trial_id"])[0]["trial_id"].to_pylist()
    return sorted(done), store.attempts.read()[0].to_pylist()


def test_every_trial_is_told_of_once_and_only_when_it_is_on_disk(
    store: Store, heard: Heard
) -> None:
    go(store, heard, FakeTraining())
    done, _ = rows(store)
    assert len(done) == 8
    assert sorted(str(event.trial_id) for event in heard.of(What.TRIAL_DONE)) == done
    assert heard.early == []
    first = heard.of(What.TRIAL_DONE)[0]
    assert (first.attempt, first.kind, first.severity) == (1, None, logging.INFO)
    assert first.duration_s is not None
    assert first.node
    assert first.worker


def test_the_chosen_teacher_is_told_before_what_it_teaches(store: Store, heard: Heard) -> None:
    training = FakeTraining()
    training.metric = lambda task: 10.0 * task.spec.seed
    go(store, heard, training)
    (chosen,) = heard.of(What.TEACHER_CHOSEN)
    best = next(t for t in training.tasks if t.spec.recipe.model == "small" and t.spec.seed == 2)
    assert chosen.trial_id == best.key
    students = {t.key for t in training.tasks if t.teachers}
    at = heard.events.index(chosen)
    assert all(
        heard.events.index(event) > at
        for event in heard.of(What.TRIAL_DONE)
        if event.trial_id in students
    )


def test_a_failure_is_told_once_per_attempt_with_its_kind(store: Store, heard: Heard) -> None:
    tries: Counter[str] = Counter()

    def fails(task: Any) -> BaseException | None:
        if task.spec.recipe.model != "small":
            return None
        tries[task.key] += 1
        return MemoryError("no room") if task.spec.seed == 1 and tries[task.key] == 1 else None

    go(store, heard, FakeTraining(fails), policy=Policy(pause_s={}))
    done, attempts = rows(store)
    (retried,) = heard.of(What.TRIAL_RETRIED)
    assert retried.kind is FailureKind.HOST_OUT_OF_MEMORY
    assert (retried.attempt, retried.severity) == (1, logging.WARNING)
    assert "no room" in retried.message
    again = next(e for e in heard.of(What.TRIAL_DONE) if e.trial_id == retried.trial_id)
    assert again.attempt == 2
    assert len(heard.of(What.TRIAL_DONE)) == len(done) == 8
    assert len(attempts) == 9
    assert heard.of(What.TRIAL_FAILED) == []


def test_what_failed_and_what_it_blocks_are_told_apart(store: Store, heard: Heard) -> None:
    training = FakeTraining(
        lambda task: ValueError("boom") if task.spec.recipe.model == "small" else None
    )
    go(store, heard, training)
    _, attempts = rows(store)
    failed = sorted(row["trial_id"] for row in attempts if row["status"] == "failed")
    assert sorted(str(e.trial_id) for e in heard.of(What.TRIAL_FAILED)) == failed
    assert len(failed) == 2
    assert {e.kind for e in heard.of(What.TRIAL_FAILED)} == {FailureKind.BUG}
    blocked = heard.of(What.TRIAL_BLOCKED)
    assert len({e.trial_id for e in blocked}) == len(blocked) == 4
    assert all(heard.events.index(e) > heard.events.index(heard.of(What.TRIAL_FAILED)[0])
               for e in blocked)  # fmt: skip


def test_a_diverged_trial_is_no_failed_one(store: Store, heard: Heard) -> None:
    training = FakeTraining()
    training.diverges = lambda task: task.spec.recipe.model == "small" and task.spec.seed == 1
    go(store, heard, training)
    (diverged,) = heard.of(What.TRIAL_DIVERGED)
    assert diverged.kind is FailureKind.DIVERGED
    assert (len(heard.of(What.TRIAL_DONE)), heard.of(What.TRIAL_FAILED)) == (7, [])


def test_what_is_held_back_is_told_of(store: Store, heard: Heard) -> None:
    training = FakeTraining(lambda task: ValueError("boom") if task.teachers else None)
    go(store, heard, training, policy=Policy(same_failure_limit=1))
    held = heard.of(What.TRIAL_HELD_BACK)
    failed = {e.trial_id for e in heard.of(What.TRIAL_FAILED)}
    assert len(held) == 2  # the other seed's two students
    assert failed.isdisjoint(e.trial_id for e in held)


class Shrinking(LocalExecutor):
    """Says that a node went when the first task has ended."""

    gone = ("b",)

    def take_lost_nodes(self) -> tuple[str, ...]:
        lost, self.gone = self.gone, ()
        return lost


def test_a_lost_node_is_told_of_once(store: Store, heard: Heard) -> None:
    go(store, heard, FakeTraining(), executor=Shrinking(WorkerSetup(runner=FakeTraining())))
    assert [event.node for event in heard.of(What.NODE_LOST)] == ["b"]


def test_a_cluster_names_the_nodes_that_went() -> None:
    executor = object.__new__(RayExecutor)
    executor._names, executor._lost_nodes = {}, []
    one, other = (
        {"NodeID": "1", "NodeManagerHostname": "head"},
        {"NodeID": "2", "NodeManagerHostname": "worker"},
    )
    executor._note_lost([one, other])
    executor._note_lost([one])
    executor._note_lost([one])
    assert executor.take_lost_nodes() == ("worker",)
    assert executor.take_lost_nodes() == ()


def test_nothing_is_printed_where_nobody_listens(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    training = FakeTraining(lambda task: ValueError("boom") if task.teachers else None)
    executor = LocalExecutor(WorkerSetup(runner=training))
    with store.writing():
        run(demand(tiny_study(), store), store, executor)
    executor.stop()
    assert capfd.readouterr() == ("", "")
    assert any(isinstance(handler, logging.NullHandler) for handler in LOGGER.handlers)


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Any:
    handler = Kept()
    LOGGER.addHandler(handler)
    monkeypatch.setattr(LOGGER, "level", logging.INFO)
    LOGGER.manager._clear_cache()  # type: ignore[attr-defined]
    yield handler
    LOGGER.removeHandler(handler)


def test_a_study_is_told_of_from_its_beginning_to_its_end(
    tmp_path: Path, handler: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_fetch_data", lambda *_: None)
    real = service.executor
    monkeypatch.setattr(service, "executor", lambda where, **_: real(where, runner=FakeTraining()))
    where = service.Where(local=True)
    summary = service.run_study(tiny_study(), tmp_path / "results", where, progress=Silent())
    assert summary.done == 8
    events = [getattr(record, ATTRIBUTE) for record in handler.records]
    assert [e.what for e in events][:: len(events) - 1] == [What.RUN_STARTED, What.RUN_ENDED]
    assert {e.study for e in events} == {"tiny"}
    assert "8 trials" in events[0].message
    assert Counter(e.what for e in events)[What.TRIAL_DONE] == 8
    handler.records.clear()
    service.run_study(tiny_study(), tmp_path / "results", where)
    events = [getattr(record, ATTRIBUTE) for record in handler.records]
    assert [e.what for e in events] == [What.RUN_STARTED, What.SAID, What.RUN_ENDED]
    assert events[1].message == "8 trials are done, 0 to train"


def test_a_run_that_breaks_off_says_so(
    tmp_path: Path, handler: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no data")

    monkeypatch.setattr(service, "_fetch_data", broken)
    with pytest.raises(RuntimeError, match="no data"):
        service.run_study(tiny_study(), tmp_path / "results", service.Where(local=True))
    last = getattr(handler.records[-1], ATTRIBUTE)
    assert (last.what, handler.records[-1].levelno) == (What.RUN_ENDED, logging.ERROR)
    assert "no data" in last.message


# Lines


def told(path: Path) -> list[dict[str, Any]]:
    content = path.read_text()
    assert content.endswith("\n")
    return [json.loads(text) for text in content.splitlines()]


def record(message: str, **about: Any) -> logging.LogRecord:
    made = logging.LogRecord("sweep", logging.ERROR, "", 0, "%s", (message,), None)
    made.created = 1_700_000_000.25
    setattr(made, ATTRIBUTE, Event(What.TRIAL_FAILED, message, **about))
    return made


def test_a_line_says_what_the_event_does(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "run.jsonl")
    lines.emit(record("two\nlines \udcff ☃", trial_id="t1", kind=FailureKind.BUG, duration_s=1.5))
    lines.close()
    assert told(tmp_path / "run.jsonl") == [
        {
            "time": "2023-11-14T22:13:20.250000+00:00",
            "level": "error",
            "event": "trial_failed",
            "trial_id": "t1",
            "kind": "bug",
            "duration_s": 1.5,
            "message": "two\nlines \udcff ☃",
        }
    ]
    assert (tmp_path / "run.jsonl").read_bytes().count(b"\n") == 1


def test_lines_are_added_and_a_torn_one_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"event": "earlier"}\n{"event": "to')
    lines = JsonLines(path)
    lines.emit(record("boom"))
    lines.close()
    first, torn, last = path.read_text().splitlines()
    assert json.loads(first) == {"event": "earlier"}
    assert torn == '{"event": "to'
    assert json.loads(last)["message"] == "boom"


def test_a_file_that_is_rotated_away_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    lines = JsonLines(path)
    lines.emit(record("one"))
    path.rename(tmp_path / "run.jsonl.1")
    lines.emit(record("two"))
    lines.emit(record("three"))
    lines.close()
    assert [row["message"] for row in told(tmp_path / "run.jsonl.1")] == ["one"]
    assert [row["message"] for row in told(path)] == ["two", "three"]


def test_what_a_full_disk_does_not_take_is_written_later_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweep import jsonlines

    room = 10
    real = jsonlines.os.write

    def write(descriptor: int, content: bytes) -> int:
        nonlocal room
        if room == 0:
            raise OSError(28, "No space left on device")
        taken = real(descriptor, content[:room])
        room -= taken
        return taken

    lines = JsonLines(tmp_path / "run.jsonl")
    monkeypatch.setattr(jsonlines.os, "write", write)
    lines.emit(record("one"))
    lines.emit(record("two"))
    assert lines.lost is not None
    assert "2 lines" in lines.lost
    assert "No space left" in lines.lost
    room = 10**6
    lines.emit(record("three"))
    lines.close()
    assert lines.lost is None
    assert [row["message"] for row in told(tmp_path / "run.jsonl")] == ["one", "two", "three"]


# Evaluations


def test_evaluations_are_told_of_once_they_are_taken_and_failures_with_their_kind(
    store: Store, heard: Heard
) -> None:
    from sweep.kept_networks import answers
    from trials.attack_settings import NO_ATTACKS
    from trials.task import EvaluateOutcome, EvaluateTask, LoadTask, Prepared

    cells = list(demand(tiny_study(), store).todo.values())[:4]
    tasks = [
        EvaluateTask(c.trial_id, c.spec.data, c.spec.recipe.model, NO_ATTACKS, c.spec.seed)
        for c in cells
    ]
    good, bad, gone, damaged = (task.trial_id for task in tasks)

    def runner(task: Any, *_: Any) -> EvaluateOutcome | Prepared:
        if isinstance(task, LoadTask):
            return prepared(task)
        if task.trial_id == bad:
            raise MemoryError("no room")
        return EvaluateOutcome(task.trial_id, (), None, "test", BEGAN)

    with store.writing():
        for trial_id in (good, bad, damaged):
            store.write_weights(trial_id, weights(trial_id))
    path = store.layout.weights(damaged)
    assert isinstance(path, Path)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    executor = LocalExecutor(WorkerSetup(runner=runner))
    failures: list[str] = []
    taken = 0
    for _ in answers(executor, tasks, store, failures, Silent(), "evaluated", heard):
        assert heard.of(What.TRIAL_EVALUATED) == []
        taken += 1
    executor.stop()
    assert taken == 1
    assert [event.trial_id for event in heard.of(What.TRIAL_EVALUATED)] == [good]
    failed = {event.trial_id: event for event in heard.of(What.EVALUATION_FAILED)}
    assert failed.keys() == {bad, gone, damaged}
    assert len(heard.of(What.EVALUATION_FAILED)) == len(failures) == 3
    assert failed[bad].kind is FailureKind.HOST_OUT_OF_MEMORY
    assert "its weights are gone" in failed[gone].message
    assert "damaged" in failed[damaged].message
