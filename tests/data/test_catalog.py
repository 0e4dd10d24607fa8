import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import data
from data import DatasetEntry, RawArrays, catalog


def test_built_in_entries_state_the_known_facts() -> None:
    facts = {
        name: (e.task, e.outputs, e.input_shape, e.train_rows, e.test_rows)
        for name in data.names()
        for e in [data.get(name)]
    }
    assert facts == {
        "california_housing": ("regression", 1, (8,), 16_512, 4_128),
        "cifar10": ("classification", 10, (3, 32, 32), 50_000, 10_000),
        "digits": ("classification", 10, (1, 8, 8), 1_437, 360),
        "fashion_mnist": ("classification", 10, (1, 28, 28), 60_000, 10_000),
        "known_function": ("regression", 1, (10,), 2_000, 1_000),
        "mnist": ("classification", 10, (1, 28, 28), 60_000, 10_000),
    }


def test_every_built_in_function_exists() -> None:
    for name in data.names():
        entry = data.get(name)
        assert callable(catalog.resolve(entry.prepare))
        assert entry.embedded or (entry.download and callable(catalog.resolve(entry.download)))


@pytest.mark.parametrize("name", ["cifar100", "CIFAR10", "", "../cifar10", None, 3])
def test_unknown_name_is_refused_with_the_allowed_ones(name: object) -> None:
    with pytest.raises(data.UnknownDatasetError) as caught:
        data.get(name)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)
    assert repr(name) in str(caught.value)
    assert "california_housing, cifar10, digits, fashion_mnist, known_function, mnist" in str(
        caught.value
    )


@pytest.mark.parametrize("name", ["../x", "a/b", "Toy", "", "-a", "a.b", "a" * 65, "a\n", 7])
def test_bad_names_are_refused(toy: DatasetEntry, name: object) -> None:
    with pytest.raises(ValueError, match=r"dataset name .* is not allowed"):
        replace(toy, name=name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("task", "ranking"),
        ("outputs", 1),
        ("outputs", True),
        ("outputs", 2.0),
        ("input_shape", (2, 2)),
        ("input_shape", [1, 2, 2]),
        ("input_shape", (1, 0, 2)),
        ("train_rows", 0),
        ("test_rows", -1),
        ("fingerprint", "abc"),
        ("version", 0),
        ("prepare", "no colon"),
        ("prepare", None),
        ("download", 3),
        ("source", "/etc"),
        ("source", "../x"),
        ("pixel_max", 256),
        ("class_rows", ((4, 4, 4),)),
        ("class_rows", ((4, 4), (2, 2))),
        ("class_rows", ((4, 4, 4), (2, 2, -1))),
        ("class_rows", ((4, 4, 4.0), (2, 2, 2))),
    ],
)
def test_bad_fields_are_refused_by_key_and_value(
    toy: DatasetEntry, key: str, value: object
) -> None:
    with pytest.raises(ValueError, match="is not allowed") as caught:
        replace(toy, **{key: value})  # type: ignore[arg-type]
    assert f"{key} = {value!r}" in str(caught.value)


def test_registering_again_needs_replace(toy: DatasetEntry) -> None:
    data.register(replace(toy))
    other = replace(toy, version=2)
    with pytest.raises(ValueError, match="'toy' is already registered"):
        data.register(other)
    assert data.get("toy") == toy
    data.register(other, replace=True)
    assert data.get("toy") == other


def test_identity_holds_name_version_and_fingerprint(toy: DatasetEntry) -> None:
    assert toy.identity == "toy:1:unpinned"
    assert replace(toy, version=3, fingerprint="ab" * 32).identity == f"toy:3:{'ab' * 32}"


def test_entries_travel_to_workers(tmp_path: Path) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    factor = 3

    def prepare(folder: Path) -> RawArrays:
        x = np.ones((2, 1)) * factor
        return RawArrays(x, x, x, x)

    entry = DatasetEntry(
        name="closure", task="regression", outputs=1, input_shape=(1,), prepare=prepare
    )
    there = pickle.loads(cloudpickle.dumps(entry))
    assert catalog.resolve(there.prepare)(tmp_path).x_train.tolist() == [[3.0], [3.0]]
    built_in = data.get("cifar10")
    assert pickle.loads(pickle.dumps(built_in)) == built_in


def test_errors_survive_pickle() -> None:
    error = pickle.loads(pickle.dumps(data.UnknownDatasetError("what it says")))
    assert (type(error), str(error)) == (data.UnknownDatasetError, "what it says")
