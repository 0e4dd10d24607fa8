import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import data
from data import DatasetEntry, DataSpec
from data.load import LoadedData, load
from data.rows import choose_rows
from tests.data.conftest import toy_arrays


def rows_of(x: torch.Tensor) -> set[bytes]:
    return {row.numpy().tobytes() for row in x}


def test_images_are_stored_as_bytes_and_scaled_on_use(toy: DatasetEntry) -> None:
    loaded = load(DataSpec("toy"))
    assert loaded.train.x.dtype == torch.uint8
    assert loaded.train.x.shape == (12, 1, 2, 2)
    assert loaded.train.y.dtype == torch.int64
    assert (loaded.input_low, loaded.input_high) == (-1.0, 1.0)
    assert (len(loaded.train), len(loaded.test), loaded.validation) == (12, 6, None)
    scaled = loaded.inputs(torch.tensor([[[[0, 255], [51, 204]]]], dtype=torch.uint8))
    assert scaled.dtype == torch.float32
    torch.testing.assert_close(scaled, torch.tensor([[[[-1.0, 1.0], [-0.6, 0.6]]]]))
    before = loaded.train.x.clone()
    loaded.inputs(loaded.train.x)
    assert torch.equal(before, loaded.train.x)


def test_colour_images_become_channels_first(
    tmp_path: Path, toy: DatasetEntry, save: Callable[..., Path]
) -> None:
    # Channel c of every image is constant 10 c plus its row's number.
    number = np.arange(18, dtype=np.uint8)[:, None, None, None]
    x = np.broadcast_to(number, (18, 4, 5, 3)) + np.array([0, 20, 40], np.uint8)
    save("toy", toy_arrays(), x_train=x[:12], x_test=x[12:])
    data.register(replace(toy, input_shape=(3, 4, 5)), replace=True)
    train = load(DataSpec("toy"), tmp_path).train.x
    assert train.shape == (12, 3, 4, 5)
    assert train.is_contiguous()
    assert (train[:, 1] - train[:, 0] == 20).all()
    assert (train[:, 2] - train[:, 0] == 40).all()
    assert sorted(train[:, 0, 3, 4].tolist()) == list(range(12))


def test_tables_are_standardised_by_the_training_rows(table: DatasetEntry) -> None:
    loaded = load(DataSpec("table"))
    # Inputs 1 2 3 6: mean 3, population variance (4 + 1 + 0 + 9) / 4 = 3.5; the second column is
    # constant 5. Targets 10 20 30 40: mean 25, variance 125.
    x, y = math.sqrt(3.5), math.sqrt(125)
    assert sorted(loaded.train.x[:, 0].tolist()) == pytest.approx([-2 / x, -1 / x, 0, 3 / x])
    assert loaded.train.x[:, 1].tolist() == [0, 0, 0, 0]
    assert sorted(loaded.train.y[:, 0].tolist()) == pytest.approx([-15 / y, -5 / y, 5 / y, 15 / y])
    test = sorted(zip(loaded.test.x.tolist(), loaded.test.y[:, 0].tolist(), strict=True))
    assert test[0][0] == pytest.approx([-5 / x, 0])
    assert test[1][0] == pytest.approx([2 / x, 1])
    assert [target for _, target in test] == pytest.approx([-20 / y, 0])
    assert (loaded.input_low, loaded.input_high) == pytest.approx((-5 / x, 2 / x))
    assert loaded.train.x.dtype == loaded.train.y.dtype == torch.float32
    assert loaded.inputs(loaded.test.x) is loaded.test.x


def test_only_the_rows_that_are_used_are_fitted(table: DatasetEntry) -> None:
    for spec in (DataSpec("table", validation=0.5), DataSpec("table", train_size=2)):
        loaded = load(spec)
        for values in (loaded.train.x[:, 0], loaded.train.y[:, 0]):
            assert sorted(values.tolist()) == pytest.approx([-1, 1])
    assert load(DataSpec("table", train_size=1)).train.x.tolist() == [[0, 0]]


def test_splits_by_name(toy: DatasetEntry) -> None:
    loaded = load(DataSpec("toy", validation=0.25))
    assert loaded.split("train") is loaded.train
    assert loaded.split("validation") is loaded.validation
    assert loaded.split("test") is loaded.test
    with pytest.raises(ValueError, match="split 'tset' is not known: allowed are train, valid"):
        loaded.split("tset")
    with pytest.raises(ValueError, match="'toy' was loaded without a validation split"):
        load(DataSpec("toy")).split("validation")


def test_moving_keeps_everything_else(toy: DatasetEntry) -> None:
    loaded = load(DataSpec("toy", validation=0.25)).to("meta")
    for name in ("train", "validation", "test"):
        assert loaded.split(name).x.device.type == loaded.split(name).y.device.type == "meta"
    assert (loaded.name, loaded.outputs, loaded.pixel_max) == ("toy", 3, 255)
    assert load(DataSpec("toy")).to("cpu").validation is None


def test_loading_again_gives_the_same_bits(toy: DatasetEntry) -> None:
    spec = DataSpec("toy", train_size=5, validation=0.25, split_seed=3)
    one, other = load(spec), load(spec)
    for name in ("train", "validation", "test"):
        assert torch.equal(one.split(name).x, other.split(name).x)
        assert torch.equal(one.split(name).y, other.split(name).y)


def test_splits_are_disjoint_stratified_and_seeded(toy: DatasetEntry) -> None:
    whole = load(DataSpec("toy"))
    loaded = load(DataSpec("toy", validation=0.25))
    assert loaded.validation is not None
    assert loaded.validation.y.bincount().tolist() == [1, 1, 1]
    assert loaded.train.y.bincount().tolist() == [3, 3, 3]
    train, held_out = rows_of(loaded.train.x), rows_of(loaded.validation.x)
    assert train | held_out == rows_of(whole.train.x)
    assert not train & held_out
    assert torch.equal(loaded.test.x, whole.test.x)
    chosen = {
        frozenset(rows_of(load(DataSpec("toy", validation=0.25, split_seed=seed)).split(name).x))
        for seed in range(8)
        for name in ["validation"]
    }
    assert len(chosen) > 4


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 9), min_size=12, max_size=80),
    st.sampled_from([0.0, 0.2, 0.5]),
    st.integers(0, 2**63 - 1),
    st.data(),
)
def test_choices_are_nested_in_train_size_and_ascend(
    labels: list[int], validation: float, seed: int, draw: st.DataObject
) -> None:
    classes, rows = np.array(labels), len(labels)
    most = rows - math.floor(validation * rows + 0.5)
    small, large = sorted(draw.draw(st.tuples(st.integers(1, most), st.integers(1, most))))
    chosen = [
        choose_rows(DataSpec("cifar10", size, validation, seed), rows, classes)
        for size in (small, large, None)
    ]
    assert [len(c["train"]) for c in chosen] == [small, large, most]
    assert set(chosen[0]["train"]) <= set(chosen[1]["train"]) <= set(chosen[2]["train"])
    for choice in chosen:
        assert all((np.diff(picked) > 0).all() for picked in choice.values())
        assert ("validation" in choice) == (validation > 0)
        if validation:
            np.testing.assert_array_equal(choice["validation"], chosen[0]["validation"])
            assert not set(choice["validation"]) & set(choice["train"])


def test_too_few_rows_are_found_when_the_catalog_does_not_know(toy: DatasetEntry) -> None:
    data.register(replace(toy, train_rows=None, test_rows=None), replace=True)
    with pytest.raises(
        ValueError, match=r"train_size = 13 is not allowed for dataset 'toy': at mo"
    ):
        load(DataSpec("toy", train_size=13))


def test_loading_does_not_download(tmp_path: Path) -> None:
    with pytest.raises(data.DatasetUnavailableError, match="`sweep data fetch cifar10`"):
        load(DataSpec("cifar10"), tmp_path)


def test_digits() -> None:
    loaded = load(DataSpec("digits", validation=0.1))
    assert [len(loaded.split(name)) for name in ("train", "validation", "test")] == [1293, 144, 360]
    assert loaded.train.x.shape[1:] == loaded.input_shape == (1, 8, 8)
    scaled = loaded.inputs(loaded.test.x)
    assert (scaled.min(), scaled.max()) == (-1, 1)
    assert loaded.fingerprint == data.get("digits").fingerprint
    # The counts of each digit in the set's own description: 178 182 177 183 181 182 181 179 174 180.
    whole = np.array([178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    test, held_out = (
        loaded.test.y.bincount().numpy(),
        loaded.split("validation").y.bincount().numpy(),
    )
    assert (test + held_out + loaded.train.y.bincount().numpy() == whole).all()
    assert np.abs(test - whole * 360 / 1797).max() < 1
    assert np.abs(held_out - (whole - test) * 144 / 1437).max() < 1


@pytest.fixture(scope="module")
def cifar10(data_dir: Path) -> LoadedData:
    return load_or_skip("cifar10", data_dir)


def load_or_skip(name: str, data_dir: Path) -> LoadedData:
    try:
        return load(DataSpec(name), data_dir)
    except data.DatasetUnavailableError as error:
        pytest.skip(str(error))


def test_cifar10(cifar10: LoadedData) -> None:
    assert cifar10.train.x.shape == (50_000, 3, 32, 32)
    assert cifar10.test.x.shape == (10_000, 3, 32, 32)
    assert cifar10.train.y.bincount().tolist() == [5_000] * 10
    assert cifar10.test.y.bincount().tolist() == [1_000] * 10
    # The channel means that the field normalises with: 0.4914, 0.4822, 0.4465.
    sums = [cifar10.train.x[:, channel].sum(dtype=torch.int64) for channel in range(3)]
    means = [float(total) / (50_000 * 1024 * 255) for total in sums]
    assert means == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)


def test_fashion_mnist(data_dir: Path) -> None:
    loaded = load_or_skip("fashion_mnist", data_dir)
    assert loaded.train.x.shape == (60_000, 1, 28, 28)
    assert loaded.train.y.bincount().tolist() == [6_000] * 10
    assert loaded.test.y.bincount().tolist() == [1_000] * 10
    # Mean 0.2860 and deviation 0.3530, as the field normalises with.
    pixels = loaded.train.x.to(torch.float32) / 255
    assert float(pixels.mean(dtype=torch.float64)) == pytest.approx(0.2860, abs=5e-5)
    assert float(pixels.std()) == pytest.approx(0.3530, abs=5e-5)


def test_california_housing_is_the_published_split(data_dir: Path) -> None:
    from sklearn.datasets import fetch_california_housing
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    loaded = load_or_skip("california_housing", data_dir)
    assert (loaded.train.x.shape, loaded.train.y.shape) == ((16_512, 8), (16_512, 1))
    assert (loaded.test.x.shape, loaded.test.y.shape) == ((4_128, 8), (4_128, 1))
    if not (data_dir / "cal_housing_py3.pkz").exists():
        pytest.skip(f"cal_housing_py3.pkz not found in {data_dir}")
    bunch = fetch_california_housing(data_home=str(data_dir), download_if_missing=False)
    columns = np.column_stack([bunch.data, bunch.target])
    train, test = train_test_split(columns, test_size=0.2, random_state=42)
    scaler = StandardScaler().fit(train)
    for split, raw in ((loaded.train, train), (loaded.test, test)):
        ours = torch.cat([split.x, split.y], dim=1).numpy()
        theirs = scaler.transform(raw).astype(np.float32)
        ours, theirs = (rows[np.lexsort(rows.T.round(3))] for rows in (ours, theirs))
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6)
    inputs = scaler.transform(test)[:, :8]
    assert loaded.input_low == pytest.approx(inputs.min(), rel=1e-6)
    assert loaded.input_high == pytest.approx(inputs.max(), rel=1e-6)


def test_other_row_order_of_real_data_gives_the_same_tensors(
    tmp_path: Path, save: Callable[..., Path]
) -> None:
    from data.builtin import digits

    raw = digits(tmp_path)
    back = raw.x_train[::-1], raw.y_train[::-1]
    save("digits", replace(raw, x_train=back[0], y_train=back[1]))
    spec = DataSpec("digits", train_size=100, validation=0.2)
    assert data.verify("digits", tmp_path).path == tmp_path / "digits.npz"
    one, other = load(spec), load(spec, tmp_path)
    for name in ("train", "validation", "test"):
        assert torch.equal(one.split(name).x, other.split(name).x)
        assert torch.equal(one.split(name).y, other.split(name).y)
