"""What does not grow with the epochs: the start, a stage's way to a worker and back, a commit.

From the command to the first training step, with Ray and in this process; a stage that trains
nothing, with the snapshot it goes on from parsed and written anew as a real one does; records made
durable (Parquet, two fsyncs a table), by their number.

    python -m tests.benchmarks.fixed_costs
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweep.execution.base import Inputs
from sweep.expand import Cell, cells
from sweep.local_files import write_atomically
from sweep.records import Attempt, trial_row
from sweep.service import Where, executor
from sweep.store import Store
from sweep.study import load_study
from tests.benchmarks.grids import spread
from tests.sweep.tiny import result
from trials.task import StageOutcome, StageTask, TeacherOutputs

REPEATS = 3
TIMES = 20
ROWS = (1, 10, 100, 500)
STUDENTS = ("california_housing", "fashion_mnist", "cifar10")


def start() -> dict[str, Any]:
    """Seconds from a command to its first training step and to its end."""
    return {"ray": _started(), "local": _started("--local")}


def _started(*options: str) -> dict[str, dict[str, float]]:
    first_step, command = [], []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            began = time.time()
            subprocess.run(
                [
                    str(Path(sys.executable).parent / "sweep"), "run", "quickstart",
                    f"--results={folder}", "--only=role=baseline", "--seeds=1",
                    "--gpus-per-trial=0", "--set=recipe.epochs=1", "--set=grid.switch_epoch=[1]",
                    *options,
                ],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
            )  # fmt: skip
            command.append(time.time() - began)
            store = Store(folder)
            (attempt,) = store.attempts.read(["started_at"])[0].to_pylist()
            (trial,) = store.trials.read(["stage_s", "train_s", "evaluate_s"])[0].to_pylist()
        before = trial["stage_s"] - trial["train_s"] - trial["evaluate_s"]
        first_step.append(attempt["started_at"].timestamp() - began + before)
    return {"first_step_s": spread(first_step), "command_s": spread(command)}


def commit() -> list[dict[str, Any]]:
    """Milliseconds of a flush of so many trials of 1,500 recorded losses, with their attempts."""
    (cell,) = _cells("california_housing")
    ended = result(train_loss=tuple(1 / (n + 1) for n in range(1500)),
                   train_loss_step=tuple(range(1500)))  # fmt: skip
    found = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        bare = _milliseconds(lambda: write_atomically(Path(folder) / "file", b"content"))
        for number in ROWS:
            trials = [
                {**trial_row(cell, ended), "trial_id": f"{number}-{n}"} for n in range(number)
            ]
            attempts = [_attempt(f"{number}-{n}").row() for n in range(number)]

            def flush(trials: Any = trials, attempts: Any = attempts) -> None:
                store.trials.publish(trials)
                store.attempts.publish(attempts)

            found.append({"rows": number, "ms": _milliseconds(flush)})
    return [{"rows": 0, "ms": bare}, *found]


def _attempt(trial_id: str) -> Attempt:
    now = datetime.now(UTC)
    return Attempt(
        attempt_id=trial_id, trial_id=trial_id, stage_key=trial_id, status="done", kind=None,
        message=None, traceback=None, node="node", worker="worker", started_at=now,
        finished_at=now, wall_s=1.0,
    )  # fmt: skip


def hand_over() -> list[dict[str, Any]]:
    """Milliseconds of a stage that trains nothing, one after the other, by what it is handed."""
    found = []
    with executor(Where(workers=1, gpus_per_trial=0.0), relay) as pool:
        for dataset in (None, *STUDENTS):
            (cell,) = _cells(dataset or "digits")
            content = None if dataset is None else snapshot(dataset)
            state = None if content is None else pool.put(content)
            task = StageTask(cell.spec, 0, False, False, hand_over=content is not None)

            def stage(task: StageTask = task) -> None:
                nonlocal state
                pool.submit("stage", task, Inputs(start=state))
                while not (ended := pool.wait(timeout_s=10.0)):
                    pass
                if ended[0].failure is not None:
                    raise RuntimeError(ended[0].failure.traceback)
                state = ended[0].product

            found.append(
                {
                    "student_of": dataset,
                    "mb": 0.0 if content is None else len(content) / 1e6,
                    "ms": _milliseconds(stage),
                }
            )
    return found


def relay(
    task: StageTask, start: bytes | None, teachers: Sequence[TeacherOutputs], workshop: Any
) -> StageOutcome:
    """Reads the snapshot it is given and hands it on."""
    from trials.snapshot import Snapshot

    handed = None if start is None else Snapshot.from_bytes(start).to_bytes()
    return StageOutcome(task.key, 0, None, None, product=handed)


def snapshot(dataset: str) -> bytes:
    """What a student of a dataset hands over, with Adam's state."""
    import torch

    import data
    import models.initialise
    from trials.optimizers import Adam
    from trials.snapshot import Snapshot

    about = data.get(dataset)
    network = models.initialise.build(
        dataset, "student", about.input_shape, about.outputs, "default", 1
    )
    optimizer = Adam(network.parameters(), 0.001)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return Snapshot(1, dict(network.state_dict()), optimizer.tensors()).to_bytes()


def _cells(dataset: str) -> list[Cell]:
    study = load_study(
        {
            "name": "costs",
            "seeds": [1],
            "recipe": {"epochs": 1, "batch_size": "full"},
            "datasets": {dataset: {}},
        }
    )
    return cells(study)


def _milliseconds(once: Callable[[], object]) -> dict[str, float]:
    once()
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        once()
        seconds.append(1000 * (time.perf_counter() - began))
    return spread(seconds)


def markdown(results: dict[str, Any]) -> list[str]:
    """The tables of `results.md`."""

    def shown(found: dict[str, float], unit: str) -> str:
        return f"{found['median']:.1f} {unit} ({found['least']:.1f}-{found['most']:.1f})"

    return [
        f"| `sweep run` of one trial, median of {REPEATS} (range) | first training step | end |",
        "|---|---|---|",
        *(
            f"| {label} | {shown(found['first_step_s'], 's')} | {shown(found['command_s'], 's')} |"
            for label, found in (
                ("on Ray", results["start"]["ray"]),
                ("`--local`", results["start"]["local"]),
            )
        ),
        "",
        f"| a stage that trains nothing, to a worker and back, median of {TIMES} (range) | snapshot | time |",
        "|---|---|---|",
        *(
            f"| {found['student_of'] or 'no snapshot'} | {found['mb']:.1f} MB | {shown(found['ms'], 'ms')} |"
            for found in results["stage"]
        ),
        "",
        f"| a durable commit of so many trials and attempts, median of {TIMES} (range) | time |",
        "|---|---|",
        *(
            f"| {found['rows'] or 'one small file, no rows'} | {shown(found['ms'], 'ms')} |"
            for found in results["commit"]
        ),
        "",
    ]  # fmt: skip


def main() -> None:
    """Measures and prints JSON."""
    print(json.dumps({"start": start(), "stage": hand_over(), "commit": commit()}, indent=2))


if __name__ == "__main__":
    main()
