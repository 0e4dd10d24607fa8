"""What networks are shown: the scalings, their limits, and other sizes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import data
from data import DatasetEntry, DataSpec
from data.load import load
from data.scaling import resized, scaling_figures
from data.shared import adopt, share
from tests.data.conftest import toy_arrays


def test_the_unit_scaling(toy: DatasetEntry) -> None:
    loaded = load(DataSpec("toy", scaling="unit"))
    stored = torch.tensor([[[[0, 255], [51, 204]]]], dtype=torch.uint8)
    torch.testing.assert_close(loaded.inputs(stored), torch.tensor([[[[0.0, 1.0], [0.2, 0.8]]]]))
    assert (loaded.input_low, loaded.input_high, loaded.fill) == (0, 1, 0)


def test_the_symmetric_scaling_has_the_bits_that_it_had(toy: DatasetEntry) -> None:
    x = torch.arange(256, dtype=torch.uint8).reshape(64, 1, 2, 2)
    loaded = load(DataSpec("toy"))
    before = x.to(torch.float32).div_(255).sub_(0.5).div_(0.5)
    assert torch.equal(loaded.inputs(x), before)
    assert (loaded.input_low, loaded.input_high, loaded.fill) == (-1.0, 1.0, -1.0)
    assert type(loaded.input_low) is float


@pytest.fixture
def colours(tmp_path: Path, toy: DatasetEntry, save: Callable[..., Path]) -> Path:
    """The toy with three channels: halves of black and white; 51 and 153; and all 102."""
    x = np.zeros((18, 2, 2, 3), np.uint8)
    x[:, 1, :, 0] = 255
    x[..., 1] = 51
    x[:, 1, :, 1] = 153
    x[..., 2] = 102
    x[:, 0, 0, 2] = 102
    x[12:] = 7  # the test rows are not fitted
    save("toy", toy_arrays(), x_train=x[:12], x_test=x[12:])
    data.register(replace(toy, input_shape=(3, 2, 2)), replace=True)
    return tmp_path


def test_the_standard_scaling_by_hand(colours: Path) -> None:
    loaded = load(DataSpec("toy", scaling="standard"), colours)
    assert isinstance(loaded.input_low, Tensor)
    assert isinstance(loaded.input_high, Tensor)
    # Means 0.5, 0.4, 0.4; deviations 0.5, 0.2, and a constant channel's 0, which counts as 1.
    assert loaded.input_low.shape == loaded.input_high.shape == (3, 1, 1)
    assert loaded.input_low.dtype == torch.float32
    assert loaded.input_low.flatten().tolist() == pytest.approx([-1, -2, -0.4])
    assert loaded.input_high.flatten().tolist() == pytest.approx([1, 3, 0.6])
    assert loaded.fill is loaded.input_low
    inputs = loaded.inputs(loaded.train.x)
    assert inputs[0, :, 0, 0].tolist() == pytest.approx([-1, -1, 0])
    assert inputs[0, :, 1, 1].tolist() == pytest.approx([1, 1, 0])
    black, white = (torch.full((1, 3, 2, 2), v, dtype=torch.uint8) for v in (0, 255))
    assert torch.equal(loaded.inputs(black), loaded.input_low.expand(1, 3, 2, 2))
    assert torch.equal(loaded.inputs(white), loaded.input_high.expand(1, 3, 2, 2))


def test_the_imagenet_scaling_by_hand(colours: Path) -> None:
    loaded = load(DataSpec("toy", scaling="imagenet"), colours)
    assert isinstance(loaded.input_low, Tensor)
    assert isinstance(loaded.input_high, Tensor)
    # -0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225; 0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225.
    assert loaded.input_low.shape == loaded.input_high.shape == (3, 1, 1)
    assert loaded.input_low.flatten().tolist() == pytest.approx([-2.117904, -2.035714, -1.804444])
    assert loaded.input_high.flatten().tolist() == pytest.approx([2.248908, 2.428571, 2.64])
    # Black, 51 / 255 = 0.2 and 102 / 255 = 0.4: whatever the rows are, nothing is fitted to them.
    expected = [-2.117904, (0.2 - 0.456) / 0.224, (0.4 - 0.406) / 0.225]
    assert loaded.inputs(loaded.train.x)[0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_limits_travel(colours: Path) -> None:
    spec = DataSpec("toy", scaling="standard", classes=(0, 2), label_noise=0.5, validation=0.25)
    loaded = load(spec, colours)
    there = adopt(share(loaded))
    for name in ("input_low", "input_high", "mean", "deviation", "class_mask"):
        assert torch.equal(getattr(there, name), getattr(loaded, name))
    assert there.perturbed is not None
    assert loaded.perturbed is not None
    assert torch.equal(there.perturbed.rows, loaded.perturbed.rows)
    assert torch.equal(there.perturbed.labels, loaded.perturbed.labels)
    assert torch.equal(there.inputs(there.test.x), loaded.inputs(loaded.test.x))
    away = loaded.to("meta")
    for name in ("input_low", "input_high", "mean", "deviation", "class_mask"):
        assert getattr(away, name).device.type == "meta"
    assert away.perturbed is not None
    assert away.perturbed.rows.device.type == away.perturbed.labels.device.type == "meta"
    assert len(away.perturbed) == len(loaded.perturbed)
    plain = adopt(share(load(DataSpec("toy"), colours)))
    assert (plain.perturbed, plain.class_mask, plain.input_low) == (None, None, -1.0)


def test_figures_are_exact_and_of_the_used_rows() -> None:
    images = torch.randint(0, 17, (50, 2, 8, 8), dtype=torch.uint8)
    mean, deviation = scaling_figures("standard", images, 16)
    order = torch.randperm(50)
    again = scaling_figures("standard", images[order], 16)
    assert torch.equal(mean, again[0])  # type: ignore[arg-type]
    assert torch.equal(deviation, again[1])  # type: ignore[arg-type]
    values = images.double() / 16
    torch.testing.assert_close(mean.flatten().double(), values.mean(dim=(0, 2, 3)))  # type: ignore[union-attr]
    spread = values.std(dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(deviation.flatten().double(), spread)  # type: ignore[union-attr]
    few, all_rows = (
        load(DataSpec("digits", 50, scaling="standard")),
        load(DataSpec("digits", scaling="standard")),
    )
    for loaded in (few, all_rows):
        shown = loaded.inputs(loaded.train.x).double()
        assert abs(float(shown.mean())) < 1e-5
        assert float(shown.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert not torch.equal(few.input_low, all_rows.input_low)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "means", "deviations"),
    [
        ("fashion_mnist", [0.2860], [0.3530]),
        ("cifar10", [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
    ],
)
def test_the_figures_that_the_field_normalises_with(
    data_dir: Path, name: str, means: list[float], deviations: list[float]
) -> None:
    try:
        loaded = load(DataSpec(name, scaling="standard"), data_dir)
    except data.DatasetUnavailableError as error:
        pytest.skip(str(error))
    assert isinstance(loaded.mean, Tensor)
    assert isinstance(loaded.deviation, Tensor)
    assert loaded.mean.flatten().tolist() == pytest.approx(means, abs=5e-5)
    assert loaded.deviation.flatten().tolist() == pytest.approx(deviations, abs=5e-5)


def test_other_sizes(toy: DatasetEntry) -> None:
    loaded = load(DataSpec("toy", image_size=4))
    assert loaded.input_shape == DataSpec("toy", image_size=4).input_shape == (1, 4, 4)
    assert loaded.train.x.shape == (12, 1, 2, 2)
    shown = loaded.inputs(torch.tensor([[[[0, 255], [0, 255]]]], dtype=torch.uint8))
    # Pixel centres at 0.25, 0.75, 1.25, 1.75 of the two: 0, a quarter, three quarters, 1.
    torch.testing.assert_close(shown, torch.tensor([-1.0, -0.5, 0.5, 1.0]).expand(1, 1, 4, 4))
    smaller = load(DataSpec("toy", image_size=1))
    mean = smaller.inputs(torch.tensor([[[[0, 255], [51, 204]]]], dtype=torch.uint8))
    torch.testing.assert_close(mean, torch.zeros(1, 1, 1, 1))
    for size in (3, 5, 7):
        shown = load(DataSpec("toy", image_size=size, scaling="unit")).inputs(
            torch.full((2, 1, 2, 2), 255, dtype=torch.uint8)
        )
        assert shown.shape == (2, 1, size, size)
        assert float(shown.max()) <= 1
        torch.testing.assert_close(shown, torch.ones(2, 1, size, size))


@pytest.mark.slow  # imports torchvision
def test_resizing_is_that_of_torchvision() -> None:
    from torchvision.transforms import v2

    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for size in (8, 20, 64, 224):
        theirs = v2.Resize((size, size), antialias=True)(images)
        torch.testing.assert_close(resized(images, (size, size)), theirs)


def test_a_table_has_no_pixels(table: DatasetEntry) -> None:
    with pytest.raises(ValueError, match="'table' is a table: it has no pixels"):
        _ = load(DataSpec("table")).fill
