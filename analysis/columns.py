"""The words of a result table: which columns are parameters, which are results.

A table of cells has one row per *requested* cell, joined with its trial. Its columns are

- `KEY` and `seed`: what was asked. `teacher`, `alpha`, `switch_epoch` and `temperature` say how a
  student is guided and are null for teachers and baselines;
- results (`RESULTS`, or a name that starts with one of `RESULT_PREFIXES`): null until
  `status == "done"`;
- everything else that holds plain values: further swept parameters (`learning_rate`, `init`, ...).
"""

from typing import Literal

Role = Literal["teacher", "baseline", "student"]
ROLES: tuple[Role, ...] = ("baseline", "student", "teacher")
START = "start"
"""The role of a training that students begin with: not compared with anything, so left out."""

GUIDANCE = ("teacher", "alpha", "switch_epoch", "temperature")
"""How a student is guided; a baseline has none of it."""

OF_STUDENTS = ("start", "begin_epoch", "ramp", "teacher_epochs")
"""Further parameters that say how a student begins and is guided: a baseline has none of these
either, also where only some students do (a later grid sweeps one that the first leaves out)."""

KEY = ("dataset", "role", "model", *GUIDANCE)
"""The columns that always tell configurations apart (the seed does not)."""

EPSILON_DECIMALS = 12
"""To which strengths of an attack are one: 0.1 + 0.2 and 0.3 are."""

REQUIRED = ("dataset", "role", "model", "seed", "metric_name", "test_metric")

RESULTS = frozenset(
    {
        "trial_id",
        "metric_name",
        "test_metric",
        "test_loss",
        "validation_metric",
        "train_loss",
        "train_loss_step",
        "steps_per_epoch",
        "robustness",
        "zero_gradients_percent",
        "per_class",
        "confusion",
        "perturbed",
        "attributions",
        "epochs_run",
        "selected_on",
        "wall_s",
        "device_s",
        "device_name",
        "train_s",
        "evaluate_s",
        "stage_s",
        "stage_key",
        "curve",
        "diverged_epoch",
        "stopped_epoch",
        "best_epoch",
        "schedule",
        "numerics_class",
        "numerics_version",
        "code_version",
        "data_fingerprint",
        "teacher_trial_id",
        "teacher_trial_ids",
        "finished_at",
        "started_at",
        "status",
        "study",
        "cell",
        "cell_id",
        "mae",
        "r2",
        "schema_version",
        "attempts",
        "node",
    }
)
RESULT_PREFIXES = (
    "test_", "validation_", "evaluation_", "peak_", "train_loss",
    "fgsm_", "fgsm-", "pgd_", "pgd-", "input_noise", "weight_noise",
)  # fmt: skip

_DIRECTION = {"accuracy": 1, "r2": 1, "mse": -1, "mae": -1, "loss": -1}


def direction(metric_name: str) -> int:
    """+1 where a higher metric is better, -1 where a lower one is.

    Raises:
        ValueError: For a metric whose direction is not known.
    """
    try:
        return _DIRECTION[metric_name]
    except KeyError:
        allowed = ", ".join(sorted(_DIRECTION))
        raise ValueError(f"metric_name: {metric_name!r} is not one of {allowed}") from None


def is_result(column: str) -> bool:
    """Whether a column holds something a trial gave, as against something that was asked for."""
    return column in RESULTS or column.startswith(RESULT_PREFIXES)
