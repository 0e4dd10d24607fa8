"""Asking a run to stop: in the middle of a stage, before there is a worker, with signals ignored."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep.execution.base import WorkerSetup
from sweep.execution.local import LocalExecutor
from sweep.interrupts import (
    Interrupt,
    children_ignore_hangups,
    end_on_signals,
    stop_on_signals,
)
from sweep.store import Store
from tests.sweep.signals import as_in_a_terminal
from tests.sweep.test_run import TRIALS, go, ids
from tests.sweep.tiny import FakeTraining

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _signals_as_in_a_terminal() -> Iterator[None]:
    """Also where the tests run in the background or under nohup."""
    handlers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


LONG = """
import sys
from sweep.execution import local
from sweep.progress import PlainLines
from sweep.service import Where, run_study
from tests.sweep.tiny import tiny_study
from trials.task import StageTask

real = local.run_task


def run_task(task, *others):
    if isinstance(task, StageTask):
        print("a stage", flush=True)
    return real(task, *others)


local.run_task = run_task
study = tiny_study(**{"recipe.epochs": 1_000_000, "grid.switch_epoch": [1]})
where = Where(local=True, gpus_per_trial=0.0)
summary = run_study(study, sys.argv[1], where, progress=PlainLines(sys.stdout, 0.0))
print(summary)
sys.exit(summary.exit_status)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stage_in_this_process_is_ended_in_the_middle(
    tmp_path: Path, number: signal.Signals
) -> None:
    going = subprocess.Popen(
        [sys.executable, "-c", LONG, str(tmp_path / "results")], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=as_in_a_terminal,
    )  # fmt: skip
    assert going.stdout is not None
    while "a stage" not in going.stdout.readline():
        assert going.poll() is None
    time.sleep(0.5)
    going.send_signal(number)
    said, _ = going.communicate(timeout=20)
    assert going.returncode == 130, said
    assert "interrupted=True" in said
    assert "Traceback" not in said


def test_what_was_interrupted_counts_as_missing(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    interrupt = Interrupt()
    seen: list[str] = []

    def fails(task: Any) -> None:
        seen.append(task.key)
        if len(seen) == 5:
            interrupt.ask()  # as from a signal's handler: in this thread, inside the stage
            raise AssertionError("the stage went on")

    summary = go(store, FakeTraining(fails), interrupt=interrupt)
    assert (summary.interrupted, summary.failed, summary.exit_status) == (True, 0, 130)
    assert store.attempts.read(["kind"])[0]["kind"].to_pylist() == [None] * summary.done
    assert go(store, FakeTraining()).done == TRIALS - summary.done
    assert len(ids(store)) == TRIALS


def test_another_thread_does_not_break_into_a_stage(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    interrupt = Interrupt()
    asked: list[bool] = []

    def fails(task: Any) -> None:
        if not asked:
            asking = threading.Thread(target=interrupt.ask)
            asking.start()
            asking.join()
            asked.append(interrupt.asked)

    training = FakeTraining(fails)
    summary = go(store, training, interrupt=interrupt)
    assert asked == [True]
    assert len(training.tasks) == 1, "the stage that ran was finished"
    assert summary.exit_status == 130


def test_outside_a_stage_nothing_is_broken_into() -> None:
    executor = LocalExecutor(WorkerSetup(runner=FakeTraining()))
    executor.interrupt()
    executor.stop()


def test_a_second_signal_ends_what_does_not_listen() -> None:
    interrupt = Interrupt()
    told: list[int] = []
    interrupt.on_ask(lambda: told.append(1))
    with stop_on_signals(interrupt):
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert told == [1]


def test_before_there_is_something_to_drain_a_signal_ends_the_command() -> None:
    before = signal.getsignal(signal.SIGTERM)
    for number in (signal.SIGTERM, signal.SIGHUP):
        with pytest.raises(KeyboardInterrupt), end_on_signals():
            signal.raise_signal(number)
    assert signal.getsignal(signal.SIGTERM) == before


def test_children_outlive_the_end_of_a_terminal() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with children_ignore_hangups():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with child:
        time.sleep(0.3)
        child.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert child.poll() is None
        child.kill()
    assert signal.getsignal(signal.SIGHUP) == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As `nohup` has it for the end of a terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interrupt = Interrupt()
        with end_on_signals(), stop_on_signals(interrupt):
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.05)
        assert not interrupt.asked
    finally:
        signal.signal(signal.SIGHUP, before)
