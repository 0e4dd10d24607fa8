"""What goes to a worker and what comes back; values only, free of torch.

What other tasks need of an outcome is its `product`: it goes from worker to worker, through shared
memory or the object store of the cluster, and the rest comes back to whoever gave the task.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import data
from trials.attack_settings import NO_ATTACKS, Attacks
from trials.attribution_settings import AttributionSettings
from trials.spec import TrialSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from data.masks import Masks


@dataclass(frozen=True)
class Measures:
    """What is measured of a trained network; no part of a trial's identity.

    Attributes:
        attacks: what its robustness is measured against, at the end.
        every_epochs: evaluate after every n epochs as well; 0 only at the end.
        validation: whether robustness is measured on the validation split, too.
    """

    attacks: Attacks = NO_ATTACKS
    every_epochs: int = 0
    validation: bool = False


@dataclass(frozen=True)
class StageTask:
    """One piece of work for a worker.

    Attributes:
        spec: the training; its schedule ends where the stage ends.
        start_epoch: where the stage begins; above 0 a snapshot of that epoch is handed in.
        ends_trial: whether a trial ends here and is to be evaluated.
        keep_weights: whether the trained weights are returned where a trial ends, here or early.
        hand_over: whether other stages go on from here and need the snapshot.
        measures: what to measure where a trial ends, here or early.
        teachers: for each teacher rule of the stage, by its key, the trial that was chosen.
        path_teachers: the same for all stages up to this one, for the record.
        pause_after_s: seconds of training after which the worker stops at the next epoch boundary
            and hands back what it has, so that it can be made durable; None trains to the end.
    """

    spec: TrialSpec
    start_epoch: int
    ends_trial: bool
    keep_weights: bool
    hand_over: bool
    measures: Measures = Measures()
    teachers: Mapping[str, str] = field(default_factory=dict)
    path_teachers: Mapping[str, str] = field(default_factory=dict)
    pause_after_s: float | None = None

    @property
    def data(self) -> data.DataSpec:
        """The rows it trains on."""
        return self.spec.data

    @property
    def key(self) -> str:
        """The stage's key, which is the id of the trial that ends with it."""
        return self.spec.trial_id


@dataclass(frozen=True)
class ChosenTeacher:
    """A trained teacher, with its weights as the content of a safetensors file."""

    trial_id: str
    data: data.DataSpec
    model: str
    weights: bytes = field(repr=False)


@dataclass(frozen=True)
class LoadTask:
    """Loads a dataset once, for all workers."""

    data: data.DataSpec


@dataclass(frozen=True)
class TeachTask:
    """Asks a frozen teacher once for its outputs on the training rows of all its students.

    Attributes:
        teacher: who is asked.
        data: the students' data.
    """

    teacher: ChosenTeacher
    data: data.DataSpec


@dataclass(frozen=True, eq=False)
class TeacherOutputs:
    """What a teacher says about each training row, in eval mode.

    Attributes:
        trial_id: the teacher.
        values: `[training rows, k]`, float32; may lie in memory that other processes read.
    """

    trial_id: str
    values: "NDArray[np.float32]" = field(repr=False)


Teaching = TeacherOutputs | ChosenTeacher
"""What a stage is given of a teacher: what it says, or the teacher itself."""


@dataclass(frozen=True)
class Prepared:
    """What a `LoadTask` or a `TeachTask` leaves.

    Attributes:
        product: the dataset as `data.shared.SharedData`, or `TeacherOutputs`.
    """

    product: Any = field(repr=False)


@dataclass(frozen=True)
class TrialResult:
    """What was measured of one trial.

    Times count the whole training, as if it had run alone, but for `stage_s` and `device_s`, which
    count its last stage.

    `metric` is accuracy in percent, or mean squared error on standardised targets. A training
    that diverged has its losses up to there and no metric.

    `epochs_run` epochs were trained. Where the early-stop rule ended the training, `stopped_epoch`
    is their number. `best_epoch` is the number of epochs after which what the rule monitors was
    best; the metrics are those after it if the recipe restores the best epoch, else those at the
    end. Losses and curve go to the end in any case.

    `zero_gradients_percent` of the test samples have a gradient of exactly zero by their input; None
    where no attack that follows gradients was asked for.

    `validation_robustness` is what `robustness` is, on the validation split; None where it was not
    asked for. `perturbed` counts what the network says of the training rows whose labels were
    perturbed, see `trials.label_correction`; None where none were.
    """

    status: str
    metric_name: str
    test_metric: float | None
    test_loss: float | None
    validation_metric: float | None
    validation_loss: float | None
    mae: float | None
    r2: float | None
    train_loss: tuple[float, ...]
    train_loss_step: tuple[int, ...]
    steps_per_epoch: int
    curve: tuple[dict[str, float | int | str], ...]
    robustness: tuple[dict[str, float | str], ...]
    zero_gradients_percent: float | None
    per_class: tuple[dict[str, float | int], ...] | None
    confusion: tuple[tuple[int, ...], ...] | None
    epochs_run: int
    diverged_epoch: int | None
    stopped_epoch: int | None
    best_epoch: int | None
    teacher_trial_ids: tuple[str, ...]
    wall_s: float
    train_s: float
    evaluate_s: float
    stage_s: float
    device_s: float
    peak_memory_bytes: int
    device_name: str
    numerics_class: str
    data_fingerprint: str
    finished_at: datetime
    validation_robustness: tuple[dict[str, float | str], ...] | None = None
    perturbed: dict[str, int] | None = None


@dataclass(frozen=True)
class StageOutcome:
    """What a stage leaves: a result where a trial ends, and what the next ones need.

    A training that diverged or stopped early leaves the result of every trial that was to go on
    from here.

    Attributes:
        key: of the stage.
        epoch: epochs done; below the stage's end where it paused or ended early.
        diverged_epoch: the epoch in which the loss stopped being finite.
        result: where a trial ended.
        paused: whether it stopped before its end only to hand over what it has.
        weights: the content of a safetensors file, where they are kept.
        product: the snapshot, where another stage goes on from here or this one paused.
        product_bytes: its size.
        train_s: seconds of training in the whole path up to here.
        stopped_epoch: the epoch after which the early-stop rule ended the training.
        worker_s: seconds of its worker's time, where the worker did other stages at the same time;
            None: all of the time that it took.
    """

    key: str
    epoch: int
    diverged_epoch: int | None
    result: TrialResult | None
    paused: bool = False
    weights: bytes | None = field(repr=False, default=None)
    product: bytes | None = field(repr=False, default=None)
    product_bytes: int = 0
    train_s: float = 0.0
    stopped_epoch: int | None = None
    worker_s: float | None = None

    @property
    def ended_early(self) -> bool:
        """Whether nothing goes on from here."""
        return self.diverged_epoch is not None or self.stopped_epoch is not None


@dataclass(frozen=True)
class EvaluateTask:
    """An evaluation of a network that is trained already; its weights are handed in.

    Attributes:
        trial_id: the trial it belongs to.
        data: its data.
        model: its network.
        attacks: what to measure it under on the test split.
        seed: of the trial, from which noise is drawn.
        validation: what to measure it under on the validation split.
    """

    trial_id: str
    data: data.DataSpec
    model: str
    attacks: Attacks
    seed: int
    validation: Attacks = NO_ATTACKS


@dataclass(frozen=True)
class EvaluateOutcome:
    """What an evaluation leaves: `{"attack", "epsilon", "value"}` for each strength.

    `points` are those of the test split, `validation_points` of the validation split.
    `zero_gradients_percent` is that of a `TrialResult`.
    """

    trial_id: str
    points: tuple[dict[str, float | str], ...]
    zero_gradients_percent: float | None
    numerics_class: str
    finished_at: datetime
    validation_points: tuple[dict[str, float | str], ...] = ()
    product: None = None


@dataclass(frozen=True)
class AttributeTask:
    """Asks where a network that is trained already looks; its weights are handed in.

    Attributes:
        trial_id: the trial it belongs to.
        data: its data, images with classes.
        model: its network.
        seed: of the trial.
        settings: how the pixels of how many images are weighed.
        masks: where the objects are, of all test rows; None finds them by `data.segment`.
    """

    trial_id: str
    data: data.DataSpec
    model: str
    seed: int
    settings: AttributionSettings
    masks: "Masks | None" = None


@dataclass(frozen=True)
class AttributeOutcome:
    """Where a network looks.

    Attributes:
        trial_id: whose network.
        points: for each image the fields of `trials.attribution.ImageAttribution`.
        background: training images they were compared with.
        completeness_error: see `trials.attribution.Attribution`.
    """

    trial_id: str
    points: tuple[dict[str, float | int | None], ...] = field(repr=False)
    background: int
    completeness_error: float
    numerics_class: str
    finished_at: datetime
    product: None = None
