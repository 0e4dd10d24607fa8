import dataclasses
import math
import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from data import DataSpec
from data.load import LoadedData, load
from tests.trials.specs import OTHER_RULE, RULE, guided
from trials import stage as stage_module
from trials.attack_settings import Attacks
from trials.evaluate import evaluate
from trials.snapshot import Snapshot
from trials.spec import HARD, EarlyStop, LrSchedule, Recipe, Segment, TrialSpec, switched
from trials.stage import Workshop, ask_teacher, evaluate_trained, run_stage, run_task
from trials.task import (
    ChosenTeacher,
    EvaluateTask,
    LoadTask,
    Measures,
    StageOutcome,
    StageTask,
    TeacherOutputs,
    TeachTask,
    TrialResult,
)
from trials.weights import load_bytes, restore

DIGITS = DataSpec("digits", train_size=120, validation=0.1)
EPSILONS = (0.05, 0.2)


def table() -> DataSpec:
    return DataSpec("table", validation=0.2)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(torch.device("cpu"), tmp_path)


def task_of(spec: TrialSpec, **changes: object) -> StageTask:
    task = StageTask(spec, 0, ends_trial=True, keep_weights=True, hand_over=False)
    changes.setdefault("path_teachers", changes.get("teachers", {}))
    return replace(task, **changes)  # type: ignore[arg-type]


def student(switch_epoch: int = 2, epochs: int = 4) -> TrialSpec:
    schedule = switched(guided(0.3), switch_epoch, epochs)
    return TrialSpec(5, DIGITS, Recipe("medium", 32), schedule)


def trained(workshop: Workshop, seed: int = 7) -> ChosenTeacher:
    spec = TrialSpec(seed, DIGITS, Recipe("small", 32), (Segment(2),))
    weights = run_stage(task_of(spec), None, [], workshop).weights
    assert weights is not None
    return ChosenTeacher(spec.trial_id, DIGITS, "small", weights)


def chosen(workshop: Workshop, seed: int = 7) -> TeacherOutputs:
    return ask_teacher(TeachTask(trained(workshop, seed), DIGITS), workshop)


def result_of(outcome: StageOutcome) -> TrialResult:
    assert outcome.result is not None
    return outcome.result


def figures(result: TrialResult) -> dict[str, object]:
    """Everything that a trial id promises: all but times, memory and the clock."""
    measured = {
        "wall_s", "train_s", "evaluate_s", "stage_s", "device_s", "peak_memory_bytes", "finished_at"
    }  # fmt: skip
    return {
        field.name: getattr(result, field.name)
        for field in dataclasses.fields(result)
        if field.name not in measured
    }


# One trial, whatever the stages


def test_from_a_snapshot_is_from_scratch(workshop: Workshop) -> None:
    teacher = chosen(workshop)
    spec = student()
    measures = Measures(Attacks(EPSILONS), every_epochs=1)
    whole = task_of(spec, measures=measures, teachers={RULE.key: teacher.trial_id})
    trunk = replace(
        whole, spec=spec.shortened(2), ends_trial=False, keep_weights=False, hand_over=True
    )
    straight = run_stage(whole, None, [teacher], workshop)
    first = run_stage(trunk, None, [teacher], workshop)
    assert (first.key, first.epoch) == (trunk.spec.trial_id, 2)
    assert (first.result, first.weights, first.diverged_epoch) == (None, None, None)
    # The rest knows no teacher.
    rest = replace(whole, start_epoch=2, teachers={})
    forked = run_stage(rest, first.product, [], Workshop(torch.device("cpu"), workshop._data_dir))
    assert forked.key == straight.key == spec.trial_id
    assert forked.weights == straight.weights
    assert figures(result_of(forked)) == figures(result_of(straight))
    assert straight.product is None
    assert result_of(straight).teacher_trial_ids == (teacher.trial_id,)
    # Times count the whole training, not only the last stage.
    assert first.product is not None
    assert result_of(forked).train_s > Snapshot.from_bytes(first.product).progress.wall_s > 0


def test_a_stage_can_end_one_trial_and_start_others(workshop: Workshop) -> None:
    spec = TrialSpec(5, DIGITS, Recipe("small", 32), (Segment(3),))
    measures = Measures(Attacks(EPSILONS))
    found = run_stage(
        task_of(spec.shortened(1), hand_over=True, measures=measures), None, [], workshop
    )
    assert found.result is not None
    assert found.product is not None
    goes_on = run_stage(task_of(spec, start_epoch=1), found.product, [], workshop)
    alone = run_stage(task_of(spec), None, [], workshop)
    assert goes_on.weights == alone.weights
    assert figures(result_of(goes_on)) == figures(result_of(alone))


def test_measuring_on_the_way_changes_no_weight(workshop: Workshop) -> None:
    spec = TrialSpec(5, DIGITS, Recipe("medium", 32), (Segment(5),))
    plain = run_stage(task_of(spec), None, [], workshop)
    watched = run_stage(task_of(spec, measures=Measures(Attacks(EPSILONS), 2)), None, [], workshop)
    assert watched.weights == plain.weights
    assert result_of(watched).train_loss == result_of(plain).train_loss
    assert result_of(watched).test_metric == result_of(plain).test_metric
    assert result_of(plain).curve == result_of(plain).robustness == ()


# What is recorded


def test_rows_whose_labels_were_perturbed_are_counted(workshop: Workshop) -> None:
    # 80 of 200 rows. A network that fits all labels memorises them; one that hardly learns does not.
    rows = replace(DIGITS, train_size=200, label_noise=0.4)
    spec = TrialSpec(5, rows, Recipe("student", 32), (Segment(30),))
    outcome = run_stage(task_of(spec), None, [], workshop)
    found = result_of(outcome).perturbed
    assert found is not None
    assert outcome.weights is not None
    loaded = workshop.dataset(rows)
    model = restore(rows, "student", outcome.weights, "weights").eval()
    with torch.no_grad():
        said = model(loaded.inputs(loaded.train.x)).argmax(1)
    assert loaded.perturbed is not None
    at, true = loaded.perturbed.rows, loaded.perturbed.labels
    memorised = int((said[at] == loaded.train.y[at]).sum())
    corrected = int((said[at] == true).sum())
    assert memorised > 8  # a guess among ten classes
    assert found == {
        "rows": 80, "corrected": corrected, "memorised": memorised,
        "other": 80 - corrected - memorised,
    }  # fmt: skip
    clean = TrialSpec(5, DIGITS, Recipe("small", 32), (Segment(1),))
    assert result_of(run_stage(task_of(clean), None, [], workshop)).perturbed is None


def test_figures_of_some_classes_are_of_masked_outputs(workshop: Workshop) -> None:
    rows = DataSpec("digits", train_size=120, validation=0.1, classes=(3, 8))
    spec = TrialSpec(5, rows, Recipe("small", 32), (Segment(2),))
    outcome = run_stage(task_of(spec), None, [], workshop)
    found = result_of(outcome)
    loaded = workshop.dataset(rows)
    assert outcome.weights is not None
    model = restore(rows, "small", outcome.weights, "weights").eval()
    kept = torch.zeros(10)
    kept[[3, 8]] = 1
    with torch.no_grad():
        said = model(loaded.inputs(loaded.test.x)) * kept
    right = (said.argmax(1) == loaded.test.y).double().mean().item()
    assert found.test_metric == pytest.approx(100 * right)
    loss = nn.functional.cross_entropy(said.double(), loaded.test.y).item()
    assert found.test_loss == pytest.approx(loss, rel=1e-5)
    bare = evaluate(
        model, loaded.test, task="classification", inputs=loaded.inputs, low=-1, high=1
    ).metrics.loss
    assert abs(bare - loss) > 0.01  # without the mask it is another


def test_robustness_is_measured_on_the_validation_rows_where_that_is_asked_for(
    workshop: Workshop,
) -> None:
    spec = TrialSpec(5, DIGITS, Recipe("small", 32), (Segment(2),))
    under = Attacks(EPSILONS, weight_noise=(0.1,))
    plain = run_stage(task_of(spec, measures=Measures(under)), None, [], workshop)
    outcome = run_stage(
        task_of(spec, measures=Measures(under, validation=True)), None, [], workshop
    )
    found = result_of(outcome)
    assert outcome.weights is not None
    model = restore(DataSpec("digits"), "small", outcome.weights, "weights")
    loaded = workshop.dataset(DIGITS)
    assert loaded.validation is not None
    expected = evaluate(
        model, loaded.validation, task="classification", inputs=loaded.inputs, low=-1, high=1,
        under=under, seed=5,
    )  # fmt: skip
    assert found.validation_robustness == tuple(
        {"attack": p.attack, "epsilon": p.epsilon, "value": p.value} for p in expected.robustness
    )
    assert [p["attack"] for p in found.validation_robustness] == ["fgsm", "fgsm", "weight_noise"]
    assert found.validation_robustness != found.robustness
    without = replace(found, validation_robustness=None)
    assert figures(result_of(plain)) == figures(without)  # and nothing else is changed
    nothing = run_stage(task_of(spec, measures=Measures(validation=True)), None, [], workshop)
    assert result_of(nothing).validation_robustness == ()


@pytest.mark.parametrize(("validation", "split"), [(0.1, "validation"), (0.0, "test")])
def test_the_curve_is_measured_on_the_split_it_names(
    workshop: Workshop, validation: float, split: str
) -> None:
    rows = replace(DIGITS, validation=validation)
    spec = TrialSpec(5, rows, Recipe("small", 32), (Segment(5),))
    found = result_of(
        run_stage(task_of(spec, measures=Measures(every_epochs=2)), None, [], workshop)
    )
    assert [(p["epoch"], p["split"]) for p in found.curve] == [(2, split), (4, split)]
    four = result_of(run_stage(task_of(spec.shortened(4)), None, [], workshop))
    expected = (
        (four.validation_metric, four.validation_loss)
        if split == "validation"
        else (four.test_metric, four.test_loss)
    )
    assert (found.curve[-1]["metric"], found.curve[-1]["loss"]) == expected


def test_a_classifier_s_result_is_complete(workshop: Workshop) -> None:
    spec = TrialSpec(5, DIGITS, Recipe("medium", 32), (Segment(3),))
    before = datetime.now(UTC)
    outcome = run_stage(task_of(spec, measures=Measures(Attacks(EPSILONS))), None, [], workshop)
    found = result_of(outcome)
    assert (found.status, found.metric_name, found.diverged_epoch) == ("done", "accuracy", None)
    assert (found.epochs_run, found.steps_per_epoch) == (3, 4)
    assert found.train_loss_step == (4, 8, 12)
    assert len(found.train_loss) == 3
    assert (found.mae, found.r2, found.teacher_trial_ids) == (None, None, ())
    # All figures tell the same story about the 360 test digits.
    assert found.confusion is not None
    assert found.per_class is not None
    hits = sum(row[c] for c, row in enumerate(found.confusion))
    assert sum(map(sum, found.confusion)) == 360
    assert found.test_metric == pytest.approx(100 * hits / 360)
    assert [row["label"] for row in found.per_class] == list(range(10))
    assert [row["support"] for row in found.per_class] == [sum(row) for row in found.confusion]
    for label, row in enumerate(found.per_class):
        right = found.confusion[label][label]
        predicted = sum(other[label] for other in found.confusion)
        assert row["recall"] == pytest.approx(right / row["support"])
        assert row["precision"] == pytest.approx(right / predicted if predicted else 0)
    assert found.validation_metric is not None
    assert (found.validation_metric * 144 / 100) == pytest.approx(
        round(found.validation_metric * 144 / 100)
    )  # of the 144 validation digits
    assert [(p["attack"], p["epsilon"]) for p in found.robustness] == [
        ("fgsm", 0.05), ("fgsm", 0.2)
    ]  # fmt: skip
    assert found.test_metric is not None
    assert found.test_metric >= found.robustness[0]["value"] >= found.robustness[1]["value"]  # type: ignore[operator]
    assert found.data_fingerprint == workshop.dataset(DIGITS).fingerprint
    assert found.numerics_class == str(workshop.numerics)
    assert found.device_name == workshop.numerics.device
    assert found.wall_s == pytest.approx(found.train_s + found.evaluate_s)
    assert 0 < found.train_s < found.stage_s
    assert found.device_s > 0
    assert found.peak_memory_bytes > 2**20
    assert before <= found.finished_at <= datetime.now(UTC)
    assert found.finished_at.utcoffset() == timedelta(0)


def test_a_regression_s_result_is_complete(workshop: Workshop) -> None:
    spec = TrialSpec(5, table(), Recipe("plain", None, learning_rate=0.01), (Segment(30),))
    outcome = run_stage(task_of(spec, measures=Measures(Attacks((0.1,)))), None, [], workshop)
    found = result_of(outcome)
    assert (found.status, found.metric_name) == ("done", "mse")
    assert (found.confusion, found.per_class) == (None, None)
    assert found.test_metric == found.test_loss
    assert found.validation_metric == found.validation_loss != found.test_metric
    assert len(found.train_loss) == 30
    assert found.steps_per_epoch == 1
    # The figures by hand, from the weights that were handed back.
    rows = workshop.dataset(table())
    network = build("plain", rows, outcome.weights)
    with torch.no_grad():
        error = (network(rows.test.x) - rows.test.y).double()
    spread = (rows.test.y.double() - rows.test.y.double().mean()).square().mean().item()
    assert found.test_metric == pytest.approx(error.square().mean().item(), rel=1e-5)
    assert found.mae == pytest.approx(error.abs().mean().item(), rel=1e-5)
    assert found.r2 == pytest.approx(1 - error.square().mean().item() / spread, rel=1e-5)
    assert found.robustness[0]["value"] > found.test_metric  # type: ignore[operator]


def build(name: str, rows: LoadedData, weights: bytes | None) -> nn.Module:
    from models.initialise import build as make

    assert weights is not None
    network = make(rows.name, name, rows.input_shape, rows.outputs, "default", 0)
    load_bytes(network, weights)
    return network.eval()


def test_weights_are_returned_only_where_asked_for(workshop: Workshop) -> None:
    spec = TrialSpec(5, DIGITS, Recipe("small", 32), (Segment(1),))
    assert run_stage(task_of(spec, keep_weights=False), None, [], workshop).weights is None


def test_a_later_evaluation_is_that_of_the_trial(workshop: Workshop) -> None:
    spec = TrialSpec(5, DIGITS, Recipe("small", 32), (Segment(2),))
    outcome = run_stage(task_of(spec, measures=Measures(Attacks(EPSILONS))), None, [], workshop)
    later = EvaluateTask(spec.trial_id, DIGITS, "small", Attacks(EPSILONS), 0)
    found = evaluate_trained(later, outcome.weights, workshop)
    assert found.points == result_of(outcome).robustness
    assert found.validation_points == ()
    assert found.trial_id == spec.trial_id
    # On validation rows alone, or beside the test rows, it is what the training would have said.
    aside = run_stage(
        task_of(spec, measures=Measures(Attacks(EPSILONS), validation=True)), None, [], workshop
    )
    for under, share in ((Attacks(), False), (Attacks((0.05,)), True)):
        both = replace(later, attacks=under, validation=Attacks(EPSILONS))
        measured = evaluate_trained(both, outcome.weights, workshop)
        assert measured.validation_points == result_of(aside).validation_robustness
        assert len(measured.points) == len(under.points)
        assert (measured.zero_gradients_percent is not None) == share
    with pytest.raises(ValueError, match=f"{spec.trial_id} has no weights"):
        evaluate_trained(later, None, workshop)


# Teachers


def test_one_teacher_chosen_by_two_rules_is_handed_in_once(workshop: Workshop) -> None:
    teacher = chosen(workshop)
    spec = replace(student(), schedule=(Segment(2, guided(0.3, RULE, OTHER_RULE)),))
    rules = {rule.key: teacher.trial_id for rule in (RULE, OTHER_RULE)}
    both = run_stage(task_of(spec, teachers=rules), None, [teacher], workshop)
    alone = replace(spec, schedule=(Segment(2, guided(0.3)),))
    one = run_stage(
        task_of(alone, teachers={RULE.key: teacher.trial_id}), None, [teacher], workshop
    )
    assert result_of(both).train_loss == pytest.approx(result_of(one).train_loss, rel=1e-5)


def test_only_so_many_datasets_and_teachers_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[DataSpec] = []

    def counting(spec: DataSpec, folder: Path | None) -> LoadedData:
        loads.append(spec)
        return load(spec, folder)

    monkeypatch.setattr(stage_module, "load", counting)
    workshop = Workshop(torch.device("cpu"), tmp_path, kept_datasets=2, kept_teachers=1)
    a, b, c = (DataSpec("digits", train_size=size) for size in (10, 11, 12))
    for spec in (a, b, a, c, a, b):  # c pushes out b, which was used longest ago
        workshop.dataset(spec)
    assert loads == [a, b, c, b]
    moved: list[str] = []

    def moving(values: Any) -> torch.Tensor:
        moved.append(str(values[0, 0]))
        return torch.from_numpy(values)

    monkeypatch.setattr(stage_module, "read_only_tensor", moving)
    one, other = (TeacherOutputs(n, np.full((2, 1), int(n), np.float32)) for n in "12")
    for outputs in (one, one, other, one):
        workshop.teacher_outputs(outputs, DIGITS)
    assert moved == ["1.0", "2.0", "1.0"]


def test_a_dataset_that_another_worker_loaded_is_not_loaded_again(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = workshop.load(DIGITS)
    for x, y in shared.arrays.values():  # as they come out of shared memory
        x.flags.writeable = y.flags.writeable = False
    other = Workshop(torch.device("cpu"), tmp_path)
    monkeypatch.setattr(stage_module, "load", lambda *_: pytest.fail("it was loaded"))
    other.adopt(DIGITS, shared)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = other.dataset(DIGITS)
    monkeypatch.undo()
    expected = workshop.dataset(DIGITS)
    for field in dataclasses.fields(LoadedData):
        if field.name in ("train", "validation", "test"):
            one, two = found.split(field.name), expected.split(field.name)
            assert torch.equal(one.x, two.x)
            assert torch.equal(one.y, two.y)
        else:
            assert getattr(found, field.name) == getattr(expected, field.name)
    assert found.train.x.data_ptr() == shared.arrays["train"][0].ctypes.data, "it was copied"
    spec = student(0)
    assert run_stage(task_of(spec), None, [], other).weights == (
        run_stage(task_of(spec), None, [], workshop).weights
    )


def test_a_task_says_what_is_done(workshop: Workshop) -> None:
    loaded = run_task(LoadTask(DIGITS), None, [], workshop).product
    assert len(loaded.arrays["train"][0]) == 120
    asked = run_task(TeachTask(trained(workshop), DIGITS), None, [], workshop).product
    assert asked.values.shape == (120, 10)
    task = task_of(student(0))
    outcome = run_task(task, None, [], workshop)
    assert isinstance(outcome, StageOutcome)
    assert outcome.weights == run_stage(task, None, [], workshop).weights


@pytest.mark.parametrize("hand_over", [False, True])
def test_a_stage_that_pauses_goes_on_as_if_it_had_not(workshop: Workshop, hand_over: bool) -> None:
    teacher = chosen(workshop)
    spec = student(2, 4)
    task = task_of(
        spec, measures=Measures(Attacks(EPSILONS), 1), teachers={RULE.key: teacher.trial_id},
        hand_over=hand_over,
    )  # fmt: skip
    straight = run_stage(task, None, [teacher], workshop)
    start, pieces = None, []
    for _ in range(4):
        pieces.append(run_stage(replace(task, pause_after_s=0.0), start, [teacher], workshop))
        start = pieces[-1].product
    *paused, last = pieces
    assert [piece.epoch for piece in pieces] == [1, 2, 3, 4]
    assert [piece.paused for piece in pieces] == [True, True, True, False]
    assert all((p.result, p.weights) == (None, None) for p in paused)
    assert all(p.product_bytes == len(p.product or b"") > 0 for p in paused)
    times = [piece.train_s for piece in pieces]
    assert times == sorted(times)
    assert times[0] > 0
    assert (last.product is not None) == hand_over
    assert last.weights == straight.weights
    assert figures(result_of(last)) == figures(result_of(straight))


def test_a_teacher_is_frozen_and_in_eval_mode(workshop: Workshop) -> None:
    # Its network has dropout, and its outputs are those without.
    teacher = trained(workshop)
    rows = workshop.dataset(DIGITS)
    network = build("small", rows, teacher.weights)
    with torch.no_grad():
        expected = network(rows.inputs(rows.train.x))
    told = ask_teacher(TeachTask(teacher, DIGITS), workshop)
    assert told.trial_id == teacher.trial_id
    found = workshop.teacher_outputs(told, DIGITS)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert not found.requires_grad
    before = found.clone()
    run_stage(task_of(student(), teachers={RULE.key: teacher.trial_id}), None, [told], workshop)
    assert torch.equal(workshop.teacher_outputs(told, DIGITS), before)


def test_a_teacher_matters_while_it_guides(workshop: Workshop) -> None:
    one, other = chosen(workshop), chosen(workshop, seed=8)

    def weights(teacher: TeacherOutputs, switch_epoch: int) -> bytes | None:
        spec = student(switch_epoch)
        task = task_of(spec, teachers={rule.key: teacher.trial_id for rule in spec.rules})
        return run_stage(task, None, [teacher], workshop).weights

    assert weights(one, 0) == weights(other, 0)
    assert weights(one, 1) != weights(other, 1)


# Divergence


def test_a_trial_that_diverges_is_a_result_without_figures(workshop: Workshop) -> None:
    spec = TrialSpec(5, table(), Recipe("plain", None, "sgd", 1e30), (Segment(9),))
    task = task_of(spec, hand_over=True, measures=Measures(Attacks(EPSILONS), 1))
    outcome = run_stage(task, None, [], workshop)
    found = result_of(outcome)
    assert (found.status, found.diverged_epoch, found.epochs_run) == ("diverged", 1, 2)
    assert outcome.diverged_epoch == 1
    assert (outcome.weights, outcome.product) == (None, None)
    for name in ("test", "validation"):
        assert getattr(found, f"{name}_metric") is None
        assert getattr(found, f"{name}_loss") is None
    assert (found.mae, found.r2, found.confusion, found.per_class) == (None, None, None, None)
    assert found.robustness == ()
    assert math.isfinite(found.train_loss[0])
    assert len(found.train_loss) == 2
    assert found.metric_name == "mse"


def test_a_trunk_that_diverges_gives_the_result_of_all_that_goes_on_from_it(
    workshop: Workshop,
) -> None:
    spec = TrialSpec(5, table(), Recipe("plain", None, "sgd", 1e30), (Segment(9),))
    trunk = task_of(spec.shortened(5), ends_trial=False, keep_weights=False, hand_over=True)
    found = run_stage(trunk, None, [], workshop)
    alone = run_stage(task_of(spec), None, [], workshop)
    assert repr(figures(result_of(found))) == repr(figures(result_of(alone)))


def test_figures_that_are_not_finite_are_divergence_too(workshop: Workshop) -> None:
    # The only loss is that of the start, and finite; the step after it is of absurd length.
    spec = TrialSpec(5, table(), Recipe("plain", None, "sgd", 1e30), (Segment(3),))
    ended = task_of(spec.shortened(1), hand_over=True)
    outcome = run_stage(ended, None, [], workshop)
    found = result_of(outcome)
    assert (found.status, found.test_metric, found.diverged_epoch) == ("diverged", None, None)
    assert all(map(math.isfinite, found.train_loss))
    assert outcome.weights is None
    # What goes on from there still starts where it ended, and does as it would have done alone.
    assert outcome.product is not None
    goes_on = run_stage(task_of(spec, start_epoch=1), outcome.product, [], workshop)
    alone = run_stage(task_of(spec), None, [], workshop)
    assert goes_on.diverged_epoch == 1
    assert repr(figures(result_of(goes_on))) == repr(figures(result_of(alone)))


def test_a_validation_figure_that_is_not_finite_is_divergence_too(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Teachers are compared on it.
    rows = workshop.dataset(table())
    assert rows.validation is not None
    rows.validation.x[0] = float("inf")
    spec = TrialSpec(5, table(), Recipe("plain", None), (Segment(1, HARD),))
    found = result_of(run_stage(task_of(spec), None, [], workshop))
    assert (found.status, found.test_metric, found.validation_metric) == ("diverged", None, None)


# Early stops


def stopping(epochs: int = 30, **changes: object) -> TrialSpec:
    """At this rate the network learns, and the validation loss has its best early enough."""
    rule = EarlyStop(2, restore_best=True)
    recipe = Recipe("small", 32, learning_rate=0.1, early_stop=rule)
    recipe = replace(recipe, **changes)  # type: ignore[arg-type]
    return TrialSpec(5, DIGITS, recipe, (Segment(epochs),))


def test_a_trial_that_stops_early_is_done_and_evaluated(workshop: Workshop) -> None:
    outcome = run_stage(
        task_of(stopping(), measures=Measures(Attacks(EPSILONS))), None, [], workshop
    )
    found = result_of(outcome)
    assert (found.status, found.diverged_epoch) == ("done", None)
    assert found.best_epoch is not None
    assert found.stopped_epoch == found.epochs_run == outcome.stopped_epoch == found.best_epoch + 2
    assert found.epochs_run < 30
    assert outcome.ended_early
    assert [point["epoch"] for point in found.curve] == list(range(1, found.epochs_run + 1))
    assert len(found.train_loss) == found.epochs_run
    assert len(found.robustness) == 2
    # The figures are those after the best epoch, and so are the weights.
    best = found.curve[found.best_epoch - 1]
    assert (found.validation_metric, found.validation_loss) == (best["metric"], best["loss"])
    later = EvaluateTask(stopping().trial_id, DIGITS, "small", Attacks(EPSILONS), 0)
    assert evaluate_trained(later, outcome.weights, workshop).points == found.robustness
    last = run_stage(task_of(stopping(early_stop=EarlyStop(2))), None, [], workshop).weights
    assert evaluate_trained(later, last, workshop).points != found.robustness
    # A trial that was to have no more epochs than that is the same.
    short = run_stage(
        task_of(stopping(found.epochs_run), measures=Measures(Attacks(EPSILONS))),
        None,
        [],
        workshop,
    )
    assert figures(result_of(short)) == figures(found)
    assert short.weights == outcome.weights


def test_without_restoring_the_figures_are_those_of_the_last_epoch(workshop: Workshop) -> None:
    spec = stopping(early_stop=EarlyStop(2))
    found = result_of(run_stage(task_of(spec), None, [], workshop))
    last = found.curve[-1]
    assert (found.validation_metric, found.validation_loss) == (last["metric"], last["loss"])
    assert found.best_epoch == found.epochs_run - 2


def test_every_epoch_is_in_the_curve_as_if_it_had_been_asked_for(workshop: Workshop) -> None:
    watched = result_of(run_stage(task_of(stopping()), None, [], workshop))
    asked = stopping(watched.epochs_run, early_stop=EarlyStop())
    seen = result_of(
        run_stage(task_of(asked, measures=Measures(every_epochs=1)), None, [], workshop)
    )
    assert watched.curve == seen.curve
    often = result_of(
        run_stage(task_of(stopping(), measures=Measures(every_epochs=1)), None, [], workshop)
    )
    assert often.curve == watched.curve


def test_a_trunk_that_stops_early_gives_the_result_of_all_that_was_to_go_on(
    workshop: Workshop,
) -> None:
    teacher = chosen(workshop)
    measures = Measures(Attacks(EPSILONS))
    given = {RULE.key: teacher.trial_id}
    alone = run_stage(task_of(stopping(), measures=measures), None, [], workshop)
    stop = result_of(alone).epochs_run
    # The fork would have been guided later; the teacher it never met is not in its record.
    fork = replace(stopping(), schedule=(Segment(stop + 2), Segment(9, guided(0.3))))
    trunk = task_of(
        fork.shortened(stop + 2), ends_trial=False, hand_over=True, measures=measures
    )  # fmt: skip
    ended = run_stage(trunk, None, [], workshop)
    scratch = run_stage(
        task_of(fork, measures=measures, teachers=given), None, [teacher], workshop
    )  # fmt: skip
    assert ended.stopped_epoch == scratch.stopped_epoch == stop
    assert ended.weights == scratch.weights == alone.weights
    assert figures(result_of(ended)) == figures(result_of(scratch)) == figures(result_of(alone))
    assert result_of(scratch).teacher_trial_ids == ()
    # A trunk that ends before the rule does leaves no result.
    before = run_stage(
        replace(trunk, spec=fork.shortened(stop - 1)), None, [], workshop
    )  # fmt: skip
    assert (before.result, before.weights, before.stopped_epoch) == (None, None, None)
    # Its fork stops where it would have.
    rest = task_of(fork, start_epoch=stop - 1, measures=measures, path_teachers=given)
    continued = run_stage(rest, before.product, [], workshop)
    assert figures(result_of(continued)) == figures(result_of(alone))


def test_a_teacher_is_in_the_record_if_it_guided_before_the_stop(workshop: Workshop) -> None:
    teacher = chosen(workshop)
    spec = replace(stopping(), schedule=(Segment(1, guided(0.3)), Segment(29)))
    task = task_of(spec, teachers={RULE.key: teacher.trial_id})
    found = result_of(run_stage(task, None, [teacher], workshop))
    assert found.epochs_run < 30
    assert found.teacher_trial_ids == (teacher.trial_id,)


def test_a_kept_state_that_stopped_gives_its_result_again(workshop: Workshop) -> None:
    ended = run_stage(task_of(stopping(), hand_over=True), None, [], workshop)
    longer = task_of(stopping(60), start_epoch=30)
    again = run_stage(longer, ended.product, [], workshop)
    assert again.weights == ended.weights
    assert figures(result_of(again)) == figures(result_of(ended))


# Precision


def test_a_network_trained_in_bfloat16_is_measured_in_float32(workshop: Workshop) -> None:
    plateau = LrSchedule("plateau", 0.5, patience=0)
    recipe = Recipe("medium", 32, precision="bfloat16", lr_schedule=plateau)
    spec = TrialSpec(5, DIGITS, recipe, (Segment(3),))
    outcome = run_stage(task_of(spec), None, [], workshop)
    found = result_of(outcome)
    rows = workshop.dataset(DIGITS)
    network = build("medium", rows, outcome.weights)
    with torch.no_grad():
        logits = network(rows.inputs(rows.test.x))
    loss = torch.nn.functional.cross_entropy(logits.double(), rows.test.y).item()
    assert found.test_loss == pytest.approx(loss, rel=1e-5)
    assert found.validation_loss == found.curve[-1]["loss"]


def test_damaged_snapshots_and_weights_are_errors_that_say_so(workshop: Workshop) -> None:
    teacher = chosen(workshop)
    task = task_of(student(), teachers={RULE.key: teacher.trial_id})
    with pytest.raises(ValueError, match="not a snapshot"):
        run_stage(task, b"damaged", [teacher], workshop)
    whole = trained(workshop)
    damaged = replace(whole, trial_id="other", weights=whole.weights[:-1])
    with pytest.raises(ValueError, match="weights of teacher other"):
        ask_teacher(TeachTask(damaged, DIGITS), workshop)


def test_a_training_gone_on_with_elsewhere_says_both_numerics_classes(workshop: Workshop) -> None:
    spec = TrialSpec(5, DIGITS, Recipe("medium", 32), (Segment(2),))
    first = run_stage(
        task_of(spec.shortened(1), hand_over=True, ends_trial=False), None, [], workshop
    )
    here = str(workshop.numerics_of(spec))
    again = run_stage(task_of(spec, start_epoch=1), first.product, [], workshop)
    assert again.result is not None
    assert again.result.numerics_class == here
    workshop.numerics = replace(workshop.numerics, device="another")
    other = run_stage(task_of(spec, start_epoch=1), first.product, [], workshop)
    assert other.result is not None
    assert other.result.numerics_class == f"{here}, then {workshop.numerics_of(spec)}"
