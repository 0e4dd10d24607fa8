"""On a GPU: equal trials give equal bits there too, and figures close to the CPU's."""

import pytest
import torch

import data
from data.load import load
from trials.device import configure
from trials.snapshot import Snapshot
from trials.spec import HARD, Guide, Objective, Recipe, TeacherRule, TrialSpec, switched
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


def _spec(epochs: int, switch_epoch: int) -> TrialSpec:
    return TrialSpec(
        7,
        data.DataSpec("digits", train_size=256),
        Recipe("student", 64),
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
        and one.progress.train_loss == other.progress.train_loss
    )


def test_a_training_repeats_bit_for_bit() -> None:
    assert _same(_train(_spec(3, 2), "cuda"), _train(_spec(3, 2), "cuda"))


def test_a_fork_equals_the_training_alone() -> None:
    trunk = _train(_spec(3, 3).shortened(1), "cuda")
    forked = _train(_spec(3, 1), "cuda", Snapshot.from_bytes(trunk.to_bytes()))
    assert _same(forked, _train(_spec(3, 1), "cuda"))


def test_the_start_is_the_same_as_on_the_cpu() -> None:
    cpu, gpu = _train(_spec(1, 0).shortened(0), "cpu"), _train(_spec(1, 0).shortened(0), "cuda")
    assert all(torch.equal(cpu.model[key], gpu.model[key]) for key in cpu.model)
