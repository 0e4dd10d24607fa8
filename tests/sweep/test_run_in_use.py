"""A run as its user meets it: what it says, what it leaves behind, and what the next one makes of it."""

import importlib.metadata
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from sweep import extensions, query, reporting, service
from sweep.cells import demand
from sweep.errors import StoreError, SweepError
from sweep.execution.base import WorkerSetup
from sweep.execution.joining import check_reachable
from sweep.execution.local import LocalExecutor
from sweep.expand import cells as cells_of
from sweep.expand import smoke_study
from sweep.filters import parse
from sweep.interrupts import Interrupt
from sweep.plan import Plan, plan
from sweep.policy import PAUSE_S
from sweep.progress import LivePanel, PlainLines, RunState, Silent, panel
from sweep.records import FailureKind
from sweep.results import Results
from sweep.run import run
from sweep.service import Where
from sweep.store import Store
from sweep.summary import RunSummary
from tests.sweep.test_cli import Sweep
from tests.sweep.test_cli import sweep as sweep
from tests.sweep.test_run import TRIALS, Losing, _trunk_and_fork, go
from tests.sweep.tiny import FakeTraining, tiny_study

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def lines_of(progress_of: Any) -> list[str]:
    out = io.StringIO()
    progress_of(out)
    return out.getvalue().splitlines()


def state(**changes: Any) -> RunState:
    plain = RunState(
        total=4, done=1, failed=0, blocked=0, running=(), epochs_done=1, epochs_total=4,
        elapsed_s=1.0, eta_s=None, trials_per_minute=1.0,
    )  # fmt: skip
    return RunState(**{**plain.__dict__, **changes})


class Heard(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.states: list[RunState] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def show(self, state: RunState) -> None:
        self.states.append(state)


# The display


def test_a_panel_that_never_had_a_state_leaves_the_terminal_alone() -> None:
    out = io.StringIO()
    live = LivePanel(Console(file=out, force_terminal=True))
    live.say("nothing to do")
    assert "\x1b[?25l" not in out.getvalue()  # the cursor was not hidden, so stays
    live.show(state())
    live.close()
    live.close()
    assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h") == 1


def test_the_bar_has_a_line_of_its_own() -> None:
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as captured:
        console.print(panel(state(done=1, running=("a stage",))))
    lines = [line.strip() for line in captured.get().splitlines()]
    assert lines[1].startswith("trials")
    assert lines[1].endswith("1 of 4 done, 1 running")


def test_the_last_line_is_written_once() -> None:
    def use(out: io.StringIO) -> None:
        progress = PlainLines(out, every_s=0.0)
        progress.show(state(done=3))
        progress.close()
        progress.close()

    (line,) = lines_of(use)
    assert line.startswith("3/4 trials done")


# Divergence and blocking


def all_teachers_diverge(store: Store) -> tuple[RunSummary, Heard]:
    training = FakeTraining()
    training.diverges = lambda task: task.spec.recipe.model == "small"
    heard = Heard()
    return go(store, training, progress=heard), heard


def test_students_of_teachers_that_all_diverged_are_blocked_in_one_line(store: Store) -> None:
    summary, _ = all_teachers_diverge(store)
    assert (summary.done, summary.diverged, summary.blocked) == (2, 2, 4)
    assert [f for f in summary.failures if "blocked" in f] == [
        "4 trials blocked: every teacher of the pool diverged"
    ]
    found = Results(store.layout.root)
    with store.writing():
        study = tiny_study()
        service._write_cells(study, demand(study, store), store)
    counts = found.counts("tiny")
    assert counts == {"total": TRIALS, "done": 2, "failed": 2, "blocked": 4, "missing": 0}


def test_blocked_trials_do_not_count_as_pace(store: Store) -> None:
    all_teachers_diverge(store)
    heard = Heard()
    again = go(store, FakeTraining(), progress=heard)
    assert (again.blocked, again.epochs) == (4, 0)
    assert heard.states[-1].trials_per_minute == 0


def test_what_diverged_or_failed_earlier_still_counts(store: Store) -> None:
    training = FakeTraining()
    training.diverges = lambda task: bool(task.teachers) and task.spec.seed == 1
    first = go(store, training)
    assert (first.done, first.diverged, first.exit_status) == (TRIALS - 2, 2, 1)
    again = go(store, FakeTraining())
    assert (again.already_done, again.not_done_before, again.exit_status) == (TRIALS - 2, 2, 1)
    # something new that ends well does not hide them
    more = go(store, FakeTraining(), overrides={"grid.alpha": [0.1, 0.5, 1.0]})
    assert (more.done, more.not_done_before, more.exit_status) == (4, 2, 1)


def test_a_failure_left_alone_is_seen_in_the_exit_status(store: Store) -> None:
    fails = FakeTraining(lambda task: ValueError("boom") if task.teachers else None)
    assert go(store, fails).failed == 4
    more = go(store, FakeTraining(), overrides={"grid.alpha": [0.1, 0.5, 1.0]})
    assert (more.done, more.failed, more.not_done_before, more.exit_status) == (4, 0, 4, 1)


# Trying again


def test_a_run_stopped_while_it_tries_again_leaves_nothing_failed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PAUSE_S, FailureKind.HOST_OUT_OF_MEMORY, 60.0)
    interrupt = Interrupt()

    class StopWhenTold(Heard):
        def say(self, text: str) -> None:
            super().say(text)
            interrupt.ask()

    heard = StopWhenTold()
    training = FakeTraining(lambda task: MemoryError("short"))
    first = go(store, training, progress=heard, interrupt=interrupt)
    assert (first.failed, first.interrupted) == (0, True)
    assert heard.said == ["host_out_of_memory: MemoryError: short; trying again"]
    rows = store.attempts.read(["status", "kind"])[0].to_pylist()
    assert {(row["status"], row["kind"]) for row in rows} == {("retried", "host_out_of_memory")}
    rest = go(store, FakeTraining())
    assert (rest.total, rest.done, rest.exit_status) == (TRIALS, TRIALS, 0)


def test_a_fork_that_pauses_while_its_snapshot_is_lost_waits_for_the_new_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PAUSE_S, FailureKind.HOST_OUT_OF_MEMORY, 0.1)
    trunk, _ = _trunk_and_fork(store)
    seed = _plan(store).stages[trunk].spec.seed
    training = FakeTraining()
    forks: list[str] = []

    def fails(task: Any) -> BaseException | None:
        if task.start_epoch and task.spec.seed == seed and task.key not in forks:
            forks.append(task.key)
            if len(forks) == 1:
                return MemoryError("short")  # this one pauses
            losing.lose[task.key] = 1  # and the next finds that its start is gone
            time.sleep(0.3)  # by when the pause is over
        return None

    training.fails = fails
    losing = Losing(WorkerSetup(runner=training), {}, "ObjectLostError: gone")
    summary = go(store, training, executor=losing)
    assert len(forks) == 2
    assert (summary.done, summary.failed, summary.exit_status) == (TRIALS, 0, 0)


def _plan(store: Store, **overrides: Any) -> Plan:
    return plan(cell.spec for cell in demand(tiny_study(**overrides), store).todo.values())


def test_a_trunk_trained_again_for_its_snapshot_counts_once(store: Store) -> None:
    # With epochs as a grid, the baseline of one epoch ends where that of three goes on.
    overrides = {"grid.epochs": [1, 3], "grid.switch_epoch": [0]}
    with store.writing():
        wanted = demand(tiny_study(**overrides), store)
        whole = _plan(store, **overrides)
        child = next(
            s for s in whole.stages.values() if s.parent and whole.stages[s.parent].ends_trial
        )
        training = FakeTraining()
        executor = Losing(WorkerSetup(runner=training), {child.key: 1}, "ObjectLostError: gone")
        summary = run(wanted, store, executor)
        executor.stop()
    assert [t.key for t in training.tasks].count(str(child.parent)) == 2
    assert (summary.done, summary.total) == (len(wanted.todo), len(wanted.todo))


def test_the_time_of_stages_cut_short_counts_as_busy(store: Store) -> None:
    interrupt = Interrupt()

    class Busy(LocalExecutor):
        def wait(self, timeout_s: float) -> list[Any]:
            time.sleep(0.05)
            interrupt.ask()
            return []

    summary = go(
        store, FakeTraining(), executor=Busy(WorkerSetup(runner=FakeTraining())),
        interrupt=interrupt,
    )  # fmt: skip
    assert summary.interrupted
    assert 0.05 <= summary.busy_s <= summary.elapsed_s


# One directory, several definitions


def test_cells_of_another_definition_are_left_out_and_that_is_said(store: Store) -> None:
    root = store.layout.root
    heard = Heard()
    stop = Interrupt()
    stop.ask()

    def ask(**overrides: Any) -> list[str]:
        study = tiny_study(**overrides)
        with store.writing():
            dropped = service._write_cells(study, demand(study, store), store).dropped
        heard.said.append(str(dropped))
        table = Results(root).cell_table("tiny")
        return sorted(set(map(str, table["epochs"].to_pylist())))

    assert ask() == ["3"]
    assert ask(**{"grid.alpha": [0.1, 0.5, 1.0]}) == ["3"]
    assert ask(**{"recipe.epochs": 4}) == ["4"]
    cells = len(list(cells_of(tiny_study(**{"grid.alpha": [0.1, 0.5, 1.0]}))))
    assert heard.said == ["0", "0", str(cells)]


def test_what_an_earlier_run_asked_for_stays_asked_for(store: Store) -> None:
    study = tiny_study()

    def ask(only: str) -> list[tuple[str, int]]:
        with store.writing():
            wanted = demand(study, store, parse([only]))
            dropped = service._write_cells(study, wanted, store).dropped
        assert dropped == 0
        rows = Results(store.layout.root).cell_table("tiny").to_pylist()
        by_id = {cell.trial_id: cell for cell in reversed(cells_of(study))}
        assert all(by_id[row["trial_id"]].seed == row["seed"] for row in rows)
        return [(row["role"], row["seed"]) for row in rows]

    assert ask("role=baseline seed=2") == [("baseline", 2)]
    assert ask("role=baseline seed=1") == [("baseline", 1), ("baseline", 2)]
    assert len(ask("seed>0")) == len(cells_of(study))


def test_a_smoke_run_keeps_to_the_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(service, "run_study", lambda *_, only, **__: seen.append(only))
    service.smoke(tiny_study(), only=parse(["alpha=0.1 switch_epoch=3 seed=2"]))
    (only,) = seen
    assert [condition.key for condition in only] == ["alpha"]
    # what is left over holds for the shortened study
    assert demand(smoke_study(tiny_study()), Store("/nonexistent"), only).todo


# Reading


@pytest.fixture
def fake(store: Store) -> Results:
    """A store with made-up results."""
    study = tiny_study()
    go(store, FakeTraining())
    with store.writing():
        service._write_cells(study, demand(study, store), store)
    return Results(store.layout.root)


def test_columns_of_one_name_are_numbered_and_sums_are_numbers(fake: Results) -> None:
    answer = query.query(fake, "SELECT 1 AS a, 2 AS a, 3 AS a_2, sum(epochs) AS e FROM trials")
    assert answer.to_pylist() == [{"a": 1, "a_2": 2, "a_2_2": 3, "e": 3 * TRIALS}]
    assert answer.schema.field("e").type == pa.int64()
    (big,) = query.query(fake, "SELECT 170141183460469231731687303715884105727::HUGEINT AS n")[0]
    assert big.as_py() == pytest.approx(2.0**127)


def test_tables_survive_an_odd_terminal(
    sweep: Sweep, fake: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fake.store.layout.root
    for columns in ("", "abc", "80"):
        monkeypatch.setenv("COLUMNS", columns)
        assert "small" in sweep("trials", "tiny", "--results", root)
    rows = [line for line in sweep("trials", "tiny", "--results", root).splitlines() if line]
    assert rows[0] == "status done, dataset digits, metric_name accuracy"
    assert len(rows) == 2 + len(list(cells_of(tiny_study())))  # no row is broken over lines
    assert max(map(len, rows)) <= 80
    assert "2    7" not in sweep("query", "SELECT 1 AS a, 2 AS a", "--results", root)


def test_json_of_trials_is_whole_and_filters_look_at_every_column(
    sweep: Sweep, fake: Results
) -> None:
    root = fake.store.layout.root
    many = tiny_study(**{"grid.temperature": [1.0, 2.0], "grid.alpha": [0.1, 0.2, 0.3, 0.4]})
    with fake.store.writing():
        service._write_cells(many, demand(many, fake.store), fake.store)
    every: Any = sweep.json("trials", "tiny", "--results", root)
    assert len(every) == len(list(cells_of(many))) > 50
    hot: Any = sweep.json(
        "trials", "tiny", "--results", root, "--only", "temperature=2 role=student alpha=0.2"
    )
    assert len(hot) == 2 * 3  # two seeds, three switch epochs
    sweep("trials", "tiny", "--results", root, "--limit", -1, status=2)
    sweep("trials", "tiny", "--results", root, "--status", "nonsense", status=2)


def test_a_report_that_cannot_be_written_is_one_message(fake: Results, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    for path in (blocked / "x.html", tmp_path):
        with pytest.raises(StoreError, match="cannot write"):
            reporting.write(fake, "tiny", path)


def test_reading_knows_the_networks_of_installed_extensions(
    fake: Results, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called: list[str] = []
    entry = SimpleNamespace(name="mine", value="mine:go", load=lambda: lambda: called.append("x"))
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda group: [entry] if group == "sweep.extensions" else [],
    )
    extensions.load.cache_clear()
    # Without a count by its runs the report plans the study again.
    monkeypatch.setattr(reporting, "run_totals", lambda _: None)
    try:
        reporting.write(fake, "tiny", tmp_path / "report.html")
    finally:
        extensions.load.cache_clear()
    assert called == ["x"]


# Ray


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nosuch.invalid:6379", "127.0.0.1:99999"])
def test_an_address_where_nothing_answers_is_refused_by_name(address: str) -> None:
    with pytest.raises(SweepError, match="nothing answers"):
        check_reachable(address)


@pytest.mark.parametrize("address", ["ray://head:10001", "http://head:8265", "https://head"])
def test_an_address_of_another_kind_is_refused_and_nobody_asked(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(
        SweepError, match=r"must be HOST:PORT .* `sweep submit` .* http://HOST:8265"
    ):
        check_reachable(address)


def test_data_is_looked_for_where_the_user_is(tmp_path: Path, monkeypatch: Any) -> None:
    seen: list[WorkerSetup] = []

    class Stub:
        def __init__(self, setup: WorkerSetup) -> None:
            seen.append(setup)

        def stop(self) -> None: ...

    monkeypatch.setattr("sweep.execution.local.LocalExecutor", Stub)
    monkeypatch.chdir(tmp_path)
    with service.executor(Where(local=True, data_dir=Path("mine"))):
        pass
    assert seen[0].data_dir == tmp_path / "mine"


@pytest.mark.slow
def test_a_killed_worker_costs_a_line_and_json_stays_json(tmp_path: Path) -> None:
    command = [
        sys.executable, "-c", "from sweep.cli import main; main()", "run", "quickstart",
        "--workers", "1", "--seeds", "1", "--only", "teacher=small alpha=0.1", "--json",
        "--set", "recipe.epochs=12", "--set", "grid.switch_epoch=[12]",
        "--results", str(tmp_path / "r"),
    ]  # fmt: skip
    # an earlier `ray start`, or its address, is not joined unasked
    environment = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1", "OMP_NUM_THREADS": "1"}
    going = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    worker = _busy_worker(going.pid, tmp_path / "r" / ".live.json")
    os.kill(worker, signal.SIGKILL)
    out, err = going.communicate(timeout=240)
    assert going.returncode == 0, err
    answer = json.loads(out)
    assert (answer["failed"], answer["blocked"]) == (0, 0)
    assert "worker_lost" in err
    assert "raylet" not in err + out
    assert "\x1b" not in err + out
    attempts, _ = Store(tmp_path / "r").attempts.read(["status", "kind"])
    lost = [row for row in attempts.to_pylist() if row["kind"] == "worker_lost"]
    assert lost
    assert {row["status"] for row in lost} == {"retried"}


def _busy_worker(driver: int, live: Path, timeout_s: float = 120.0) -> int:
    """The process of a Ray worker below a driver, once a stage runs."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        time.sleep(0.2)
        doing = json.loads(live.read_text())["running"] if live.exists() else []
        if all(what.startswith("load") for what in doing):  # a dataset is no attempt at a trial
            continue
        for process in busy_workers(driver):
            return process
    raise AssertionError("no worker ran")


def busy_workers(driver: int) -> Iterator[int]:
    """The processes of Ray workers below a driver that train."""
    for process in _below(driver):
        try:
            name = Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:
            continue
        if name.startswith(b"ray::Worker.run"):
            yield process


def _below(process: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *_below(int(child))]
    return found
