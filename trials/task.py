"""What goes to a worker and what comes back; values only, free of torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import data
from trials.spec import TrialSpec


@dataclass(frozen=True)
class Measures:
    """What is measured of a trained network; no part of a trial's identity.

    Attributes:
        fgsm_epsilons: step sizes of the attack, in the space of the network's inputs.
        every_epochs: evaluate after every n epochs as well; 0 only at the end.
    """

    fgsm_epsilons: tuple[float, ...] = ()
    every_epochs: int = 0


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
    """

    spec: TrialSpec
    start_epoch: int
    ends_trial: bool
    keep_weights: bool
    hand_over: bool
    measures: Measures = Measures()
    teachers: Mapping[str, str] = field(default_factory=dict)
    path_teachers: Mapping[str, str] = field(default_factory=dict)

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


@dataclass(frozen=True)
class StageOutcome:
    """What a stage leaves: a result where a trial ends, and what the next ones need.

    A training that diverged or stopped early leaves the result of every trial that was to go on
    from here.
    """

    key: str
    epoch: int
    diverged_epoch: int | None
    result: TrialResult | None
    weights: bytes | None = field(repr=False, default=None)
    snapshot: bytes | None = field(repr=False, default=None)
    stopped_epoch: int | None = None

    @property
    def ended_early(self) -> bool:
        """Whether nothing goes on from here."""
        return self.diverged_epoch is not None or self.stopped_epoch is not None


@dataclass(frozen=True)
class EvaluateTask:
    """An evaluation of a network that is trained already; its weights are handed in.

    Attributes:
        trial_id: the trial it belongs to.
        data: its data; the test split is measured.
        model: its network.
        fgsm_epsilons: strengths to measure.
    """

    trial_id: str
    data: data.DataSpec
    model: str
    fgsm_epsilons: tuple[float, ...]
    hand_over: bool = False


@dataclass(frozen=True)
class EvaluateOutcome:
    """What an evaluation leaves: `{"attack", "epsilon", "value"}` for each strength."""

    trial_id: str
    points: tuple[dict[str, float | str], ...]
    numerics_class: str
    finished_at: datetime
    snapshot: None = None
