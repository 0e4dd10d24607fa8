"""A trial as trackers of experiments see one: parameters, figures, curves, times, how it ended.

Names say the unit where a number could be misread: `test/accuracy_percent`, `test/mse`,
`robustness/fgsm_0.01/accuracy_percent`. Slashes group them in all three tools.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sweep.records import CELLS

Value = str | int | float
Ending = Literal["done", "diverged", "failed"]

SPLITS = {"test": "robustness", "validation": "validation_robustness"}
COUNTED = ("epochs_run", "best_epoch", "stopped_epoch", "diverged_epoch")
COSTS = ("wall_s", "train_s", "evaluate_s", "stage_s", "device_s", "peak_memory_bytes")
TAGS = (
    "code_version", "numerics_class", "numerics_version", "data_fingerprint", "device_name",
    "selected_on",
)  # fmt: skip
NAMED = ("role", "dataset", "model", "teacher", "alpha", "switch_epoch", "seed")
"""Words that are in every name; others are where they differ within the study."""


@dataclass(frozen=True)
class Curve:
    """A figure that was measured again and again.

    Attributes:
        name: such as `train/loss`.
        over: what the steps count: minibatches (`step`) or `epoch`s done.
        steps: of each point, rising.
        values: of each point.
    """

    name: str
    over: Literal["step", "epoch"]
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Tries:
    """The attempts at a trial.

    Attributes:
        number: how many there were.
        failures: how many of them failed, by kind.
        message: what the last one that failed said; None where none failed.
        started_at, finished_at: of the last one.
        code_version: of the last one.
    """

    number: int
    failures: Mapping[str, int] = field(default_factory=dict)
    message: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    code_version: str | None = None

    @classmethod
    def of(cls, attempts: Sequence[Mapping[str, Any]]) -> "Tries":
        """What attempts at one trial come to.

        Args:
            attempts: rows of `sweep.records.ATTEMPTS`, one or more, in any order.
        """
        rows = sorted(attempts, key=lambda row: (row["number"] or 0, row["finished_at"]))
        failed = [row for row in rows if row["kind"] is not None]
        return cls(
            number=len(rows),
            failures=dict(sorted(Counter(row["kind"] for row in failed).items())),
            message=f"{failed[-1]['kind']}: {failed[-1]['message']}" if failed else None,
            started_at=rows[-1]["started_at"],
            finished_at=rows[-1]["finished_at"],
            code_version=rows[-1]["code_version"],
        )


@dataclass(frozen=True)
class HandedRun:
    """A trial, as it is handed over.

    Attributes:
        trial_id: of it.
        study: that it is handed over with; a trial may be part of several.
        name: for people; see `run_name`.
        group: the same without the seed.
        role: `teacher`, `baseline`, `student` or `start`.
        status: how it ended.
        message: of a trial that did not end well: why.
        parameters: everything that was asked for and applies to it.
        metrics: final figures.
        curves: by step or epoch.
        tags: what else is known, as texts.
        started_at: of its last attempt.
        finished_at: of its record; of a trial without one, of its last attempt.
    """

    trial_id: str
    study: str
    name: str
    group: str
    role: str
    status: Ending
    message: str | None
    parameters: Mapping[str, Value]
    metrics: Mapping[str, float]
    curves: tuple[Curve, ...]
    tags: Mapping[str, str]
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def digest(self) -> str:
        """A hash of everything: what has it is up to date."""
        content = json.dumps(vars(self), sort_keys=True, default=_plain)
        return hashlib.sha256(content.encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    return vars(value) if isinstance(value, Curve) else str(value)


def handed_run(
    study: str,
    record: Mapping[str, Any],
    tries: Tries | None,
    varying: Sequence[str] = (),
) -> HandedRun:
    """A trial as it is handed over.

    Args:
        study: that it is handed over with.
        record: a row of `sweep.records.TRIALS`, or of `CELLS` where the trial has none.
        tries: the attempts at it; None where none are known, as of imported results.
        varying: columns of `CELLS` that differ within the study.
    """
    status: Ending = record.get("status") or "failed"
    parameters = {
        name: record[name]
        for name in CELLS.names
        if name != "trial_id" and record[name] is not None
    }
    return HandedRun(
        trial_id=record["trial_id"],
        study=study,
        name=run_name(parameters, varying),
        group=run_name({k: v for k, v in parameters.items() if k != "seed"}, varying),
        role=record["role"],
        status=status,
        message=tries.message if tries and status != "done" else None,
        parameters=parameters,
        metrics=_metrics(record),
        curves=_curves(record),
        tags=_tags(record, tries),
        started_at=tries.started_at if tries else None,
        finished_at=record.get("finished_at") or (tries.finished_at if tries else None),
    )


def run_name(parameters: Mapping[str, Value], varying: Sequence[str] = ()) -> str:
    """A trial in a few words, such as `cifar10 student teacher small alpha 0.1 switch 5 seed 38`.

    Args:
        parameters: those of the trial.
        varying: further ones to say, where the trial has them.
    """
    words = [str(parameters["dataset"]), str(parameters["role"])]
    if parameters["role"] != "student":
        words.append(str(parameters["model"]))
    short = {"switch_epoch": "switch"}
    for key in (*NAMED[3:-1], *(key for key in varying if key not in NAMED), "seed"):
        if key in parameters:
            words.append(f"{short.get(key, key)} {plain(parameters[key])}")
    return " ".join(words)


def plain(value: Value) -> str:
    """A value as short as it can be without becoming another: `1`, `0.005`, `1e-05`."""
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def unit_of(metric_name: str | None) -> str:
    """A metric's name with its unit."""
    return "accuracy_percent" if metric_name == "accuracy" else metric_name or "metric"


def _metrics(record: Mapping[str, Any]) -> dict[str, float]:
    unit = unit_of(record.get("metric_name"))
    found: dict[str, float | None] = {}
    for split, column in SPLITS.items():
        found[f"{split}/{unit}"] = record.get(f"{split}_metric")
        found[f"{split}/loss"] = record.get(f"{split}_loss")
        for point in record.get(column) or ():
            attack = f"{point['attack']}_{plain(point['epsilon'])}"
            found[f"{column}/{attack}/{unit}"] = point["value"]
    found |= {f"test/{name}": record.get(name) for name in ("mae", "r2")}
    found["robustness/zero_gradients_percent"] = record.get("zero_gradients_percent")
    found |= {name: record.get(name) for name in COUNTED}
    found |= {f"cost/{name}": record.get(name) for name in COSTS}
    return {name: float(value) for name, value in found.items() if value is not None}


def _curves(record: Mapping[str, Any]) -> tuple[Curve, ...]:
    unit, found = unit_of(record.get("metric_name")), []
    losses = tuple(record.get("train_loss") or ())
    if losses:
        steps = tuple(record.get("train_loss_step") or range(1, len(losses) + 1))
        found.append(Curve("train/loss", "step", steps, losses))
    points = record.get("curve") or ()
    for split in dict.fromkeys(point["split"] for point in points):
        own = [point for point in points if point["split"] == split]
        for key, name in (("metric", unit), ("loss", "loss")):
            measured = [(p["epoch"], p[key]) for p in own if p[key] is not None]
            if measured:
                epochs, values = zip(*measured, strict=True)
                found.append(Curve(f"epochs/{split}/{name}", "epoch", epochs, values))
    return tuple(found)


def _tags(record: Mapping[str, Any], tries: Tries | None) -> dict[str, str]:
    found = {name: record.get(name) for name in TAGS}
    found["teacher_trial_ids"] = ",".join(record.get("teacher_trial_ids") or ()) or None
    found["steps_per_epoch"] = record.get("steps_per_epoch")
    if tries is not None:
        found["code_version"] = found["code_version"] or tries.code_version
        found["attempts"] = tries.number
        failures = ", ".join(f"{number} {kind}" for kind, number in tries.failures.items())
        found["failed_attempts"] = failures or None
    return {name: str(value) for name, value in found.items() if value is not None}
