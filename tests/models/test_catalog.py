import subprocess
import sys

import pytest
from torch import nn

import models
from models import ModelEntry, UnknownModelError, catalog


@pytest.fixture(autouse=True)
def _own_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_entries", dict(catalog._entries))


def linear(input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    return nn.Linear(input_shape[0], outputs)


@pytest.mark.parametrize(
    "dataset", ["cifar10", "fashion_mnist", "mnist", "california_housing", "digits"]
)
def test_home_names(dataset: str) -> None:
    assert models.names(dataset) == ("small", "medium", "large", "student")
    for name in models.names(dataset):
        entry = models.get(dataset, name)
        assert (entry.dataset, entry.name, entry.version) == (dataset, name, 1)


def test_own_entry_of_a_dataset_comes_before_one_that_fits_any() -> None:
    general = ModelEntry("small", linear)
    models.register(general)
    assert models.get("cifar10", "small").dataset == "cifar10"
    assert models.get("another", "small") is general
    assert models.names("another") == ("small",)
    assert models.names("cifar10") == ("small", "medium", "large", "student")


@pytest.mark.parametrize("build", [linear, "tests.models.test_catalog:linear"])
def test_builds_a_registered_network(build: models.Build) -> None:
    models.register(ModelEntry("mine", build, "wine", version=3))
    entry = models.get("wine", "mine")
    network = entry.make((13,), 2)
    assert isinstance(network, nn.Linear)
    assert (network.in_features, network.out_features) == (13, 2)
    assert entry.version == 3


def test_lazy_build_is_not_imported_before_it_is_needed() -> None:
    models.register(ModelEntry("later", "no_such_module_anywhere:build"))
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        models.get("digits", "later").make((1,), 1)


def test_another_entry_of_a_name_is_refused_unless_replaced() -> None:
    models.register(ModelEntry("mine", linear))
    models.register(ModelEntry("mine", linear))
    with pytest.raises(ValueError, match=r"name = 'mine'.*any dataset.*replace=True"):
        models.register(ModelEntry("mine", linear, version=2))
    models.register(ModelEntry("mine", linear, version=2), replace=True)
    assert models.get("digits", "mine").version == 2


def test_unknown_name_says_what_is_allowed() -> None:
    models.register(ModelEntry("mine", linear))
    with pytest.raises(
        UnknownModelError,
        match=r"model = 'huge': for dataset 'digits' .*: small, medium, large, student, mine$",
    ):
        models.get("digits", "huge")


def test_unknown_dataset_says_how_to_add_one() -> None:
    with pytest.raises(UnknownModelError, match=r"'wine'.*models\.register"):
        models.get("wine", "small")


@pytest.mark.parametrize("name", ["", "Small", "../small", "a b", "_x", "x" * 65, "small\n", 3])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name = "):
        ModelEntry(name, linear)
    with pytest.raises(ValueError, match="dataset = "):
        ModelEntry("mine", linear, dataset=name)


@pytest.mark.parametrize("build", ["module", "module:", ":f", "a b:f", "m:f()", 3, None])
def test_bad_builds_are_refused(build: models.Build) -> None:
    with pytest.raises(ValueError, match=r"build = .*module:function"):
        ModelEntry("mine", build)


@pytest.mark.parametrize("version", [0, -1, True, 1.0])
def test_bad_versions_are_refused(version: int) -> None:
    with pytest.raises(ValueError, match="version = "):
        ModelEntry("mine", linear, version=version)


def test_entries_of_a_script_can_be_sent_to_a_worker() -> None:
    # Run as a script, so that the function lives in __main__, as in a notebook.
    sender = """
import sys
from ray import cloudpickle
import models
def build(input_shape, outputs):
    return f"a network from {input_shape} to {outputs}"
sys.stdout.buffer.write(cloudpickle.dumps(models.ModelEntry("mine", build, "wine", 2)))
"""
    receiver = """
import sys, pickle, models
models.register(pickle.load(sys.stdin.buffer))
entry = models.get("wine", "mine")
print(entry.version, entry.make((13,), 2), end="")
"""
    sent = subprocess.run([sys.executable, "-c", sender], capture_output=True, check=True).stdout
    got = subprocess.run(
        [sys.executable, "-c", receiver], input=sent, capture_output=True, check=True
    ).stdout
    assert got == b"2 a network from (13,) to 2"


def test_importing_the_catalogue_loads_no_torch() -> None:
    code = "import models, sys; models.get('cifar10', 'small'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
