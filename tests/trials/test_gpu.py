"""On a GPU: equal trials give equal bits there too, and figures close to the CPU's."""

import pytest
import torch

import data
from data.load import load
from trials.device import configure
from trials.snapshot import Snapshot
from trials.spec import (
    HARD,
    EarlyStop,
    Guide,
    LrSchedule,
    Objective,
    Recipe,
    TeacherRule,
    TrialSpec,
    switched,
)
from trials.train import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

RULE = TeacherRule(("a" * 24,), "test")
GUIDED = Objective(0.5, 0.5, "kl", 2.0, (Guide(RULE),))


@pytest.fixture(autouse=True)
def _configured() -> None:
    configure()


RECIPES = {
    "plain": Recipe("student", 64),
    "bfloat16": Recipe("student", 64, precision="bfloat16"),
    "watching": Recipe(
        "student",
        64,
        lr_schedule=LrSchedule("plateau", 0.5, patience=0, threshold=0.5),
        early_stop=EarlyStop(9, restore_best=True),
    ),
}


def _spec(epochs: int, switch_epoch: int, recipe: str = "plain") -> TrialSpec:
    return TrialSpec(
        7,
        data.DataSpec("digits", train_size=256, validation=0.1),
        RECIPES[recipe],
        switched(GUIDED, switch_epoch, epochs, HARD),
    )


def _train(spec: TrialSpec, device: str, start: Snapshot | None = None) -> Snapshot:
    loaded = load(spec.data)
    teacher = torch.linspace(-2, 2, 256 * 10).reshape(256, 10).to(device)
    return train(
        spec, loaded, {RULE.key: teacher}, start=start, device=torch.device(device)
    ).snapshot


def _same(one: Snapshot, other: Snapshot) -> bool:
    return (
        all(torch.equal(one.model[key], other.model[key]) for key in one.model)
        and all(torch.equal(one.optimizer[key], other.optimizer[key]) for key in one.optimizer)
        and all(torch.equal(one.best[key], other.best[key]) for key in one.best)
        and one.progress.train_loss == other.progress.train_loss
        and one.progress.curve == other.progress.curve
        and (one.plateau, one.early_stop) == (other.plateau, other.early_stop)
    )


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_training_repeats_bit_for_bit(recipe: str) -> None:
    assert _same(_train(_spec(3, 2, recipe), "cuda"), _train(_spec(3, 2, recipe), "cuda"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_fork_equals_the_training_alone(recipe: str) -> None:
    trunk = _train(_spec(3, 3, recipe).shortened(1), "cuda")
    forked = _train(_spec(3, 1, recipe), "cuda", Snapshot.from_bytes(trunk.to_bytes()))
    assert _same(forked, _train(_spec(3, 1, recipe), "cuda"))


def test_bfloat16_is_another_training() -> None:
    assert not _same(_train(_spec(1, 0, "bfloat16"), "cuda"), _train(_spec(1, 0), "cuda"))


def test_the_start_is_the_same_as_on_the_cpu() -> None:
    cpu, gpu = _train(_spec(1, 0).shortened(0), "cpu"), _train(_spec(1, 0).shortened(0), "cuda")
    assert all(torch.equal(cpu.model[key], gpu.model[key]) for key in cpu.model)
