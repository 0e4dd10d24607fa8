"""Classes, fractions, scaling, noise and corruption in a specification: checks and one form."""

import dataclasses
import math
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import data
from data import DataSpec
from data.store import read
from trials.identity import canonical

BLUR: dict[str, Any] = {"corruption": "blur", "corruption_strength": 1.0}


@pytest.mark.parametrize(
    ("dataset", "key", "value"),
    [
        ("digits", "classes", (3,)),
        ("digits", "classes", ()),
        ("digits", "classes", (1, 1)),
        ("digits", "classes", (2, 1)),
        ("digits", "classes", (1, 10)),
        ("digits", "classes", (-1, 1)),
        ("digits", "classes", (1, 2.0)),
        ("digits", "classes", (0, True)),
        ("digits", "classes", 3),
        ("california_housing", "classes", (0, 1)),
        ("digits", "scaling", "zscore"),
        ("california_housing", "scaling", "unit"),
        ("california_housing", "scaling", "imagenet"),
        ("digits", "scaling", "imagenet"),  # of one channel
        ("digits", "image_size", 0),
        ("digits", "image_size", 4097),
        ("digits", "image_size", 16.0),
        ("california_housing", "image_size", 16),
        ("digits", "train_fraction", 0),
        ("digits", "train_fraction", 1.01),
        ("digits", "train_fraction", math.nan),
        ("digits", "train_fraction", True),
        ("digits", "train_fraction", 1e-9),
        ("digits", "label_noise", 1),
        ("digits", "label_noise", -0.1),
        ("digits", "label_noise", math.nan),
        ("digits", "label_noise", 1e-9),
        ("california_housing", "label_noise", 0.1),
        ("digits", "label_noise_part", 0),
        ("digits", "label_noise_part", 1.5),
        ("california_housing", "target_noise", -1.0),
        ("california_housing", "target_noise", math.inf),
        ("california_housing", "target_noise", "1"),
        ("digits", "target_noise", 0.1),
        ("digits", "corruption", "fog"),
        ("california_housing", "corruption", "blur"),
        ("digits", "corruption_strength", -1.0),
        ("digits", "corruption_strength", math.nan),
        ("digits", "corruption_fraction", 1.1),
        ("digits", "corruption_fraction", -0.1),
        ("digits", "corruption_on", "test"),
    ],
)
def test_bad_values_are_refused_by_key_and_value(dataset: str, key: str, value: object) -> None:
    options: dict[str, Any] = {key: value}
    with pytest.raises(ValueError, match="is not allowed") as caught:
        DataSpec(dataset, **options)
    assert f"{key} = {value!r}" in str(caught.value)


def test_messages_say_what_is_allowed() -> None:
    for options, said in (
        ({"classes": (2, 1)}, "at least two different classes from 0 to 9, ascending"),
        ({"corruption": "noise", "corruption_strength": 1.5}, "'noise', a number from 0 to 1 "),
        ({"corruption": "blur"}, "corruption_strength = None is not allowed: for corruption"),
        ({"corruption": "center-black", "corruption_strength": 0.05}, r"images of \(8, 8\) pixels"),
        ({"train_fraction": 0.5, "train_size": 9}, "not allowed beside train_size = 9"),
        ({"label_noise": 0.001, "train_size": 100}, r"changes none of 100 rows \(100 training"),
    ):
        with pytest.raises(ValueError, match=said):
            DataSpec("digits", **options)  # type: ignore[arg-type]


def test_what_is_off_leaves_the_form_that_ids_are_made_of() -> None:
    off: dict[str, Any] = {
        "train_fraction": 1,
        "classes": list(range(10)),
        "scaling": "symmetric",
        "image_size": 8,
        "label_noise": -0.0,
        "label_noise_part": 0.15,
        "target_noise": 0,
        "corruption_strength": 2,
        "corruption_fraction": 0.5,
        "corruption_on": "all",
        "split_seed": 5,
    }
    assert DataSpec("digits", **off) == DataSpec("digits")
    assert canonical(DataSpec("digits", **off)) == {"name": "digits"}
    # As it was before these options came: the form of a specification that has none of them.
    assert canonical(DataSpec("digits", 100, 0.1, 3)) == {
        "name": "digits", "split_seed": 3, "train_size": 100, "validation": 0.1
    }  # fmt: skip


@pytest.mark.parametrize("without", [{"corruption_strength": 0}, {"corruption_fraction": 0.0}])
def test_corruption_of_nothing_is_none(without: dict[str, Any]) -> None:
    assert DataSpec("digits", **(BLUR | {"corruption_on": "all"} | without)) == DataSpec("digits")


def test_numbers_have_one_spelling() -> None:
    spec = DataSpec("digits", corruption="blur", corruption_strength=2, corruption_fraction=1)
    assert repr(spec.corruption_strength) == "2.0"
    assert repr(spec.corruption_fraction) == "1.0"
    assert repr(DataSpec("known_function", target_noise=1).target_noise) == "1.0"
    assert hash(DataSpec("digits", classes=[1, 2])) == hash(DataSpec("digits", classes=(1, 2)))  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.parametrize(
    ("options", "drawn"),
    [
        (BLUR, False),
        (BLUR | {"corruption": "center-black"}, False),
        (BLUR | {"corruption": "quarter-black"}, True),
        (BLUR | {"corruption": "noise"}, True),
        (BLUR | {"corruption_fraction": 0.5}, True),
        ({"label_noise": 0.1}, True),
        ({"train_fraction": 0.5}, True),
        ({"classes": (0, 1), "scaling": "unit", "image_size": 16}, False),
    ],
)
def test_the_seed_counts_where_something_is_drawn(options: dict[str, Any], drawn: bool) -> None:
    one, other = (DataSpec("digits", split_seed=seed, **options) for seed in (1, 2))
    assert (one != other) is drawn
    noisy = DataSpec("known_function", split_seed=1, target_noise=0.1)
    assert noisy != dataclasses.replace(noisy, split_seed=2)


def test_a_fraction_is_a_size_where_rows_are_known() -> None:
    # 45,000 rows remain; a tenth is 4,500. Of 1,437 digits a half is 718.5, rounded up.
    fraction = DataSpec("cifar10", validation=0.1, train_fraction=0.1)
    assert fraction == DataSpec("cifar10", 4_500, 0.1)
    assert DataSpec("digits", train_fraction=0.5).train_size == 719
    assert DataSpec("digits", train_fraction=0.9999) == DataSpec("digits")
    assert DataSpec("digits", train_fraction=0.0004).train_size == 1


def test_rows_of_classes_are_known_without_data() -> None:
    # Digits 0 and 1: 142 and 146 training rows, 36 and 36 test rows.
    assert DataSpec("digits", classes=(0, 1)).rows() == (288, 0, 72)
    assert DataSpec("digits", classes=(0, 1), validation=0.1).rows() == (259, 29, 72)
    assert DataSpec("digits", classes=(0, 1), train_size=288) == DataSpec("digits", classes=(0, 1))
    assert DataSpec("cifar10", classes=(0, 3, 5), train_fraction=0.1).rows() == (1_500, 0, 3_000)
    assert DataSpec("mnist", classes=(3, 8)).rows() == (6_131 + 5_851, 0, 1_010 + 974)
    with pytest.raises(ValueError, match=r"train_size = 300 .* 'digits': at most 288 \(288 train"):
        DataSpec("digits", classes=(0, 1), train_size=300)


def test_class_counts_of_the_catalogue_are_those_of_the_data(data_dir: Any) -> None:
    for name in ("digits", "cifar10", "fashion_mnist"):
        entry = data.get(name)
        try:
            found = read(name, data_dir)
        except data.DatasetUnavailableError:
            continue
        for labels, counts in zip((found.y_train, found.y_test), entry.class_rows, strict=True):
            assert tuple((labels == label).sum() for label in range(10)) == counts


def test_class_counts_of_an_entry_with_other_rows_are_unknown() -> None:
    data.register(dataclasses.replace(data.get("digits"), train_rows=12), replace=True)
    spec = DataSpec("digits", classes=(0, 1), train_size=10**6, train_fraction=None)
    assert spec.rows() is None
    half = DataSpec("digits", classes=(0, 1), train_fraction=0.5)
    assert (half.train_fraction, half.train_size) == (0.5, None)
    assert half.counts(9) == (5, 0)  # 4.5, rounded up
    with pytest.raises(ValueError, match=r"train_fraction = 0\.5 .* leaves none of 0 rows"):
        half.counts(0)


def test_input_shape() -> None:
    assert DataSpec("cifar10").input_shape == (3, 32, 32)
    assert DataSpec("cifar10", image_size=224).input_shape == (3, 224, 224)
    assert DataSpec("california_housing").input_shape == (8,)


@given(
    st.integers(1, 5_000), st.floats(0.01, 0.99), st.floats(0.01, 1),
)  # fmt: skip
def test_noisy_rows_are_a_part_of_a_part(training: int, noise: float, part: float) -> None:
    spec = DataSpec("digits", label_noise=0.5)
    object.__setattr__(spec, "label_noise", noise)  # past the check for the digits' own count
    object.__setattr__(spec, "label_noise_part", part)
    try:
        candidates, noisy = spec.noisy_rows(training)
    except ValueError:
        assert noise * (part * training - 0.5) < 0.5
    else:
        assert abs(candidates - part * training) <= 0.5
        assert abs(noisy - noise * candidates) <= 0.5
        assert 0 < noisy <= candidates <= training


@given(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["cifar10", "fashion_mnist", "mnist"])},
        optional={
            "classes": st.sets(st.integers(0, 9), min_size=2).map(lambda s: tuple(sorted(s))),
            "validation": st.just(0) | st.floats(0.01, 0.9),
            "split_seed": st.integers(0, 9),
            "train_fraction": st.floats(0.1, 1),
            "scaling": st.sampled_from(["symmetric", "unit", "standard"]),
            "image_size": st.sampled_from([28, 32, 64, None]),
            "label_noise": st.sampled_from([0, 0.1, 0.5]),
            "label_noise_part": st.floats(0.2, 1),
            "corruption": st.sampled_from(["blur", "noise", "center-black", None]),
            "corruption_strength": st.sampled_from([0, 0.1, 1]),
            "corruption_fraction": st.sampled_from([0, 0.5, 1]),
            "corruption_on": st.sampled_from(["train", "all"]),
        },
    )
)
@settings(deadline=None)
def test_one_form_made_again_is_itself(options: dict[str, Any]) -> None:
    options.setdefault("corruption_strength", 0.5)
    spec = DataSpec(**options)
    assert dataclasses.replace(spec) == spec
    assert canonical(dataclasses.replace(spec)) == canonical(spec)
    training, validation, test = spec.rows() or (0, 0, 0)
    available, _ = data.get(spec.name).rows(spec.classes)
    assert training + validation <= (available or 0)
    assert min(training, test) > 0
    assert spec.train_fraction is None  # a size, wherever rows are known
