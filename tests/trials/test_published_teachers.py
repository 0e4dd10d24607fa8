"""The published networks, on the real data, give the figures that were published with them."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

import data
from data.load import LoadedData, load
from models.initialise import build
from trials.evaluate import evaluate
from trials.weights import load as load_weights

SEEDS = {
    ("cifar10", "small"): (127, 10106, 12578),
    ("cifar10", "medium"): (127, 10106, 12578),
    ("california_housing", "small"): (1483, 10106, 12578),
    ("california_housing", "medium"): (9945, 10106, 12578),
    ("california_housing", "large"): (2324, 10106, 12578),
}
PUBLISHED = [(d, size, seed) for (d, size), seeds in SEEDS.items() for seed in seeds]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def _loaded(dataset: str, data_dir: Path) -> LoadedData:
    return load(data.DataSpec(dataset), data_dir)


@pytest.mark.parametrize(("dataset", "size", "seed"), PUBLISHED)
def test_published_figure(
    dataset: str, size: str, seed: int, data_dir: Path, reference_dir: Path
) -> None:
    folder = reference_dir / "teachers"
    name = f"{dataset}-{size}-seed{seed}"
    published = json.loads((folder / "teachers.json").read_text())[name]["value"]
    loaded = _loaded(dataset, data_dir)
    model = build(dataset, size, loaded.input_shape, loaded.outputs, "default", seed=0)
    load_weights(model, folder / f"{name}.safetensors")
    found = evaluate(
        model,
        loaded.test,
        task=loaded.task,
        inputs=loaded.inputs,
        low=loaded.input_low,
        high=loaded.input_high,
    ).metrics
    if dataset == "cifar10":
        assert found.metric == published
    else:
        assert found.metric == pytest.approx(published, abs=1e-6)


def test_every_published_network_is_tested(reference_dir: Path) -> None:
    published = json.loads((reference_dir / "teachers" / "teachers.json").read_text())
    assert {(p["dataset"], p["size"], p["seed"]) for p in published.values()} == set(PUBLISHED)
