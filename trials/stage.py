"""What a worker does with a task: train a stage, evaluate, attribute, load a dataset, ask a teacher.

A stage goes from a snapshot to the end of a schedule, and is evaluated where a trial ends. A
`Workshop` is what a warm worker keeps between tasks: the device, datasets, and the teachers'
outputs for a dataset. Datasets and outputs that one worker has made are handed to all others.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

import data
from data.load import LoadedData, class_mask, load
from data.masks import require_fit
from data.shared import SharedData, adopt, read_only_tensor, share
from trials.attack_settings import NO_ATTACKS, Attacks
from trials.attribution import attribute
from trials.course import Trained
from trials.device import NumericsClass, numerics_class, peak_memory_bytes, reset_peak_memory
from trials.engine import Engine, engine_for
from trials.evaluate import Evaluation, evaluate, outputs
from trials.label_correction import correction_of
from trials.masked import masked
from trials.metrics import ClassificationMetrics, RegressionMetrics
from trials.snapshot import Snapshot
from trials.spec import TrialSpec
from trials.task import (
    AttributeOutcome,
    AttributeTask,
    ChosenTeacher,
    EvaluateOutcome,
    EvaluateTask,
    LoadTask,
    Measures,
    Prepared,
    StageOutcome,
    StageTask,
    TeacherOutputs,
    Teaching,
    TeachTask,
    TrialResult,
)
from trials.train import steps_per_epoch, train
from trials.weights import restore, to_bytes

K = TypeVar("K")
V = TypeVar("V")


class _Recent(Generic[K, V]):
    """Keeps the values used last, up to a number."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K, make: Callable[[], V]) -> V:
        if key not in self._values:
            self._values[key] = make()
            while len(self._values) > self._limit:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]

    def peek(self, key: K) -> V | None:
        return self._values.get(key)


class Workshop:
    """What a worker process keeps between stages."""

    def __init__(
        self,
        device: torch.device,
        data_dir: Path | None = None,
        device_share: float = 1.0,
        kept_datasets: int = 2,
        kept_teachers: int = 12,
        engine: Engine | None = None,
    ) -> None:
        """Sets up a workshop.

        Args:
            device: where to train.
            data_dir: where datasets lie; None is the default place.
            device_share: the part of the device that one trial is charged for.
            kept_datasets: datasets held in memory at a time.
            kept_teachers: teachers whose outputs are held in memory at a time.
            engine: how training steps are executed, see `trials.engine.engine_for`.
        """
        self.device = device
        self.device_share = device_share
        self._engine = engine
        asked = None if engine == "lanes" else engine
        self.numerics: NumericsClass = numerics_class(device, asked)
        self._data_dir = data_dir
        self._datasets: _Recent[data.DataSpec, LoadedData] = _Recent(kept_datasets)
        self._offered: _Recent[data.DataSpec, SharedData] = _Recent(kept_datasets)
        self._teachers: _Recent[tuple[str, data.DataSpec], Tensor] = _Recent(kept_teachers)

    def engine_of(self, spec: TrialSpec) -> Engine:
        """How the training steps of a trial are executed here."""
        return engine_for(self.device.type, spec, self._engine)

    def numerics_of(self, spec: TrialSpec) -> NumericsClass:
        """Where a trial has the bits that it has here."""
        return replace(self.numerics, engine=self.engine_of(spec))

    def adopt(self, spec: data.DataSpec, shared: SharedData) -> None:
        """Offers a dataset that another worker loaded, for when it is asked for."""
        self._offered.get(spec, lambda: shared)

    def dataset(self, spec: data.DataSpec) -> LoadedData:
        """A dataset on the device: as it was offered, else loaded here."""

        def make() -> LoadedData:
            shared = self._offered.peek(spec)
            loaded = load(spec, self._data_dir) if shared is None else adopt(shared)
            return loaded.to(self.device)

        return self._datasets.get(spec, make)

    def load(self, spec: data.DataSpec) -> SharedData:
        """A dataset for other workers, in the memory of the CPU."""
        return share(load(spec, self._data_dir))

    def teacher_outputs(self, outputs: TeacherOutputs, student_data: data.DataSpec) -> Tensor:
        """A teacher's outputs for the student's training rows, on the device.

        Returns:
            `[training rows, k]`, not to be written to.
        """
        return self._teachers.get(
            (outputs.trial_id, student_data),
            lambda: read_only_tensor(outputs.values).to(self.device),
        )


def run_task(
    task: StageTask | EvaluateTask | AttributeTask | LoadTask | TeachTask,
    start: bytes | None,
    teachers: Sequence[Teaching],
    workshop: Workshop,
) -> StageOutcome | EvaluateOutcome | AttributeOutcome | Prepared:
    """Does what a task asks for.

    Args:
        task: what to do.
        start: the state to begin with: a snapshot, or weights; None for neither.
        teachers: the outputs of the teachers that a stage names.
        workshop: what the worker keeps.
    """
    match task:
        case StageTask():
            return run_stage(task, start, teachers, workshop)
        case EvaluateTask():
            return evaluate_trained(task, start, workshop)
        case AttributeTask():
            return attribute_trained(task, start, workshop)
        case LoadTask():
            return Prepared(workshop.load(task.data))
        case TeachTask():
            return Prepared(ask_teacher(task, workshop))


def ask_teacher(task: TeachTask, workshop: Workshop) -> TeacherOutputs:
    """A teacher's outputs for the training rows of its students, computed in eval mode.

    Raises:
        WeightsError: where its weights are damaged.
    """
    loaded = workshop.dataset(task.data)
    teacher = restored(task.teacher).to(workshop.device)
    for mask in (class_mask(task.teacher.data), class_mask(task.data)):
        teacher = masked(teacher, None if mask is None else mask.to(workshop.device))
    found = outputs(teacher, loaded.train, loaded.inputs)
    return TeacherOutputs(task.teacher.trial_id, found.cpu().numpy())


def restored(teacher: ChosenTeacher) -> nn.Module:
    """A teacher's network, on the CPU.

    Raises:
        WeightsError: where its weights are damaged.
    """
    source = f"weights of teacher {teacher.trial_id}"
    return restore(teacher.data, teacher.model, teacher.weights, source)


def run_stage(
    task: StageTask, start: bytes | None, teachers: Sequence[Teaching], workshop: Workshop
) -> StageOutcome:
    """Trains a stage and evaluates the trial that ends with it, if one does.

    A training that diverges or stops early in the stage ends every trial there, and is evaluated
    as they would be.

    Args:
        task: what to do.
        start: the snapshot to go on from, as bytes; None where the stage starts at epoch 0.
        teachers: the outputs of the teachers that `task.teachers` names.
        workshop: what the worker keeps.
    """
    reset_peak_memory(workshop.device)
    begun = BegunStage(task, start, teachers, workshop)
    trained = train(
        task.spec,
        begun.loaded,
        begun.teachers,
        start=begun.start,
        device=workshop.device,
        observe_every=task.measures.every_epochs,
        observer=begun.observe,
        pause_after_s=task.pause_after_s,
        engine=workshop.engine_of(task.spec),
        networks=begun.networks,
    )
    return begun.end(trained)


class BegunStage:
    """A stage whose inputs are there and whose training is someone else's.

    Attributes:
        task: what to do.
        loaded: its data, on the device.
        teachers: outputs for the training rows, by the key of the teacher's rule.
        networks: teachers themselves, on the CPU, by the same.
        start: what to go on from.
    """

    def __init__(
        self,
        task: StageTask,
        start: bytes | None,
        teachers: Sequence[Teaching],
        workshop: Workshop,
    ) -> None:
        """Reads what a stage is given; see `run_stage`."""
        self._began, self._processor_began = time.perf_counter(), time.process_time()
        self._workshop = workshop
        self.task = task
        self.loaded = workshop.dataset(task.spec.data)
        said = {
            t.trial_id: workshop.teacher_outputs(t, task.spec.data)
            for t in teachers
            if isinstance(t, TeacherOutputs)
        }
        there = {t.trial_id: t for t in teachers if isinstance(t, ChosenTeacher)}
        chosen = task.teachers.items()
        self.teachers = {rule: said[trial_id] for rule, trial_id in chosen if trial_id in said}
        self.networks = {
            rule: restored(there[trial_id]) for rule, trial_id in chosen if trial_id in there
        }
        self.start = Snapshot.from_bytes(start) if start is not None else None
        self._read_s = time.perf_counter() - self._began

    def observe(self, epoch: int, model: nn.Module) -> dict[str, float | int | str]:
        """What the curve has of an epoch."""
        split = "test" if self.loaded.validation is None else "validation"
        metrics = _evaluate(model, self.loaded, split).metrics
        return {"epoch": epoch, "split": split, "metric": metrics.metric, "loss": metrics.loss}

    def end(self, trained: Trained, shared_s: float | None = None) -> StageOutcome:
        """Evaluates the trial that ends with the stage, if one does.

        Args:
            trained: what its training left.
            shared_s: seconds that its training had of the device, where it shared it with others
                of this worker; None: all the time since the stage began.
        """
        ended_training = time.perf_counter()
        task, spec, workshop = self.task, self.task.spec, self._workshop
        device, loaded = workshop.device, self.loaded
        progress = trained.snapshot.progress.trained_in(str(workshop.numerics_of(spec)))
        state = replace(trained.snapshot, progress=progress)
        result = None
        diverged = progress.diverged_epoch is not None
        stopped_epoch = state.early_stop.stopped_epoch
        ended_early = diverged or stopped_epoch is not None
        paused = state.epoch < spec.epochs and not ended_early
        ends_trial = ended_early or (task.ends_trial and not paused)
        if ends_trial:
            evaluate_began = time.perf_counter()
            test, validation = (
                (None, None)
                if diverged
                else _final(trained.model, loaded, task.measures, spec.seed)
            )
            if test is not None and not (
                _finite(test) and (validation is None or _finite(validation))
            ):
                test, validation, diverged = None, None, True
            evaluate_s = time.perf_counter() - evaluate_began
            stage_s = time.perf_counter() - self._began
            processor_s = time.process_time() - self._processor_began
            if shared_s is not None:
                device_s = (self._read_s + shared_s + evaluate_s) * workshop.device_share
            elif device.type == "cpu":
                device_s = processor_s
            else:
                device_s = stage_s * workshop.device_share
            result = TrialResult(
                status="diverged" if diverged else "done",
                metric_name="accuracy" if loaded.task == "classification" else "mse",
                **_figures(test, validation, task.measures, self._corrected(trained, test)),
                train_loss=progress.train_loss,
                train_loss_step=progress.train_loss_step,
                steps_per_epoch=steps_per_epoch(spec.recipe, len(loaded.train.y)),
                curve=progress.curve,
                epochs_run=state.epoch,
                diverged_epoch=progress.diverged_epoch,
                stopped_epoch=stopped_epoch,
                best_epoch=state.early_stop.best_epoch,
                teacher_trial_ids=_teachers_until(task, state.epoch),
                wall_s=progress.wall_s + evaluate_s,
                train_s=progress.wall_s,
                evaluate_s=evaluate_s,
                stage_s=stage_s,
                device_s=device_s,
                peak_memory_bytes=peak_memory_bytes(device),
                device_name=workshop.numerics.device,
                numerics_class=", then ".join(progress.numerics),
                data_fingerprint=loaded.fingerprint,
                finished_at=datetime.now(UTC),
            )
        goes_on = paused or (task.hand_over and progress.diverged_epoch is None)
        snapshot = state.to_bytes() if goes_on else None
        keeps = task.keep_weights and ends_trial and not diverged
        weights = to_bytes(state.result) if keeps else None
        ending_s = time.perf_counter() - ended_training
        return StageOutcome(
            key=task.key,
            epoch=state.epoch,
            diverged_epoch=progress.diverged_epoch,
            result=result,
            paused=paused,
            weights=weights,
            product=snapshot,
            product_bytes=len(snapshot or b""),
            train_s=progress.wall_s,
            stopped_epoch=stopped_epoch,
            worker_s=None if shared_s is None else self._read_s + shared_s + ending_s,
        )

    def _corrected(self, trained: Trained, test: Evaluation | None) -> dict[str, int] | None:
        """What the network says of training rows whose labels were perturbed, if some were."""
        perturbed = self.loaded.perturbed
        if perturbed is None or test is None:
            return None
        model = masked(trained.model, self.loaded.class_mask)
        return correction_of(
            model, self.loaded.train, self.loaded.inputs, perturbed.rows, perturbed.labels
        )


def _teachers_until(task: StageTask, epoch: int) -> tuple[str, ...]:
    """The teachers that took part; a later one makes no difference to a training that ended."""
    rules = task.spec.shortened(epoch).rules
    return tuple(dict.fromkeys(task.path_teachers[rule.key] for rule in rules))


def _evaluate(
    model: nn.Module,
    loaded: LoadedData,
    split: str,
    attacks: Attacks = NO_ATTACKS,
    seed: int = 0,
) -> Evaluation:
    return evaluate(
        model,
        loaded.split(split),
        task=loaded.task,
        inputs=loaded.inputs,
        low=loaded.input_low,
        high=loaded.input_high,
        under=attacks,
        seed=seed,
        mask=loaded.class_mask,
    )


def _final(
    model: nn.Module, loaded: LoadedData, measures: Measures, seed: int
) -> tuple[Evaluation, Evaluation | None]:
    validation = None
    if loaded.validation is not None:
        under = measures.attacks if measures.validation else NO_ATTACKS
        validation = _evaluate(model, loaded, "validation", under, seed)
    return _evaluate(model, loaded, "test", measures.attacks, seed), validation


def _finite(evaluation: Evaluation) -> bool:
    metrics = evaluation.metrics
    return bool(torch.isfinite(torch.tensor([metrics.metric, metrics.loss])).all())


def _figures(
    test: Evaluation | None,
    validation: Evaluation | None,
    measures: Measures,
    perturbed: dict[str, int] | None = None,
) -> dict[str, Any]:
    """The fields of a result that come from evaluations."""
    metrics = None if test is None else test.metrics
    regression = metrics if isinstance(metrics, RegressionMetrics) else None
    classes = metrics if isinstance(metrics, ClassificationMetrics) else None
    points = () if test is None else test.robustness
    return {
        "test_metric": metrics.metric if metrics else None,
        "test_loss": metrics.loss if metrics else None,
        "validation_metric": validation.metrics.metric if validation else None,
        "validation_loss": validation.metrics.loss if validation else None,
        "mae": regression.mae if regression else None,
        "r2": regression.r2 if regression else None,
        "robustness": tuple(asdict(point) for point in points),
        "validation_robustness": (
            tuple(asdict(point) for point in validation.robustness)
            if validation and measures.validation
            else None
        ),
        "perturbed": perturbed,
        "zero_gradients_percent": test.zero_gradients_percent if test else None,
        "per_class": _per_class(classes) if classes else None,
        "confusion": classes.confusion if classes else None,
    }


def _per_class(metrics: ClassificationMetrics) -> tuple[dict[str, float | int], ...]:
    columns = zip(metrics.precision, metrics.recall, metrics.f1, metrics.support, strict=True)
    return tuple(
        {"label": label, "precision": p, "recall": r, "f1": f1, "support": support}
        for label, (p, r, f1, support) in enumerate(columns)
    )


def evaluate_trained(
    task: EvaluateTask, weights: bytes | None, workshop: Workshop
) -> EvaluateOutcome:
    """Measures a trained network under attacks; what `run_stage` is to a stage.

    Args:
        task: what to measure.
        weights: the content of its safetensors file.
        workshop: what the worker keeps.

    Raises:
        ValueError: without weights.
    """
    if weights is None:
        raise ValueError(f"trial {task.trial_id} has no weights to evaluate")
    loaded = workshop.dataset(task.data)
    model = restore(task.data, task.model, weights, f"weights of trial {task.trial_id}")
    model = model.to(workshop.device)
    found = {
        split: _evaluate(model, loaded, split, under, task.seed)
        for split, under in (("test", task.attacks), ("validation", task.validation))
        if under.points
    }
    points = {
        split: tuple(asdict(point) for point in measured.robustness)
        for split, measured in found.items()
    }
    return EvaluateOutcome(
        trial_id=task.trial_id,
        points=points.get("test", ()),
        validation_points=points.get("validation", ()),
        zero_gradients_percent=found["test"].zero_gradients_percent if "test" in found else None,
        numerics_class=str(workshop.numerics),
        finished_at=datetime.now(UTC),
    )


def attribute_trained(
    task: AttributeTask, weights: bytes | None, workshop: Workshop
) -> AttributeOutcome:
    """Finds where a trained network looks.

    Args:
        task: what to weigh.
        weights: the content of its safetensors file.
        workshop: what the worker keeps.

    Raises:
        ValueError: without weights, or where data or masks do not fit; see `attribute`.
    """
    if weights is None:
        raise ValueError(f"trial {task.trial_id} has no weights to look into")
    loaded = workshop.dataset(task.data)
    if task.masks is not None:
        require_fit(task.masks, task.data, len(loaded.test))
    model = restore(task.data, task.model, weights, f"weights of trial {task.trial_id}")
    found = attribute(
        model.to(workshop.device),
        loaded,
        task.settings,
        seed=task.seed,
        masks=None if task.masks is None else task.masks.unpacked(),
    )
    return AttributeOutcome(
        trial_id=task.trial_id,
        points=tuple(asdict(image) for image in found.images),
        background=found.background,
        completeness_error=found.completeness_error,
        numerics_class=str(workshop.numerics),
        finished_at=datetime.now(UTC),
    )
