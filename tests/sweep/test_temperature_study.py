"""The recipe of the study `temperature`: one step by hand, and a training in pieces."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from data import DataSpec
from data.augment import Augment, augment
from data.load import LoadedData, load
from sweep.expand import Cell, Role, cells
from sweep.study import load_study
from tests.trials.test_train import state, through_bytes
from trials.course import Trained, build_model
from trials.snapshot import Snapshot
from trials.spec import TrialSpec
from trials.streams import stream_key
from trials.train import train

T = 4.0
RECIPE = load_study("temperature").datasets["cifar10"].recipe


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As every trial on a CPU runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def asked(student: str, rows: int, epochs: int) -> tuple[TrialSpec, TrialSpec]:
    """A student of the study at soft weight 0.9, and its teacher, on few digits and with smaller networks.

    Augmentation, weights, schedule of the learning rate and optimizer are those of the full study; its
    patience is shorter and an improvement has to be large, so that the rate falls within a few epochs.
    """
    study = load_study(
        "temperature",
        {
            "datasets": {"digits": {}},
            "published": [],
            "figures": [],
            "tables": [],
            "then": [],
            "grid.student": [student],
            "grid.teacher": ["cnn-4-8"],
            "grid.temperature": [T],
            "grid.switch_epoch": [epochs],
            "recipe.epochs": epochs,
            "recipe.batch_size": 64,
            "recipe.lr_schedule.patience": 0,
            "recipe.lr_schedule.threshold": 0.5,
            "recipe.early_stop.patience": 3,
            "split.train_size": rows,
        },
    )
    found: dict[Role, Cell] = {cell.role: cell for cell in cells(study) if cell.seed == 0}
    return found[Role.STUDENT].spec, found[Role.TEACHER].spec


@cache
def loaded(spec: DataSpec) -> LoadedData:
    return load(spec)


def run(spec: TrialSpec, teacher: TrialSpec, start: Snapshot | None = None) -> Trained:
    network = build_model(teacher, loaded(teacher.data)).eval()
    networks = {rule.key: network for rule in spec.rules}
    return train(spec, loaded(spec.data), {}, networks=networks, start=start)


def log_softmax(logits: torch.Tensor, temperature: float = 1.0) -> NDArray[np.float64]:
    scaled = logits.detach().numpy().astype(np.float64) / temperature
    shifted = scaled - scaled.max(axis=1, keepdims=True)
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found


def test_images_are_changed_as_published() -> None:
    assert RECIPE.augment.how() == Augment(flip=True, pad=4, rotation=15)
    assert (RECIPE.batch_size, RECIPE.learning_rate, RECIPE.weight_decay) == (300, 1e-3, 1e-4)
    schedule = RECIPE.lr_schedule
    assert (schedule.factor, schedule.patience, schedule.monitor) == (0.2, 5, "validation_loss")
    assert RECIPE.early_stop.patience == 10


def test_the_loss_of_a_step_is_the_one_by_hand() -> None:
    spec, teacher = asked("resnet18-3x3", rows=64, epochs=1)
    rows = loaded(spec.data)
    order = torch.randperm(
        64, generator=torch.Generator().manual_seed(stream_key(spec.seed, "order", 0))
    )
    x, y = rows.inputs(rows.train.x[order]), rows.train.y[order]
    shown = augment(x, spec.recipe.augment, rows.fill, stream_key(spec.seed, "augment", 0, 0))
    with torch.no_grad():
        student = build_model(spec, rows).train()(shown)
        guide = build_model(teacher, rows).eval()(shown)
    hard = -log_softmax(student)[np.arange(64), y.numpy()].mean()
    of_student, of_teacher = log_softmax(student, T), log_softmax(guide, T)
    divergence = (np.exp(of_teacher) * (of_teacher - of_student)).sum(axis=1).mean()
    recorded = run(spec, teacher).snapshot.progress.train_loss
    assert recorded == pytest.approx((0.1 * hard + 0.9 * T * T * divergence,), rel=1e-4)
    assert recorded != pytest.approx((0.1 * hard + 0.9 * divergence,), rel=1e-2)
    assert recorded != pytest.approx((0.9 * hard + 0.1 * T * T * divergence,), rel=1e-2)


@pytest.mark.parametrize(
    ("student", "cuts"),
    [
        ("cnn-4-8", (1, 2, 3)),
        ("mobilenetv3-small-3x3", (2,)),
        pytest.param("resnet18-3x3", (2,), marks=pytest.mark.slow),
    ],
)
def test_cut_in_the_middle_and_continued_is_straight_through(
    student: str, cuts: tuple[int, ...]
) -> None:
    spec, teacher = asked(student, rows=64, epochs=4)
    whole = run(spec, teacher)
    expected = state(whole.snapshot)
    plateau, stop = expected.schedules
    assert plateau.rate is not None
    assert plateau.rate < RECIPE.learning_rate, "lowered on the way"
    assert stop.best_epoch is not None
    for epoch in cuts:
        middle = through_bytes(run(spec.shortened(epoch), teacher).snapshot)
        assert middle.epoch == epoch < expected.epoch
        gone_on = run(spec, teacher, middle)
        assert state(gone_on.snapshot) == expected, f"cut after epoch {epoch}"
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(gone_on.model.state_dict()[name], tensor), name
