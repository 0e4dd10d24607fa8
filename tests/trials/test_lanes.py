"""Trials side by side: what one gives depends on nothing but itself, to the bit.

Against eager steps, which round elsewhere: losses within 1e-5 and weights within 1e-4 of their
size after ten epochs (measured: an order of magnitude less).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

import data
import models
from data.load import LoadedData, load
from models.home import Dense
from tests.trials.specs import OTHER_RULE, RULE, guided
from trials.course import Course
from trials.engine import LANES
from trials.lanes import Lane, Lanes
from trials.snapshot import Snapshot
from trials.spec import (
    HARD,
    EarlyStop,
    LrSchedule,
    Objective,
    Recipe,
    Segment,
    TrialSpec,
    schedule,
    switched,
)
from trials.train import Trained, train

EPOCHS = 10
HOT = 1e6
"""A learning rate at which a training diverges."""

DROPPING, PLAIN = "lane-dropping", "lane-plain"


@pytest.fixture(autouse=True)
def _networks(_own_registries: None) -> None:
    models.register(models.ModelEntry(DROPPING, Dense((9, 20, 5), dropouts=2)))
    models.register(models.ModelEntry(PLAIN, Dense((8,), dropouts=0)))


def mse(alpha: float, *rules: object) -> Objective:
    return guided(alpha, *rules, kind="mse")  # type: ignore[arg-type]


RECIPE = Recipe(DROPPING, None, learning_rate=0.01)


@dataclass(frozen=True)
class Of:
    """A trial whose data is known once a test runs."""

    segments: tuple[Segment, ...] = (Segment(EPOCHS),)
    seed: int = 3
    recipe: Recipe = RECIPE

    def on(self, dataset: str) -> TrialSpec:
        rows = data.DataSpec(dataset, validation=0.1)
        return TrialSpec(self.seed, rows, self.recipe, self.segments)


BASE = Of()


def of(segments: tuple[Segment, ...] = BASE.segments, seed: int = 3, **recipe: object) -> Of:
    return Of(segments, seed, replace(BASE.recipe, **recipe))  # type: ignore[arg-type]


REGRESSIONS = {
    "baseline": BASE,
    "guided and switched": of(switched(mse(0.3), 4, EPOCHS)),
    "soft alone": of(switched(mse(0.0), 6, EPOCHS)),
    "two teachers": of(switched(mse(0.5, RULE, OTHER_RULE), 7, EPOCHS), seed=5),
    "ramp": of(schedule([Segment(3, mse(0.2)), Segment(3, mse(0.7)), Segment(4, HARD)])),
    "short": of(switched(mse(0.3), 2, 3), seed=8),
    "weight decay": of(weight_decay=0.05),
    "decaying rate": of(lr_schedule=LrSchedule("exponential", 0.7)),
    "plateau": of(
        learning_rate=0.3,
        lr_schedule=LrSchedule("plateau", 0.5, patience=0, threshold=0.2),
    ),
    "early stop": of(
        switched(mse(0.5), 8, EPOCHS),
        learning_rate=0.3,
        early_stop=EarlyStop(2, restore_best=True),
    ),
    "other start": of(seed=11, init="he"),
}

TASKS: dict[str, tuple[str, dict[str, Of]]] = {
    "regression, Adam": ("table", REGRESSIONS),
    "regression, SGD": (
        "table",
        {
            "momentum": of(optimizer="sgd", momentum=0.9, learning_rate=0.02),
            "without": of(switched(mse(0.3), 4, EPOCHS), optimizer="sgd", learning_rate=0.1),
            "decay": of(optimizer="sgd", learning_rate=0.1, weight_decay=0.1),
        },
    ),
    "classification, Adam": (
        "groups",
        {
            "baseline": BASE,
            "divergence": of(switched(guided(0.4, temperature=3.0), 5, EPOCHS)),
            "divergence alone": of(switched(guided(0.0), EPOCHS, EPOCHS)),
            "two teachers": of(
                switched(guided(0.5, RULE, OTHER_RULE, temperature=2.0), 5, EPOCHS), seed=4
            ),
            "outputs": of(switched(mse(0.5), 5, EPOCHS)),
            "accuracy watched": of(
                learning_rate=0.1,
                early_stop=EarlyStop(3, monitor="validation_metric", restore_best=True),
            ),
        },
    ),
}
EVERY = [(task, name) for task, (_, trials) in TASKS.items() for name in trials]


def trials_of(task: str) -> dict[str, TrialSpec]:
    dataset, trials = TASKS[task]
    return {name: made.on(dataset) for name, made in trials.items()}


@pytest.fixture
def base() -> TrialSpec:
    return BASE.on("table")


@pytest.fixture
def student() -> TrialSpec:
    return REGRESSIONS["guided and switched"].on("table")


def teachers_for(loaded: LoadedData) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(1)
    shape = (len(loaded.train.y), loaded.outputs)
    return {rule.key: 2 * torch.randn(shape, generator=draw) for rule in (RULE, OTHER_RULE)}


def join(
    lanes: Lanes, spec: TrialSpec, start: Snapshot | None = None,
    teachers: Mapping[str, Tensor] | None = None,
) -> Lane:  # fmt: skip
    loaded = load(spec.data)
    course = Course(spec, loaded.task, start)
    return lanes.join(course, teachers_for(loaded) if teachers is None else teachers, start)


def finish(lanes: Lanes) -> None:
    for _ in range(2 * EPOCHS):
        lanes.step()
    assert lanes.free == LANES


def alone(spec: TrialSpec, start: Snapshot | None = None) -> Trained:
    loaded = load(spec.data)
    return train(spec, loaded, teachers_for(loaded), start=start, engine="lanes")


def content(trained: Trained) -> Snapshot:
    """A snapshot without the time that it took; equal bytes, equal bits."""
    progress = replace(trained.snapshot.progress, wall_s=0.0)
    return replace(trained.snapshot, progress=progress)


def assert_same(one: Trained, other: Trained) -> None:
    assert content(one).to_bytes() == content(other).to_bytes()
    for key, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[key])


def hot(spec: TrialSpec) -> TrialSpec:
    recipe = replace(
        spec.recipe, learning_rate=HOT, lr_schedule=LrSchedule(), early_stop=EarlyStop()
    )
    return replace(spec, recipe=recipe, schedule=(Segment(EPOCHS),), seed=77)


@pytest.mark.parametrize(("task", "name"), EVERY)
def test_neighbours_change_no_bit(task: str, name: str) -> None:
    spec = trials_of(task)[name]
    expected = alone(spec)
    others = [*(other for other in trials_of(task).values() if other != spec), hot(spec)]
    lanes = Lanes(spec, load(spec.data))
    neighbours = [join(lanes, other) for other in others]
    # Last of all that fit, then in the middle of a training of others.
    last = join(lanes, spec)
    lanes.step()
    later = join(lanes, spec)
    finish(lanes)
    assert_same(last.result(), expected)
    assert_same(later.result(), expected)
    progress = neighbours[-1].result().snapshot.progress
    assert progress.diverged_epoch is not None or "classification" in task


@pytest.mark.parametrize("task", TASKS)
def test_every_lane_gives_the_same(task: str) -> None:
    spec = list(trials_of(task).values())[1]
    expected = alone(spec)
    lanes = Lanes(spec, load(spec.data))
    found = [join(lanes, spec) for _ in range(LANES)]
    assert [lane.number for lane in found] == list(range(LANES))
    assert lanes.free == 0
    with pytest.raises(ValueError, match="all 16 lanes are taken"):
        join(lanes, spec)
    finish(lanes)
    for lane in found:
        assert_same(lane.result(), expected)


@pytest.mark.parametrize("count", range(1, LANES))
def test_the_number_of_neighbours_changes_no_bit(
    count: int, base: TrialSpec, student: TrialSpec
) -> None:
    lanes = Lanes(student, load(student.data))
    for other in range(count):
        join(lanes, replace(base, seed=other))
    lane = join(lanes, student)
    finish(lanes)
    assert_same(lane.result(), alone(student))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_a_lane_that_diverges_reaches_no_other(bad: float, student: TrialSpec) -> None:
    lanes = Lanes(student, load(student.data))
    before = join(lanes, student)
    loaded = load(student.data)
    wild = {key: torch.full_like(t, bad) for key, t in teachers_for(loaded).items()}
    diverging = join(lanes, student, teachers=wild)
    after = join(lanes, student)
    finish(lanes)
    expected = alone(student)
    assert_same(before.result(), expected)
    assert_same(after.result(), expected)
    assert diverging.result().snapshot.progress.diverged_epoch == 0
    # The lane it leaves is as good as new.
    again = [join(lanes, student) for _ in range(3)]
    finish(lanes)
    for lane in again:
        assert_same(lane.result(), expected)


@pytest.mark.parametrize(("task", "name"), EVERY)
def test_a_fork_equals_the_training_alone(task: str, name: str) -> None:
    spec = trials_of(task)[name]
    trunk = alone(spec.shortened(2))
    start = Snapshot.from_bytes(trunk.snapshot.to_bytes())
    lanes = Lanes(spec, load(spec.data))
    join(lanes, hot(spec))
    fork = join(lanes, spec, start)
    finish(lanes)
    assert_same(fork.result(), alone(spec))


@pytest.mark.parametrize(("task", "name"), EVERY)
def test_lanes_do_what_eager_steps_do(task: str, name: str) -> None:
    spec = trials_of(task)[name]
    loaded = load(spec.data)
    lanes, eager = alone(spec), train(spec, loaded, teachers_for(loaded), engine="eager")
    one, other = lanes.snapshot, eager.snapshot
    assert one.progress.train_loss == pytest.approx(other.progress.train_loss, rel=1e-5)
    assert one.progress.steps == other.progress.steps
    assert one.epoch == other.epoch
    assert one.early_stop.best_epoch == other.early_stop.best_epoch
    assert set(one.optimizer) == set(other.optimizer)
    for states in ((one.model, other.model), (one.optimizer, other.optimizer)):
        for key, tensor in states[1].items():
            assert states[0][key].shape == tensor.shape
            assert torch.allclose(states[0][key], tensor, rtol=1e-4, atol=1e-5), key


def test_an_eager_snapshot_has_the_form_of_one_from_a_lane() -> None:
    spec = REGRESSIONS["early stop"].on("table")
    loaded = load(spec.data)
    trunk = train(spec.shortened(3), loaded, teachers_for(loaded), engine="eager").snapshot
    gone_on = alone(spec, Snapshot.from_bytes(trunk.to_bytes())).snapshot
    whole = train(spec, loaded, teachers_for(loaded), engine="eager").snapshot
    assert gone_on.progress.train_loss == pytest.approx(whole.progress.train_loss, rel=1e-5)


def test_row_blocks_and_their_dropout_are_those_of_eager_steps(
    monkeypatch: pytest.MonkeyPatch, student: TrialSpec
) -> None:
    monkeypatch.setattr("trials.steps.BLOCK_ROWS", 90)
    monkeypatch.setattr("trials.lanes.BLOCK_ROWS", 90)  # 225 rows: two blocks and a half
    loaded = load(student.data)
    eager = train(student, loaded, teachers_for(loaded), engine="eager").snapshot
    expected = alone(student)
    assert expected.snapshot.progress.train_loss == pytest.approx(
        eager.progress.train_loss, rel=1e-5
    )
    lanes = Lanes(student, loaded)
    found = [join(lanes, student) for _ in range(LANES)]
    finish(lanes)
    for lane in found:
        assert_same(lane.result(), expected)


FAULTS: dict[str, Callable[[Mapping[str, Tensor]], dict[str, Tensor]]] = {
    "missing": lambda outputs: {},
    "another shape": lambda outputs: {key: t[:-1] for key, t in outputs.items()},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lane_that_fails_fails_alone(fault: str) -> None:
    spec = of(schedule([Segment(2), Segment(8, mse(0.5))])).on("table")
    lanes = Lanes(spec, load(spec.data))
    good = join(lanes, spec)
    bad = join(lanes, spec, teachers=FAULTS[fault](teachers_for(load(spec.data))))
    finish(lanes)
    assert isinstance(bad.error, KeyError if fault == "missing" else ValueError)
    with pytest.raises(type(bad.error)):
        bad.result()
    assert_same(good.result(), alone(spec))


def test_what_goes_wrong_in_the_step_of_all_ends_all(
    monkeypatch: pytest.MonkeyPatch, base: TrialSpec
) -> None:
    lanes = Lanes(base, load(base.data))
    both = [join(lanes, base), join(lanes, base)]

    def no_memory(_: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(lanes, "_replay", no_memory)
    with pytest.raises(torch.OutOfMemoryError):
        lanes.step()
    assert all(isinstance(lane.error, torch.OutOfMemoryError) for lane in both)
    assert lanes.free == LANES


def test_a_training_pauses_at_an_epoch_and_goes_on(student: TrialSpec) -> None:
    loaded = load(student.data)
    lanes = Lanes(student, loaded)
    lane = lanes.join(Course(student, loaded.task, pause_after_s=0.0), teachers_for(loaded))
    lanes.step()
    paused = lane.result().snapshot
    assert paused.epoch == 1
    assert_same(alone(student, Snapshot.from_bytes(paused.to_bytes())), alone(student))


def test_epochs_on_the_way_are_observed(base: TrialSpec) -> None:
    loaded = load(base.data)
    seen: dict[str, list[float]] = {}
    for engine in ("lanes", "eager"):

        def observe(epoch: int, model: torch.nn.Module) -> dict[str, float | int | str]:
            return {"epoch": epoch, "metric": float(next(model.parameters()).detach().sum())}

        spec = replace(base, data=replace(base.data, validation=0.0))
        loaded = load(spec.data)
        found = train(spec, loaded, {}, observe_every=4, observer=observe, engine=engine)  # type: ignore[arg-type]
        curve = found.snapshot.progress.curve
        assert [point["epoch"] for point in curve] == [4, 8]
        seen[engine] = [float(point["metric"]) for point in curve]
    assert seen["lanes"] == pytest.approx(seen["eager"], rel=1e-3)


def test_steps_are_shared_time(base: TrialSpec) -> None:
    lanes = Lanes(base, load(base.data))
    found = [join(lanes, base) for _ in range(4)]
    finish(lanes)
    for lane in found:
        assert 0 < lane.shared_s < lane.result().snapshot.progress.wall_s / 3


def _tensors(owner: object) -> dict[str, int]:
    """Where the tensors of an object, and of those it holds, begin in memory."""
    found: dict[str, int] = {}
    for name, value in vars(owner).items():
        inner = value if isinstance(value, dict) else {"": value}
        for key, item in inner.items():
            if isinstance(item, Tensor):
                found[f"{type(owner).__name__}.{name}.{key}"] = item.data_ptr()
    return found


def test_what_a_step_reads_stays_where_it_is() -> None:
    # A captured graph is replayed on the memory it was captured with.
    dataset, trials = TASKS["classification, Adam"]
    specs = [made.on(dataset) for made in trials.values()]
    lanes = Lanes(specs[0], load(specs[0].data))
    parts = (lanes._network, lanes._optimizer, lanes._objectives, lanes._bits, lanes)
    before = {name: where for part in parts for name, where in _tensors(part).items()}
    assert len(before) >= 13
    for spec in specs:
        join(lanes, spec)
        lanes.step()
    finish(lanes)
    assert {name: where for part in parts for name, where in _tensors(part).items()} == before
