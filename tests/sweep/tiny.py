"""Small studies, and a stand-in for training, for tests of everything around the training."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from data.shared import SharedData
from sweep.store import Store
from sweep.study import Study, load_study
from trials.spec import epoch_count
from trials.task import (
    LoadTask,
    Prepared,
    StageOutcome,
    StageTask,
    TeacherOutputs,
    TeachTask,
    TrialResult,
)

TIMES = ("wall_s", "train_s", "evaluate_s", "stage_s", "device_s", "peak_memory_bytes",
         "finished_at")  # fmt: skip
"""Columns that say how it was computed, not what came out."""


def tiny_study(**overrides: Any) -> Study:
    """Two seeds, two alphas, three switch epochs on 128 digits: seconds to train."""
    return load_study(
        {
            "name": "tiny",
            "seeds": [1, 2],
            "grid": {"teacher": ["small"], "alpha": [0.1, 1.0], "switch_epoch": [0, 1, 3]},
            "recipe": {"epochs": 3, "batch_size": 32},
            "split": {"train_size": 128, "validation": 0.1},
            "evaluation": {"fgsm_epsilons": [0.05]},
            "datasets": {"digits": {"student": "medium"}},
        },
        overrides,
    )


def science(store: Store) -> pa.Table:
    """The trials without what may differ between runs, in order of their ids."""
    rows, damaged = store.trials.read()
    assert not damaged
    return rows.drop_columns(list(TIMES)).sort_by("trial_id")


def result(**changes: Any) -> TrialResult:
    """A result as a worker would answer."""
    plain = TrialResult(
        status="done", metric_name="accuracy", test_metric=50.0, test_loss=1.0,
        validation_metric=40.0, validation_loss=1.5, mae=None, r2=None,
        train_loss=(1.0, 0.5), train_loss_step=(1, 2), steps_per_epoch=1, curve=(),
        robustness=({"attack": "fgsm", "epsilon": 0.05, "value": 30.0},),
        zero_gradients_percent=0.5,
        per_class=None, confusion=None, epochs_run=1, diverged_epoch=None, stopped_epoch=None,
        best_epoch=None, teacher_trial_ids=(),
        wall_s=1.0, train_s=0.75, evaluate_s=0.25, stage_s=0.5, device_s=0.5,
        peak_memory_bytes=1, device_name="test", numerics_class="test", data_fingerprint="test",
        finished_at=datetime.now(UTC),
    )  # fmt: skip
    return replace(plain, **changes)


def prepared(task: LoadTask | TeachTask) -> Prepared:
    """What a worker would make for all others, without data."""
    if isinstance(task, TeachTask):
        return Prepared(TeacherOutputs(task.teacher.trial_id, np.zeros((1, 1), np.float32)))
    return Prepared(SharedData({"name": task.data.name}, {}))


def state(epochs: int) -> bytes:
    """Stands in for a snapshot after so many epochs: a safetensors file without tensors."""
    header = json.dumps({"__metadata__": {"epochs": str(epochs)}}).encode()
    return len(header).to_bytes(8, "little") + header


def epochs_of(content: bytes) -> int:
    """What `state` was given, also after the store had it."""
    return int(json.loads(content[8:])["__metadata__"]["epochs"])


def weights(name: str) -> bytes:
    """Stands in for weights: a safetensors file without tensors."""
    header = json.dumps({"__metadata__": {"name": name}}).encode()
    return len(header).to_bytes(8, "little") + header


class FakeTraining:
    """Stands in for `run_stage`: writes down what it is given and answers at once.

    A snapshot is the number of epochs trained so far, so a stage can check that it goes on from
    the right one.
    """

    def __init__(self, fails: Callable[[StageTask], BaseException | None] = lambda task: None):
        self.fails = fails
        self.tasks: list[StageTask] = []
        self.diverges: Callable[[StageTask], bool] = lambda task: False
        self.stops: Callable[[StageTask], int | None] = lambda task: None
        self.metric: Callable[[StageTask], float] = lambda task: 40.0

    def __call__(
        self,
        task: StageTask | LoadTask | TeachTask,
        start: bytes | None,
        teachers: Sequence[TeacherOutputs],
        workshop: object,
    ) -> StageOutcome | Prepared:
        if not isinstance(task, StageTask):
            return prepared(task)
        error = self.fails(task)
        if error is not None:
            raise error
        self.tasks.append(task)
        done = 0 if start is None else epochs_of(start)
        assert done == task.start_epoch
        assert {t.trial_id for t in teachers} == set(task.teachers.values())
        stop = epoch_count(task.spec.schedule)
        if self.diverges(task):
            bad = result(status="diverged", test_metric=None, test_loss=None, diverged_epoch=done)
            return StageOutcome(task.key, done + 1, done, bad)
        early = self.stops(task)
        if early is not None and not done < early <= stop:
            early = None
        stop = early or stop
        ended = result(
            epochs_run=stop,
            stopped_epoch=early,
            validation_metric=self.metric(task),
            teacher_trial_ids=tuple(dict.fromkeys(task.path_teachers.values())),
        )
        return StageOutcome(
            task.key,
            stop,
            None,
            ended if task.ends_trial or early else None,
            weights=weights(task.key) if task.keep_weights else None,
            product=state(stop) if task.hand_over else None,
            stopped_epoch=early,
        )
