"""Noise on labels and on targets: how much, where, nested, and only in training."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data import DatasetEntry, DataSpec
from data.load import LoadedData, load
from data.relabel import noisy_rows, other_labels


def changes(loaded: LoadedData) -> dict[int, int]:
    """New labels by row."""
    assert loaded.perturbed is not None
    rows = loaded.perturbed.rows.tolist()
    return dict(zip(rows, loaded.train.y[loaded.perturbed.rows].tolist(), strict=True))


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"label_noise": 0.1}, 144),  # of 1,437
        ({"label_noise": 0.1, "validation": 0.1}, 129),  # of 1,293
        ({"label_noise": 0.25, "train_size": 10}, 3),  # 2.5, rounded up
        ({"label_noise": 0.2, "label_noise_part": 0.15}, 43),  # of 215.55, so of 216
        ({"label_noise": 0.5, "classes": (3, 8)}, 143),  # of 146 + 139, rounded up
    ],
)
def test_how_many_labels_change(options: dict[str, object], count: int) -> None:
    loaded = load(DataSpec("digits", **options))  # type: ignore[arg-type]
    clean = load(DataSpec("digits", **{k: v for k, v in options.items() if "noise" not in k}))  # type: ignore[arg-type]
    assert loaded.perturbed is not None
    different = (loaded.train.y != clean.train.y).nonzero()[:, 0]
    assert len(different) == len(loaded.perturbed) == count
    assert torch.equal(different, loaded.perturbed.rows)
    assert torch.equal(clean.train.y[different], loaded.perturbed.labels)
    assert torch.equal(loaded.train.x, clean.train.x)
    assert torch.equal(loaded.test.y, clean.test.y)
    if clean.validation is not None:
        assert torch.equal(loaded.split("validation").y, clean.validation.y)
    assert clean.perturbed is None
    if "classes" in options:
        assert set(loaded.train.y.tolist()) == {3, 8}


def test_the_rows_of_less_noise_keep_their_labels_in_more() -> None:
    for part in (1.0, 0.3):
        few, many = (
            changes(load(DataSpec("digits", label_noise=noise, label_noise_part=part)))
            for noise in (0.05, 0.4)
        )
        assert len(few) < len(many)
        assert few.items() <= many.items()
    one, other = (
        changes(load(DataSpec("digits", label_noise=0.05, split_seed=seed))) for seed in (0, 1)
    )
    assert one != other


def test_noise_is_confined_to_one_part() -> None:
    nearly_all, most, few = (
        set(changes(load(DataSpec("digits", label_noise=noise, label_noise_part=0.15))))
        for noise in (0.999, 0.9, 0.1)
    )
    assert len(nearly_all) == 216
    assert few < most < nearly_all
    wider = changes(load(DataSpec("digits", label_noise=0.999, label_noise_part=0.3)))
    assert nearly_all <= set(wider)
    counts = load(DataSpec("digits")).train.y[sorted(nearly_all)].bincount()
    assert counts.max() - counts.min() <= 1


def test_new_labels_are_any_other_class() -> None:
    labels = np.repeat(np.arange(10), 900)
    drawn = other_labels(DataSpec("digits"), 10, np.arange(9_000), labels)
    table = np.zeros((10, 10), int)
    np.add.at(table, (labels, drawn), 1)
    assert (table.diagonal() == 0).all()
    others = table[~np.eye(10, dtype=bool)]
    # 900 draws of one in nine: 100, deviation 9.4; ninety of them.
    assert np.abs(others - 100).max() < 4.2 * math.sqrt(900 * 8 / 81)
    few = other_labels(DataSpec("digits", classes=(2, 5, 7)), 10, np.arange(3), np.array([2, 5, 7]))
    assert all(new in {2, 5, 7} - {old} for new, old in zip(few, (2, 5, 7), strict=True))


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=3, max_size=60),
    st.floats(0.3, 0.99), st.floats(0.5, 1), st.integers(0, 99),
)  # fmt: skip
def test_noise_is_stratified_and_a_function_of_rows(
    labels: list[int], noise: float, part: float, seed: int
) -> None:
    spec = DataSpec("digits", label_noise=noise, label_noise_part=part, split_seed=seed)
    classes = np.array(labels)
    positions = np.arange(len(labels)) * 7
    try:
        rows = noisy_rows(spec, positions, 1_437, classes)
    except ValueError:
        assert noise * (part * len(labels) - 0.5) < 0.5
        return
    assert (np.diff(rows) > 0).all()
    assert len(rows) == spec.noisy_rows(len(labels))[1]
    if len(set(labels)) > 1:
        new = other_labels(spec, 10, positions[rows], classes[rows])
        assert (new != classes[rows]).all()
        alone = other_labels(spec, 10, positions[rows[-1:]], classes[rows[-1:]])
        assert alone[0] == new[-1]


def test_noise_on_targets_is_in_standardised_units_and_in_training_alone() -> None:
    clean = load(DataSpec("known_function", validation=0.2))
    noisy = {
        level: load(DataSpec("known_function", validation=0.2, target_noise=level))
        for level in (0.1, 0.5)
    }
    for level, loaded in noisy.items():
        difference = (loaded.train.y - clean.train.y).double()
        n = len(difference)
        assert abs(float(difference.mean())) < 4 * level / math.sqrt(n)
        assert abs(float(difference.std()) - level) < 4 * level / math.sqrt(2 * n)
        assert loaded.train.y.dtype == torch.float32
        assert torch.equal(loaded.train.x, clean.train.x)
        for name in ("validation", "test"):
            assert torch.equal(loaded.split(name).x, clean.split(name).x)
            assert torch.equal(loaded.split(name).y, clean.split(name).y)
    # The same draws at every level, so five times the noise.
    small, large = (noisy[level].train.y - clean.train.y for level in (0.1, 0.5))
    torch.testing.assert_close(5 * small, large, atol=2e-6, rtol=1e-5)
    other = load(DataSpec("known_function", validation=0.2, target_noise=0.1, split_seed=1))
    assert not torch.equal(other.train.y, noisy[0.1].train.y)


def test_noise_on_a_target_belongs_to_its_row(table: DatasetEntry) -> None:
    def noise_by_input(size: int | None) -> dict[float, float]:
        clean, loaded = (
            load(DataSpec("table", size, 0.0, 4, target_noise=level)) for level in (0.0, 0.2)
        )
        difference = (loaded.train.y - clean.train.y)[:, 0].tolist()
        return dict(zip(clean.train.x[:, 0].tolist(), difference, strict=True))

    assert len(set(noise_by_input(None).values())) == 4
    # Three of the four rows are used; each keeps its draw.
    kept = [round(value, 5) for value in noise_by_input(3).values()]
    assert set(kept) < {round(value, 5) for value in noise_by_input(None).values()}
