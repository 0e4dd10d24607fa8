import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import lr_scheduler

from data import DataSpec
from data.load import LoadedData, load
from tests.trials import toys
from tests.trials.specs import CONSTANT, NEVER, OTHER_RULE, RULE, guided
from trials.course import BLOCK_ROWS, build_model
from trials.early_stop import StopState
from trials.learning_rate import PlateauState
from trials.snapshot import Snapshot
from trials.spec import (
    HARD,
    EarlyStop,
    LrSchedule,
    Monitor,
    Objective,
    Recipe,
    Segment,
    TrialSpec,
    switched,
)
from trials.streams import stream_key
from trials.train import steps_per_epoch, train


@cache
def loaded(spec: DataSpec) -> LoadedData:
    return load(spec)


@cache
def guides(spec: DataSpec) -> Mapping[str, Tensor]:
    """What two teachers say about the training rows: made up, but the same each time."""
    rows, outputs = len(loaded(spec).train), loaded(spec).outputs
    generator = torch.Generator().manual_seed(5)
    return {
        rule.key: torch.randn(rows, outputs, generator=generator) for rule in (RULE, OTHER_RULE)
    }


def run(spec: TrialSpec, start: Snapshot | None = None, **options: object) -> Snapshot:
    return train(spec, loaded(spec.data), guides(spec.data), start=start, **options).snapshot  # type: ignore[arg-type]


def soft(spec: TrialSpec, alpha: float = 0.3) -> Objective:
    kind = "kl" if loaded(spec.data).task == "classification" else "mse"
    return guided(alpha, RULE, OTHER_RULE, kind=kind)  # type: ignore[arg-type]


def trial(name: str, epochs: int = 4, switch_epoch: int = 2) -> TrialSpec:
    """One of `toys.RECIPES`; two teachers at first, switched off in the middle."""
    where, recipe = toys.RECIPES[name]
    rows = where if isinstance(where, DataSpec) else DataSpec(where)
    spec = TrialSpec(38, rows, recipe, (Segment(epochs),))
    return replace(spec, schedule=switched(soft(spec), switch_epoch, epochs))


class State(NamedTuple):
    epoch: int
    tensors: dict[str, bytes]
    steps: int
    losses: tuple[float, ...]
    loss_steps: tuple[int, ...]
    schedules: tuple[PlateauState, StopState]


def state(snapshot: Snapshot) -> State:
    """Everything of a snapshot but the seconds it took, in bits."""
    tensors = {"model": snapshot.model, "optimizer": snapshot.optimizer, "best": snapshot.best}
    return State(
        snapshot.epoch,
        {f"{k}/{n}": t.numpy().tobytes() for k, group in tensors.items() for n, t in group.items()},
        snapshot.progress.steps,
        snapshot.progress.train_loss,
        snapshot.progress.train_loss_step,
        (snapshot.plateau, snapshot.early_stop),
    )


def through_bytes(snapshot: Snapshot) -> Snapshot:
    return Snapshot.from_bytes(snapshot.to_bytes())


# The same bits, however it is executed


@pytest.mark.parametrize("name", toys.RECIPES)
def test_cut_at_any_epoch_and_continued_is_straight_through(name: str) -> None:
    spec = trial(name)
    straight = state(run(spec))
    assert straight.epoch == 4
    for epoch in range(5):
        start = through_bytes(run(spec.shortened(epoch)))
        assert start.epoch == epoch
        assert state(run(spec, start)) == straight, f"cut at epoch {epoch}"


@pytest.mark.parametrize("name", ["digits, minibatches, Adam", "table, minibatches, SGD"])
def test_cut_after_every_epoch_is_straight_through(name: str) -> None:
    spec = trial(name)
    reached = None
    for epoch in range(1, 5):
        reached = through_bytes(run(spec.shortened(epoch), reached))
    assert reached is not None
    assert state(reached) == state(run(spec))


@pytest.mark.parametrize("name", ["digits, minibatches, Adam", "channels last"])
def test_a_snapshot_in_memory_and_one_from_bytes_go_on_alike(name: str) -> None:
    # Bytes hold weights in the order of their axes; a network may hold them in another.
    spec = trial(name)
    middle = run(spec.shortened(2))
    read = through_bytes(middle)
    orders = {t.stride() for t in middle.model.values() if t.ndim == 4}
    assert orders != {t.stride() for t in read.model.values() if t.ndim == 4}
    assert state(run(spec, middle)) == state(run(spec, read)) == state(run(spec))


@pytest.mark.parametrize("name", ["digits, minibatches, Adam", "table, full batch, Adam"])
def test_forked_is_alone_for_every_switch_epoch(name: str) -> None:
    spec = trial(name)
    objective = soft(spec)
    trunk = None
    seen = set()
    for switch_epoch in range(5):
        trunk_spec = replace(spec, schedule=(Segment(switch_epoch, objective),))
        trunk = run(trunk_spec, trunk)
        alone = replace(spec, schedule=switched(objective, switch_epoch, 4))
        forked = state(run(alone, through_bytes(trunk)))
        assert forked == state(run(alone))
        seen.add(forked.tensors["model/fc1.weight"])
    assert len(seen) == 5


def test_what_else_was_trained_in_the_process_makes_no_difference() -> None:
    spec = trial("PyTorch's generator")
    first = state(run(spec))
    torch.manual_seed(1)
    torch.rand(7)
    run(trial("groups, minibatches, Adam"))
    assert state(run(spec)) == first


def test_training_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    run(trial("PyTorch's generator"))
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("name", toys.RECIPES)
def test_seeds_differ_and_epochs_differ(name: str) -> None:
    spec = trial(name)
    one, other = run(spec), run(replace(spec, seed=39))
    assert state(one).tensors != state(other).tensors
    assert one.progress.train_loss != other.progress.train_loss


def fingerprints() -> dict[str, str]:
    """A hash of the state that each training ends with."""
    return {
        name: hashlib.sha256(repr(state(run(trial(name)))).encode()).hexdigest()
        for name in toys.RECIPES
    }


def test_another_process_with_more_threads_gives_the_same_bits() -> None:
    code = """
import json
from tests.trials import test_train, toys
from trials.device import configure
configure()
toys.register()
print(json.dumps(test_train.fingerprints()))
"""
    threads = {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **threads},
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == fingerprints()


def test_observing_changes_nothing_but_the_curve() -> None:
    seen: list[int] = []

    def observer(epoch: int, model: nn.Module) -> dict[str, float | int | str]:
        seen.append(epoch)
        torch.rand(5)
        model.eval()
        with torch.no_grad():
            model(torch.rand(3, 4))
        return {"epoch": epoch, "split": "test", "metric": 1.0, "loss": 2.0}

    for name in ("groups, minibatches, Adam", "batch statistics", "PyTorch's generator"):
        seen.clear()
        spec = trial(name, epochs=5)
        found = run(spec, observe_every=2, observer=observer)
        assert seen == [2, 4]
        assert [point["epoch"] for point in found.progress.curve] == [2, 4]
        assert state(found) == state(run(spec))
    middle = through_bytes(run(spec.shortened(3), observe_every=2, observer=observer))
    continued = run(spec, middle, observe_every=2, observer=observer)
    assert continued.progress.curve == found.progress.curve


def test_the_data_and_the_teachers_are_left_as_they_were() -> None:
    spec = trial("table, full batch, Adam")
    x = loaded(spec.data).train.x.clone()
    said = {key: outputs.clone() for key, outputs in guides(spec.data).items()}
    run(spec)
    assert torch.equal(loaded(spec.data).train.x, x)
    assert all(torch.equal(outputs, said[key]) for key, outputs in guides(spec.data).items())


def test_a_start_is_left_as_it_was() -> None:
    spec = trial("table, minibatches, SGD")
    start = run(spec.shortened(2))
    before = state(start)
    run(spec, start)
    assert state(start) == before


def test_a_start_past_the_end_is_refused() -> None:
    spec = trial("table, full batch, SGD")
    with pytest.raises(ValueError, match="snapshot of epoch 4 is past the end, 3"):
        run(spec.shortened(3), run(spec))


# What is computed


def plain_loop(
    spec: TrialSpec,
    epochs: int,
    alpha: float = 1.0,
    after_epoch: Callable[[torch.optim.Optimizer], Callable[[float], None]] | None = None,
) -> tuple[nn.Module, list[float]]:
    """The home study's loop in plain PyTorch: the network at the end, the loss of each step.

    `after_epoch` makes what is called with the mean loss of each epoch, such as a scheduler's step.
    """
    rows = loaded(spec.data)
    model = build_model(spec, rows)
    optimizer = torch.optim.Adam(model.parameters(), lr=spec.recipe.learning_rate, foreach=False)
    scheduler = after_epoch(optimizer) if after_epoch else None
    soft_target = torch.stack(list(guides(spec.data).values()))
    losses = []
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(stream_key(spec.seed, "order", epoch))
        order = torch.randperm(len(rows.train), generator=generator)
        for batch in torch.split(order, spec.recipe.batch_size or len(order)):
            outputs, y = model(rows.inputs(rows.train.x[batch])), rows.train.y[batch]
            if rows.task == "classification":
                hard = F.cross_entropy(outputs, y)
                log_q = F.log_softmax(outputs, 1)
                divergences = [
                    F.kl_div(log_q, F.softmax(teacher[batch], 1), reduction="batchmean")
                    for teacher in soft_target
                ]
                softer = (divergences[0] + divergences[1]) / 2
            else:
                hard = F.mse_loss(outputs, y)
                softer = sum(F.mse_loss(outputs, t[batch]) for t in soft_target) / 2  # type: ignore[assignment]
            loss = alpha * hard + (1 - alpha) * softer
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        if scheduler is not None:
            steps = len(losses) // (epoch + 1)
            scheduler(math.fsum(losses[-steps:]) / steps)
    return model, losses


def means(losses: list[float], window: int) -> list[float]:
    whole = range(0, len(losses) - window + 1, window)
    return [math.fsum(losses[first : first + window]) / window for first in whole]


@pytest.mark.parametrize("alpha", [1.0, 0.1])
@pytest.mark.parametrize("where", ["groups", "table"])
def test_minibatches_are_those_of_a_plain_loop(where: str, alpha: float) -> None:
    spec = TrialSpec(780, DataSpec(where), Recipe("plain", 1, learning_rate=0.003), ())
    objective = HARD if alpha == 1 else soft(spec, alpha)
    spec = replace(spec, schedule=(Segment(2, objective),))
    model, losses = plain_loop(spec, 2, alpha)
    found = run(spec)
    # Of the 250 steps of an epoch the last 50 are trained on and not recorded.
    assert found.progress.train_loss_step == (100, 200, 350, 450)
    expected = means(losses[:250], 100) + means(losses[250:], 100)
    assert found.progress.train_loss == pytest.approx(expected, rel=1e-4)
    assert found.progress.steps == len(losses) == 500
    for name, weights in model.state_dict().items():
        assert torch.allclose(found.model[name], weights, rtol=1e-3, atol=1e-4), name


def test_the_whole_training_set_is_that_of_a_plain_loop() -> None:
    spec = TrialSpec(780, DataSpec("table"), Recipe("plain", None, learning_rate=0.01), ())
    spec = replace(spec, schedule=(Segment(30, soft(spec, 0.6)),))
    model, losses = plain_loop(spec, 30, 0.6)
    found = run(spec)
    assert found.progress.train_loss_step == tuple(range(1, 31))
    assert found.progress.train_loss == pytest.approx(losses, rel=1e-4)
    assert losses[-1] < losses[0]
    for name, weights in model.state_dict().items():
        assert torch.allclose(found.model[name], weights, rtol=1e-3, atol=1e-4), name


def test_the_mixed_loss_is_recorded_while_distilling_and_the_hard_one_afterwards() -> None:
    spec = TrialSpec(1, DataSpec("table"), Recipe("plain", None, "sgd", learning_rate=0.0), ())
    spec = replace(spec, schedule=switched(soft(spec, 0.25), 2, 4))
    rows = loaded(spec.data)
    with torch.no_grad():
        outputs = build_model(spec, rows)(rows.train.x)
        hard = F.mse_loss(outputs, rows.train.y).item()
        softer = [F.mse_loss(outputs, t).item() for t in guides(spec.data).values()]
    mixed = 0.25 * hard + 0.75 * sum(softer) / 2
    assert run(spec).progress.train_loss == pytest.approx([mixed, mixed, hard, hard], rel=1e-5)


@pytest.mark.parametrize(
    ("rows", "points"), [("rows-782", 7), ("rows-938", 9)]
)  # the steps of an epoch on CIFAR-10 and Fashion-MNIST
def test_points_of_an_epoch(rows: str, points: int) -> None:
    spec = TrialSpec(3, DataSpec(rows), Recipe("recording", 1), (Segment(1),))
    found = run(spec).progress
    assert found.train_loss_step == tuple(range(100, 100 * points + 1, 100))
    assert len(found.train_loss) == points


@pytest.mark.parametrize(
    ("rows", "batch_size", "steps"),
    [
        (50_000, 64, 782),
        (60_000, 64, 938),
        (16_512, None, 1),
        (128, 64, 2),
        (129, 64, 3),
        (3, 9, 1),
    ],
)
def test_steps_of_an_epoch(rows: int, batch_size: int | None, steps: int) -> None:
    assert steps_per_epoch(Recipe("student", batch_size), rows) == steps


def test_an_epoch_of_fewer_steps_is_one_point() -> None:
    spec = TrialSpec(3, DataSpec("table"), Recipe("plain", 64), (Segment(3),))
    found = run(spec).progress
    assert found.train_loss_step == (4, 8, 12)
    _, losses = plain_loop(replace(spec, recipe=replace(spec.recipe)), 3)
    assert found.train_loss == pytest.approx(means(losses, 4), rel=1e-4)


def recorded_rows(spec: TrialSpec) -> list[int]:
    network = train(spec, loaded(spec.data), {}).model
    assert isinstance(network, toys.Recording)
    return network.rows


def test_every_row_is_seen_once_an_epoch_and_the_last_batch_is_small() -> None:
    spec = TrialSpec(3, DataSpec("table"), Recipe("recording", 64), (Segment(2),))
    assert recorded_rows(spec) == [64, 64, 64, 58] * 2


def test_a_full_batch_is_blocks_of_a_fixed_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BLOCK_ROWS == 4128  # part of the numerics: another size gives other bits
    spec = TrialSpec(3, DataSpec("table"), Recipe("recording", None), (Segment(1),))
    assert recorded_rows(spec) == [250]
    monkeypatch.setattr("trials.steps.BLOCK_ROWS", 100)
    assert recorded_rows(spec) == [100, 100, 50]
    # Minibatches are never cut.
    assert recorded_rows(replace(spec, recipe=Recipe("recording", 200))) == [200, 50]


@pytest.mark.parametrize("where", ["table", "groups"])
def test_blocks_give_the_gradient_of_the_whole_batch(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One step of SGD with rate 1 moves the weights by the gradient.
    spec = TrialSpec(3, DataSpec(where), Recipe("plain", None, "sgd", 1.0), ())
    spec = replace(spec, schedule=(Segment(1, soft(spec)),))
    whole = run(spec)
    monkeypatch.setattr("trials.steps.BLOCK_ROWS", 60)
    blocks = run(spec)
    before = build_model(spec, loaded(spec.data)).state_dict()
    for name, weights in whole.model.items():
        assert not torch.allclose(weights, before[name], rtol=0, atol=1e-3), name
        assert torch.allclose(blocks.model[name], weights, rtol=0, atol=1e-6), name
    assert blocks.progress.train_loss == pytest.approx(whole.progress.train_loss, abs=1e-6)


def test_batch_statistics_are_those_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = TrialSpec(3, DataSpec("groups"), Recipe("batch_norm", None), (Segment(2),))
    whole = state(run(spec))
    monkeypatch.setattr("trials.steps.BLOCK_ROWS", 60)
    assert state(run(spec)) == whole


def test_dropout_is_on_in_training_and_differs_between_epochs_and_steps() -> None:
    # With a learning rate of 0 nothing but dropout can change the loss of a full batch.
    spec = TrialSpec(3, DataSpec("table"), Recipe("dropping", None, "sgd", 0.0), (Segment(4),))
    losses = run(spec).progress.train_loss
    assert len(set(losses)) == 4
    off = run(replace(spec, recipe=replace(spec.recipe, model="plain"))).progress.train_loss
    assert len(set(off)) == 1


def test_weights_start_from_the_seed_alone() -> None:
    spec = TrialSpec(3, DataSpec("table"), Recipe("plain", None), ())
    start = run(spec)
    assert start.epoch == 0
    assert start.optimizer == {}
    assert start.progress.train_loss == ()
    same = run(replace(spec, recipe=Recipe("plain", 7, "sgd", 0.5)))
    assert state(same).tensors == state(start).tensors


# Where the loss stops being finite


def test_a_full_batch_that_diverges_ends_with_that_epoch() -> None:
    # Epoch 0 has the finite loss of the start and takes a step of absurd length.
    spec = TrialSpec(3, DataSpec("table"), Recipe("plain", None, "sgd", 1e30), (Segment(9),))
    found = run(spec)
    assert found.progress.diverged_epoch == 1
    assert found.epoch == 2
    first, last = found.progress.train_loss
    assert math.isfinite(first)
    assert not math.isfinite(last)
    assert found.progress.train_loss_step == (1, 2)


def test_minibatches_that_diverge_keep_the_points_before() -> None:
    spec = TrialSpec(3, DataSpec("groups"), Recipe("plain", 2), (Segment(1),))
    start = run(spec)
    bad = replace(start, model={k: t * float("nan") for k, t in start.model.items()})
    found = run(replace(spec, schedule=(Segment(9),)), bad)
    assert found.progress.diverged_epoch == 1
    assert found.epoch == 2
    assert found.progress.train_loss[0] == start.progress.train_loss[0]
    assert math.isfinite(start.progress.train_loss[0])
    assert found.progress.train_loss_step == (100, 225)


def test_a_loss_that_is_not_finite_after_the_last_point_is_seen() -> None:
    # 125 steps, of which the last 25 are not recorded: the last rows are where it goes wrong.
    spec = TrialSpec(3, DataSpec("groups"), Recipe("plain", 2), (Segment(2, guided(0.5)),))
    generator = torch.Generator().manual_seed(stream_key(3, "order", 0))
    last = torch.randperm(250, generator=generator)[-1]
    said = guides(spec.data)[RULE.key].clone()
    said[last] = float("inf")
    found = train(spec, loaded(spec.data), {RULE.key: said}).snapshot
    assert found.progress.diverged_epoch == 0
    assert len(found.progress.train_loss) == 1
    assert math.isfinite(found.progress.train_loss[0])


def test_a_diverged_training_does_not_go_on_and_is_not_observed() -> None:
    spec = TrialSpec(3, DataSpec("table"), Recipe("plain", None, "sgd", 1e30), (Segment(9),))
    seen: list[int] = []

    def observer(epoch: int, model: nn.Module) -> dict[str, float | int | str]:
        seen.append(epoch)
        return {}

    found = run(spec, observe_every=1, observer=observer)
    assert seen == [1]
    again = run(spec, through_bytes(found))
    assert again.epoch == found.epoch
    assert again.progress.diverged_epoch == 1


# Learning-rate schedules


def each(scheduler: lr_scheduler.LRScheduler) -> Callable[[float], None]:
    """A scheduler's step, which does not look at the loss."""
    return lambda _: scheduler.step()


SCHEDULERS: dict[
    str, tuple[LrSchedule, Callable[[torch.optim.Optimizer], Callable[[float], None]]]
] = {
    "step": (
        LrSchedule("step", 0.1, (2, 4)),
        lambda o: each(lr_scheduler.MultiStepLR(o, [2, 4], 0.1)),
    ),
    "exponential": (
        LrSchedule("exponential", 0.5),
        lambda o: each(lr_scheduler.ExponentialLR(o, 0.5)),
    ),
    "cosine": (
        LrSchedule("cosine", horizon=6),
        lambda o: each(lr_scheduler.CosineAnnealingLR(o, 6)),
    ),
    "plateau": (
        # The loss falls slowly, so that half of the epochs are no improvement by 40 percent.
        LrSchedule("plateau", 0.1, patience=0, threshold=0.4, monitor="train_loss"),
        lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.1, patience=0, threshold=0.4).step,
    ),
}


@pytest.mark.parametrize("batch_size", [64, None])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_trained_at_the_rates_of_a_plain_loop_with_pytorch_s_scheduler(
    name: str, batch_size: int | None
) -> None:
    schedule, make = SCHEDULERS[name]
    recipe = Recipe("plain", batch_size, learning_rate=0.05, lr_schedule=schedule)
    spec = TrialSpec(780, DataSpec("groups"), recipe, (Segment(6),))
    model, losses = plain_loop(spec, 6, after_epoch=make)
    found = run(spec)
    window = len(losses) // 6
    assert found.progress.train_loss == pytest.approx(means(losses, window), rel=1e-4)
    constant = run(replace(spec, recipe=replace(recipe, lr_schedule=LrSchedule())))
    for key, weights in model.state_dict().items():
        assert torch.allclose(found.model[key], weights, rtol=1e-3, atol=1e-4), key
        assert not torch.allclose(constant.model[key], weights, rtol=1e-3, atol=1e-2), key


# What is watched between epochs, and early stops

MONITORS: list[Monitor] = ["validation_loss", "validation_metric", "train_loss"]


def watching(
    schedule: LrSchedule = CONSTANT,
    rule: EarlyStop = NEVER,
    epochs: int = 8,
    where: str = "groups",
    **changes: object,
) -> TrialSpec:
    recipe = Recipe("dropping", 64, learning_rate=0.02, lr_schedule=schedule, early_stop=rule)
    rows = DataSpec(where, validation=0.2)
    return TrialSpec(5, rows, replace(recipe, **changes), (Segment(epochs),))  # type: ignore[arg-type]


def test_watching_changes_nothing_but_what_is_remembered() -> None:
    plain, watched = watching(), watching(rule=EarlyStop(99))
    found = run(watched)
    assert (found.model.keys(), found.epoch) == (run(plain).model.keys(), 8)
    for name, tensor in run(plain).model.items():
        assert torch.equal(found.model[name], tensor)
    assert found.progress.train_loss == run(plain).progress.train_loss
    assert [point["epoch"] for point in found.progress.curve] == list(range(1, 9))
    assert {point["split"] for point in found.progress.curve} == {"validation"}


@pytest.mark.parametrize("where", ["groups", "table"])
@pytest.mark.parametrize("monitor", MONITORS)
def test_the_best_epoch_is_that_of_the_figure_that_is_watched(where: str, monitor: Monitor) -> None:
    spec = watching(rule=EarlyStop(monitor=monitor, restore_best=True), where=where)
    found = run(spec)
    if monitor == "train_loss":
        seen = [-loss for loss in found.progress.train_loss]
        assert found.progress.curve == ()
    else:
        sign = 1 if (monitor, where) == ("validation_metric", "groups") else -1
        name = monitor.removeprefix("validation_")
        seen = [sign * float(point[name]) for point in found.progress.curve]
    assert len(seen) == found.epoch == 8
    assert found.early_stop.best_epoch == seen.index(max(seen)) + 1
    assert abs(found.early_stop.best or 0) == pytest.approx(abs(max(seen)))
    # The curve is measured by hand at the best epoch, on the validation rows alone.
    if monitor != "train_loss":
        network = build_model(spec, loaded(spec.data))
        network.load_state_dict(found.best)
        rows = loaded(spec.data).validation
        assert rows is not None
        with torch.no_grad():
            said = network.eval()(rows.x)
        by_hand = {
            ("loss", "groups"): lambda: F.cross_entropy(said, rows.y).item(),
            ("metric", "groups"): lambda: 100 * (said.argmax(1) == rows.y).double().mean().item(),
        }.get((name, where), lambda: F.mse_loss(said, rows.y).item())
        assert found.early_stop.best == pytest.approx(by_hand(), rel=1e-5)


def test_the_training_loss_that_is_watched_is_the_mean_over_the_epoch() -> None:
    # 200 steps an epoch: the second half is a point of its own, and all steps count.
    rule = EarlyStop(monitor="train_loss", restore_best=True)
    spec = watching(rule=rule, epochs=2, model="plain", batch_size=1, learning_rate=0.003)
    _, losses = plain_loop(spec, 2)
    assert len(losses) == 400
    assert run(spec).early_stop == StopState(
        pytest.approx(math.fsum(losses[200:]) / 200, rel=1e-4), 2, None
    )


@pytest.mark.parametrize("monitor", MONITORS)
def test_the_best_epoch_s_network_is_the_result_and_the_last_one_goes_on(monitor: Monitor) -> None:
    # A rate so high that the best epoch is long past at the end.
    spec = watching(rule=EarlyStop(3, 0.0, monitor, restore_best=True), epochs=30, learning_rate=1)
    found = train(spec, loaded(spec.data), {})
    stop = found.snapshot.early_stop
    assert stop.best_epoch is not None
    assert stop.stopped_epoch == found.snapshot.epoch == stop.best_epoch + 3 < 30
    forgetful = replace(spec.recipe, early_stop=replace(spec.recipe.early_stop, restore_best=False))
    plain = replace(spec, recipe=forgetful)
    best, last = run(plain.shortened(stop.best_epoch)), run(plain)
    assert best.best == last.best == {}
    assert last.early_stop == stop
    for name, tensor in found.model.state_dict().items():
        assert torch.equal(tensor, best.model[name]), name
        assert torch.equal(found.snapshot.result[name], best.model[name]), name
        assert torch.equal(found.snapshot.model[name], last.model[name]), name
    assert not torch.equal(best.model["fc1.weight"], last.model["fc1.weight"])


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 10), max_size=4).map(sorted),
    schedule=st.sampled_from(
        [
            LrSchedule("plateau", 0.3, patience=0, threshold=0.05),
            LrSchedule("plateau", 0.3, patience=1, monitor="train_loss", minimum=0.001),
            LrSchedule("exponential", 0.7, warmup_epochs=2),
        ]
    ),
    patience=st.integers(1, 4),
    min_delta=st.sampled_from([0.0, 0.02]),
    monitor=st.sampled_from(MONITORS),
    restore_best=st.booleans(),
    switch_epoch=st.integers(0, 6),
    learning_rate=st.sampled_from([0.02, 0.2]),
)
def test_cut_anywhere_and_continued_is_straight_through_with_plateau_and_early_stop(
    cuts: list[int],
    schedule: LrSchedule,
    patience: int,
    min_delta: float,
    monitor: Monitor,
    restore_best: bool,
    switch_epoch: int,
    learning_rate: float,
) -> None:
    rule = EarlyStop(patience, min_delta, monitor, restore_best)
    spec = watching(schedule, rule, epochs=10, learning_rate=learning_rate)
    spec = replace(spec, schedule=switched(soft(spec), switch_epoch, 10))
    whole = run(spec)
    reached = None
    for epoch in cuts:
        reached = through_bytes(run(spec.shortened(epoch), reached))
    continued = run(spec, reached)
    assert state(continued) == state(whole)
    assert continued.progress.curve == whole.progress.curve


def test_a_stopped_training_does_not_go_on() -> None:
    spec = watching(rule=EarlyStop(1), epochs=40, learning_rate=1)
    stopped = run(spec)
    assert stopped.epoch == stopped.early_stop.stopped_epoch < 40
    assert len(stopped.progress.curve) == stopped.epoch
    for epochs in (stopped.epoch, stopped.epoch + 1, 40):
        longer = run(spec.shortened(epochs), through_bytes(stopped))
        assert state(longer) == state(stopped) == state(run(spec.shortened(epochs)))
    assert run(spec.shortened(stopped.epoch - 1)).early_stop.stopped_epoch is None


def test_a_training_that_diverges_is_not_stopped_early() -> None:
    recipe = Recipe("plain", None, "sgd", 1e30, early_stop=EarlyStop(1, monitor="train_loss"))
    spec = TrialSpec(3, DataSpec("table"), recipe, (Segment(9),))
    found = run(spec)
    assert found.progress.diverged_epoch == 1
    assert found.early_stop.stopped_epoch is None


def test_data_without_the_rows_that_are_watched_is_refused() -> None:
    spec = watching(rule=EarlyStop(1))
    with pytest.raises(ValueError, match="without a validation split"):
        train(spec, loaded(DataSpec("groups")), {})


def test_the_device_is_waited_for_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[str] = []
    for name in ("tolist", "item", "__bool__", "__float__", "__int__", "__index__"):
        real = getattr(Tensor, name)

        def counting(
            self: Tensor, *args: object, _real: object = real, _name: str = name
        ) -> object:
            waits.append(_name)
            return _real(self, *args)  # type: ignore[operator]

        monkeypatch.setattr(Tensor, name, counting)
    plateau = LrSchedule("plateau", 0.3, patience=0)
    for spec in (watching(), watching(plateau, EarlyStop(99, restore_best=True))):
        loaded(spec.data)
        waits.clear()
        run(spec)
        assert waits == ["tolist"] * 8


# Precision


def test_bfloat16_is_another_training_near_the_first_with_weights_and_losses_in_float32() -> None:
    _, recipe = toys.RECIPES["bfloat16"]
    low = trial("bfloat16")
    high = replace(low, recipe=replace(recipe, precision="float32"))
    found, full = run(low), run(high)
    assert state(found).tensors != state(full).tensors
    assert state(run(low)) == state(found)
    tensors = [*found.model.values(), *found.optimizer.values()]
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    losses = torch.tensor(found.progress.train_loss)
    assert found.progress.train_loss == pytest.approx(full.progress.train_loss, rel=0.02)
    assert not torch.equal(losses, losses.bfloat16().float())
    # Rounding inputs and weights to 8 bits moves the gradient of a first step by about as much.
    first, other = run(low.shortened(1)).model, run(high.shortened(1)).model
    start = build_model(low, loaded(low.data)).state_dict()
    for name, tensor in first.items():
        moved = (other[name] - start[name]).norm()
        assert 0 < (tensor - other[name]).norm() < 0.5 * moved, name


def test_bfloat16_multiplies_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: set[torch.dtype] = set()

    def watched(self: toys.Recording, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        kinds.add(out.dtype)
        return out

    monkeypatch.setattr(toys.Recording, "forward", watched)
    recipe = Recipe("recording", 64, precision="bfloat16")
    run(TrialSpec(3, DataSpec("table"), recipe, (Segment(1),)))
    assert kinds == {torch.bfloat16}
    # What is watched is measured in float32.
    kinds.clear()
    spec = TrialSpec(
        3,
        DataSpec("table", validation=0.2),
        replace(recipe, early_stop=EarlyStop(9)),
        (Segment(1),),
    )
    run(spec)
    assert kinds == {torch.bfloat16, torch.float32}
