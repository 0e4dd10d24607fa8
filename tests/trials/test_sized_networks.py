"""Networks that are named by their sizes are trained, attacked and kept as any other."""

from functools import cache

import pytest
import torch

from data import DataSpec
from data.load import LoadedData, load
from trials.attack_settings import Attacks
from trials.engine import lane_group
from trials.evaluate import evaluate
from trials.snapshot import Snapshot
from trials.spec import Recipe, Segment, TrialSpec
from trials.train import train
from trials.weights import restore, to_bytes

DIGITS = DataSpec("digits", train_size=128)
NAMES = [
    "mlp-8-relu",
    "cnn-4-3",
    "vit-p4-w8-d1-h2-dropout20",
    "mobilenetv3-small-dropout20",
]


@cache
def digits() -> LoadedData:
    return load(DIGITS)


def trial(name: str, batch_size: int | None = 64, epochs: int = 2) -> TrialSpec:
    return TrialSpec(38, DIGITS, Recipe(name, batch_size, init="uniform"), (Segment(epochs),))


def bits(snapshot: Snapshot) -> dict[str, bytes]:
    tensors = {**snapshot.model, **{f"optimizer {k}": t for k, t in snapshot.optimizer.items()}}
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


@pytest.mark.parametrize("name", NAMES)
def test_forked_is_straight_through_and_weights_come_back(name: str) -> None:
    spec, loaded = trial(name), digits()
    straight = train(spec, loaded, {})
    middle = train(spec.shortened(1), loaded, {}).snapshot
    forked = train(spec, loaded, {}, start=Snapshot.from_bytes(middle.to_bytes()))
    assert bits(forked.snapshot) == bits(straight.snapshot)
    assert bits(middle) != bits(straight.snapshot)
    figures = [
        evaluate(
            model, loaded.test, task=loaded.task, inputs=loaded.inputs, low=loaded.input_low,
            high=loaded.input_high,
            under=Attacks(fgsm_epsilons=(0.05,), weight_noise=(0.01,), noise_repeats=1),
        )
        for model in (
            straight.model, restore(DataSpec("digits"), name, to_bytes(straight.model.state_dict()))
        )
    ]  # fmt: skip
    assert figures[0] == figures[1]


def test_a_perceptron_on_images_is_not_for_lanes() -> None:
    spec = trial("mlp-8-relu", batch_size=None)
    assert lane_group(spec) is None
    assert torch.isfinite(
        torch.tensor(train(spec, digits(), {}).snapshot.progress.train_loss)
    ).all()
