"""Loading some classes alone."""

from dataclasses import replace

import pytest
import torch

import data
from data import DatasetEntry, DataSpec
from data.load import load


def test_only_their_rows_are_in_any_split(toy: DatasetEntry) -> None:
    whole = load(DataSpec("toy"))
    loaded = load(DataSpec("toy", classes=(0, 2), validation=0.25))
    # Four training and two test rows of each class; a quarter of eight is two.
    assert loaded.train.y.bincount().tolist() == [3, 0, 3]
    assert loaded.split("validation").y.bincount().tolist() == [1, 0, 1]
    assert loaded.test.y.tolist() == [label for label in whole.test.y.tolist() if label != 1]
    assert torch.equal(loaded.test.x, whole.test.x[whole.test.y != 1])
    # Row i of the source begins with pixel 4i and has class i modulo 3: pairs stayed together.
    for split in (loaded.train, loaded.split("validation"), loaded.test):
        assert torch.equal(split.x[:, 0, 0, 0].long() // 4 % 3, split.y)


def test_the_mask_says_which_outputs_belong(toy: DatasetEntry) -> None:
    loaded = load(DataSpec("toy", classes=(0, 2)))
    assert loaded.outputs == 3
    assert loaded.class_mask is not None
    assert loaded.class_mask.dtype == torch.float32
    assert loaded.class_mask.tolist() == [1, 0, 1]
    assert load(DataSpec("toy", classes=(0, 1, 2))).class_mask is None


def test_rows_are_as_planned() -> None:
    spec = DataSpec("digits", classes=(1, 4, 9), validation=0.2, train_fraction=0.5)
    loaded = load(spec)
    sizes = tuple(len(loaded.split(name)) for name in ("train", "validation", "test"))
    assert sizes == spec.rows()
    unknown = replace(data.get("digits"), train_rows=None, test_rows=None)
    data.register(unknown, replace=True)
    late = DataSpec("digits", classes=(1, 4, 9), validation=0.2, train_fraction=0.5)
    assert late.rows() is None
    assert torch.equal(load(late).train.x, loaded.train.x)


def test_classes_without_rows_are_refused() -> None:
    data.register(replace(data.get("digits"), outputs=12, class_rows=None), replace=True)
    with pytest.raises(ValueError, match=r"classes = \(10, 11\) .* 'digits': no training row"):
        load(DataSpec("digits", classes=(10, 11)))
