"""The tables of a results directory: their columns, and rows for them.

Columns are only ever added; a file of an earlier version is read with nulls where it has no
column. `tests/sweep/data` keeps a file of every version.
"""

import dataclasses
import functools
import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sweep.words import CELL_COLUMNS
from trials.attribution_settings import METHOD
from trials.identity import NUMERICS_VERSION, digest

if TYPE_CHECKING:
    from sweep.expand import Cell  # takes its time, and who only reads does without
    from trials.attribution_settings import AttributionSettings
    from trials.spec import TrialSpec
    from trials.task import AttributeOutcome

SCHEMA_VERSION = 5

_POINT = pa.struct([("attack", pa.string()), ("epsilon", pa.float64()), ("value", pa.float64())])
_CLASS = pa.struct(
    [
        ("label", pa.int64()),
        ("precision", pa.float64()),
        ("recall", pa.float64()),
        ("f1", pa.float64()),
        ("support", pa.int64()),
    ]
)
_PERTURBED = pa.struct([(name, pa.int64()) for name in ("rows", "corrected", "memorised", "other")])
_CURVE = pa.struct(
    [
        ("epoch", pa.int64()),
        ("split", pa.string()),
        ("metric", pa.float64()),
        ("loss", pa.float64()),
    ]
)

_WORDS = [
    pa.field("role", pa.string()),
    pa.field("dataset", pa.string()),
    pa.field("model", pa.string()),
    pa.field("teacher", pa.string()),
    pa.field("alpha", pa.float64()),
    pa.field("switch_epoch", pa.int64()),
    pa.field("temperature", pa.float64()),
    pa.field("seed", pa.int64()),
    pa.field("epochs", pa.int64()),
    pa.field("batch_size", pa.int64()),
    pa.field("optimizer", pa.string()),
    pa.field("learning_rate", pa.float64()),
    pa.field("weight_decay", pa.float64()),
    pa.field("momentum", pa.float64()),
    pa.field("init", pa.string()),
    pa.field("soft_loss", pa.string()),
    pa.field("precision", pa.string()),
    pa.field("train_size", pa.int64()),
    pa.field("validation", pa.float64()),
    pa.field("split_seed", pa.int64()),
    pa.field("lr_schedule", pa.string()),
    pa.field("early_stop", pa.string()),
    pa.field("start", pa.string()),
    pa.field("begin_epoch", pa.int64()),
    pa.field("ramp", pa.string()),
    pa.field("teacher_epochs", pa.int64()),
    pa.field("shuffle", pa.string()),
    pa.field("augment", pa.string()),
    pa.field("pretrained", pa.string()),
    pa.field("frozen_epochs", pa.int64()),
    pa.field("classes", pa.string()),
    pa.field("scaling", pa.string()),
    pa.field("image_size", pa.int64()),
    pa.field("train_fraction", pa.float64()),
    pa.field("label_noise", pa.float64()),
    pa.field("label_noise_part", pa.float64()),
    pa.field("target_noise", pa.float64()),
    pa.field("corruption", pa.string()),
    pa.field("corruption_strength", pa.float64()),
    pa.field("corruption_fraction", pa.float64()),
    pa.field("corruption_on", pa.string()),
]


def _versioned(fields: Sequence[pa.Field]) -> pa.Schema:
    return pa.schema(fields, metadata={"sweep_schema_version": str(SCHEMA_VERSION)})


CELLS = _versioned([pa.field("trial_id", pa.string(), nullable=False), *_WORDS])
"""`studies/NAME.parquet`: one row per requested cell, in the words of the study."""

TRIALS = _versioned(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        *_WORDS,
        pa.field("status", pa.string()),
        pa.field("metric_name", pa.string()),
        pa.field("test_metric", pa.float64()),
        pa.field("test_loss", pa.float64()),
        pa.field("validation_metric", pa.float64()),
        pa.field("validation_loss", pa.float64()),
        pa.field("mae", pa.float64()),
        pa.field("r2", pa.float64()),
        pa.field("train_loss", pa.list_(pa.float64())),
        pa.field("train_loss_step", pa.list_(pa.int64())),
        pa.field("steps_per_epoch", pa.int64()),
        pa.field("curve", pa.list_(_CURVE)),
        pa.field("robustness", pa.list_(_POINT)),
        pa.field("zero_gradients_percent", pa.float64()),
        pa.field("per_class", pa.list_(_CLASS)),
        pa.field("confusion", pa.list_(pa.list_(pa.int64()))),
        pa.field("epochs_run", pa.int64()),
        pa.field("diverged_epoch", pa.int64()),
        pa.field("stopped_epoch", pa.int64()),
        pa.field("best_epoch", pa.int64()),
        pa.field("selected_on", pa.string()),
        pa.field("teacher_trial_ids", pa.list_(pa.string())),
        pa.field("wall_s", pa.float64()),
        pa.field("train_s", pa.float64()),
        pa.field("evaluate_s", pa.float64()),
        pa.field("stage_s", pa.float64()),
        pa.field("device_s", pa.float64()),
        pa.field("peak_memory_bytes", pa.int64()),
        pa.field("device_name", pa.string()),
        pa.field("numerics_class", pa.string()),
        pa.field("numerics_version", pa.int64()),
        pa.field("code_version", pa.string()),
        pa.field("data_fingerprint", pa.string()),
        pa.field("schedule", pa.string()),
        pa.field("finished_at", pa.timestamp("us", tz="UTC")),
        pa.field("validation_robustness", pa.list_(_POINT)),
        pa.field("perturbed", _PERTURBED),
    ]
)
"""`trials/*.parquet`: one row per trial, the whole record of it."""

ATTEMPTS = _versioned(
    [
        pa.field("attempt_id", pa.string(), nullable=False),
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("stage_key", pa.string()),
        pa.field("status", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("message", pa.string()),
        pa.field("traceback", pa.string()),
        pa.field("node", pa.string()),
        pa.field("worker", pa.string()),
        pa.field("device", pa.string()),
        pa.field("beside", pa.list_(pa.string())),
        pa.field("code_version", pa.string()),
        pa.field("started_at", pa.timestamp("us", tz="UTC")),
        pa.field("finished_at", pa.timestamp("us", tz="UTC")),
        pa.field("wall_s", pa.float64()),
        pa.field("number", pa.int64()),
    ]
)
"""`attempts/*.parquet`: one row per execution of a trial."""

EVALUATIONS = _versioned(
    [
        pa.field("evaluation_id", pa.string(), nullable=False),
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("attack", pa.string()),
        pa.field("epsilon", pa.float64()),
        pa.field("value", pa.float64()),
        pa.field("zero_gradients_percent", pa.float64()),
        pa.field("split", pa.string()),
        pa.field("numerics_class", pa.string()),
        pa.field("code_version", pa.string()),
        pa.field("finished_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""`evaluations/*.parquet`: one row per trial, attack and epsilon measured after the training."""

_IMAGE = pa.struct(
    [
        ("row", pa.int64()),
        ("label", pa.int64()),
        ("predicted", pa.int64()),
        ("foreground", pa.float64()),
        ("background", pa.float64()),
        ("share", pa.float64()),
        ("area", pa.float64()),
    ]
)

ATTRIBUTIONS = _versioned(
    [
        pa.field("attribution_id", pa.string(), nullable=False),
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("method", pa.string()),
        pa.field("explains", pa.string()),
        pa.field("segmentation", pa.string()),
        pa.field("images", pa.int64()),
        pa.field("background_images", pa.int64()),
        pa.field("repeats", pa.int64()),
        pa.field("background_used", pa.int64()),
        pa.field("completeness_error", pa.float64()),
        pa.field("points", pa.list_(_IMAGE)),
        pa.field("numerics_class", pa.string()),
        pa.field("code_version", pa.string()),
        pa.field("finished_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""`attributions/*.parquet`: one row per trial and way of asking where its network looks.

`images`, `background_images`, `repeats` and `explains` are what was asked for (see
`trials.attribution_settings`), `segmentation` what says where the objects are; of fewer images there
are fewer points, the fields of `trials.attribution.ImageAttribution`.
"""

RUNS = _versioned(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("study", pa.string()),
        pa.field("shared", pa.bool_()),
        pa.field("trials", pa.int64()),
        pa.field("done", pa.int64()),
        pa.field("diverged", pa.int64()),
        pa.field("failed", pa.int64()),
        pa.field("blocked", pa.int64()),
        pa.field("held_back", pa.int64()),
        pa.field("interrupted", pa.bool_()),
        pa.field("stopped", pa.string()),
        pa.field("epochs_alone", pa.int64()),
        pa.field("epochs_trained", pa.int64()),
        pa.field("slots", pa.int64()),
        pa.field("busy_s", pa.float64()),
        pa.field("elapsed_s", pa.float64()),
        pa.field("peak_snapshot_bytes", pa.int64()),
        pa.field("code_version", pa.string()),
        pa.field("finished_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""`runs/*.parquet`: one row per run: what it trained, and what that would have been alone."""


class FailureKind(StrEnum):
    """Why an attempt failed."""

    CUDA_OUT_OF_MEMORY = "cuda_out_of_memory"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    DIVERGED = "diverged"
    TIMED_OUT = "timed_out"
    WORKER_LOST = "worker_lost"
    BUG = "bug"


@dataclass(frozen=True)
class Attempt:
    """One execution of a trial.

    Its status is `done`, `failed`, or `retried`: it failed, and the same run went on to try again.
    `beside` names the stages that ran on the same device when it failed: where memory ran out, it
    may have been any of them that took it. `number` counts the attempts at a trial: a clock may go
    back, and clocks of nodes differ.
    """

    attempt_id: str
    trial_id: str
    stage_key: str
    status: str
    kind: FailureKind | None
    message: str | None
    traceback: str | None
    node: str
    worker: str
    started_at: datetime
    finished_at: datetime
    wall_s: float
    device: str | None = None
    beside: tuple[str, ...] = ()
    number: int | None = None

    def row(self) -> dict[str, Any]:
        """The attempt as a row of `ATTEMPTS`."""
        return {**dataclasses.asdict(self), "code_version": code_version()}


def trial_words(cell: "Cell") -> dict[str, Any]:
    """The parameters of a cell's trial as its record says them.

    A cell keeps the words it was asked in; equal trials must be one record, so a trial says them
    in one way: a trial that no teacher guides has no alpha, and a switch past the end is the end.
    """
    spec = cell.spec
    words: dict[str, Any] = {key: cell.column(key) for key in CELL_COLUMNS}
    words |= cell.parameters
    words["role"] = str(cell.role)
    begin, end, temperature = guided_epochs(spec)
    if temperature is None:
        words |= {"alpha": None, "switch_epoch": None, "temperature": None, "soft_loss": None}
        words |= {"begin_epoch": None, "ramp": None}
    else:
        words |= {"switch_epoch": end, "temperature": temperature}  # 1 where it has no effect
        words["begin_epoch"] = begin or None
        words["ramp"] = None if words["ramp"] == "none" else words["ramp"]
    if words["start"] == "scratch":
        words["start"] = None
    if not spec.rules:
        words["teacher"] = words["teacher_epochs"] = None
        if cell.role == "student":
            words["role"] = "baseline"
            words["start"] = None
    return words


def guided_epochs(spec: "TrialSpec") -> tuple[int, int, float | None]:
    """The first guided epoch, the first after the last, and the temperature; None where none is."""
    begin = end = epoch = 0
    temperature: float | None = None
    for part in spec.schedule:
        if part.objective.guides:
            if temperature is None:
                begin, temperature = epoch, part.objective.temperature
            end = epoch + part.epochs
        epoch += part.epochs
    return begin, end, temperature


def trial_row(cell: "Cell", result: Any) -> dict[str, Any]:
    """The whole record of a trial as a row of `TRIALS`.

    Args:
        cell: a cell that the trial answers.
        result: the `trials.stage.TrialResult`.
    """
    measured = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
    selected = {rule.select_on for rule in cell.spec.rules} - {"only"}
    return {
        "trial_id": cell.trial_id,
        **trial_words(cell),
        **measured,
        "selected_on": ",".join(sorted(selected)) or None,
        "numerics_version": NUMERICS_VERSION,
        "code_version": code_version(),
        "schedule": schedule_text(cell.spec),
    }


ROBUSTNESS_OF = {"test": "robustness", "validation": "validation_robustness"}
"""The column of a trial to which an evaluation on a split adds."""


def evaluation_id(trial_id: str, point: Mapping[str, Any], split: str) -> str:
    """The key of a row of `EVALUATIONS`: measured again, it is the same row.

    Args:
        trial_id: whose network.
        point: its `attack` and `epsilon`.
        split: a key of `ROBUSTNESS_OF`.
    """
    about = [trial_id, point["attack"], point["epsilon"]]
    return digest(about if split == "test" else [*about, split])


def attribution_settings(settings: "AttributionSettings", segmentation: str) -> dict[str, Any]:
    """The columns of `ATTRIBUTIONS` that say what was asked for.

    Args:
        settings: of how many images, how.
        segmentation: the name of what says where the objects are.
    """
    return {
        "method": METHOD,
        "explains": settings.explains,
        "segmentation": segmentation,
        "images": settings.images,
        "background_images": settings.background,
        "repeats": settings.repeats,
    }


def attribution_id(trial_id: str, asked: Mapping[str, Any]) -> str:
    """The key of a row of `ATTRIBUTIONS`: asked again, it is the same row.

    Args:
        trial_id: whose network.
        asked: see `attribution_settings`.
    """
    return digest(["attribution", trial_id, *asked.values()])


def attribution_row(outcome: "AttributeOutcome", asked: Mapping[str, Any]) -> dict[str, Any]:
    """Where a network looks, as a row of `ATTRIBUTIONS`.

    Args:
        outcome: what was found.
        asked: see `attribution_settings`.
    """
    return {
        "attribution_id": attribution_id(outcome.trial_id, asked),
        "trial_id": outcome.trial_id,
        **asked,
        "background_used": outcome.background,
        "completeness_error": outcome.completeness_error,
        "points": list(outcome.points),
        "numerics_class": outcome.numerics_class,
        "code_version": code_version(),
        "finished_at": outcome.finished_at,
    }


def cell_row(cell: "Cell") -> dict[str, Any]:
    """A cell as a row of `CELLS`."""
    return {
        "trial_id": cell.trial_id,
        **{key: cell.column(key) for key in CELL_COLUMNS},
        **cell.parameters,
    }


def schedule_text(spec: "TrialSpec") -> str:
    """A schedule as JSON, with its teachers' rules by key."""
    return json.dumps(
        [
            {
                "epochs": segment.epochs,
                "hard": segment.objective.hard,
                "soft": segment.objective.soft,
                **(
                    {
                        "soft_loss": segment.objective.soft_loss,
                        "temperature": segment.objective.temperature,
                        "teachers": [
                            {
                                "rule": guide.teacher.key,
                                "pool": len(guide.teacher.pool),
                                "select_on": guide.teacher.select_on,
                                "weight": guide.weight,
                            }
                            for guide in segment.objective.guides
                        ],
                    }
                    if segment.objective.guides
                    else {}
                ),
                **({"terms": str(terms)} if str(terms := segment.objective.terms) else {}),
                **({"trains": "head"} if segment.objective.trains == "head" else {}),
            }
            for segment in spec.schedule
        ]
    )


def table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of a schema.

    Raises:
        ValueError: for a row with a column that the schema does not have.
    """
    unknown = set().union(*rows).difference(schema.names)
    if unknown:
        raise ValueError(f"columns {sorted(unknown)} are not part of the schema")
    return pa.Table.from_pylist(rows, schema=schema)


def tuples(rows: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Rows in the order of the columns; mappings, as `to_pylist` makes them, take far longer."""
    return zip(*(column.to_pylist() for column in rows.columns), strict=True)


@functools.cache
def code_version() -> str:
    """The version of this package."""
    try:
        return importlib.metadata.version("distillation-sweep")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


__all__ = [
    "ATTEMPTS", "ATTRIBUTIONS", "CELLS", "EVALUATIONS", "ROBUSTNESS_OF", "RUNS", "TRIALS", "Attempt",
    "FailureKind", "attribution_id", "attribution_row", "attribution_settings", "cell_row", "code_version", "evaluation_id", "schedule_text", "table", "trial_row", "trial_words", "tuples",
]  # fmt: skip
