"""Our optimizers give PyTorch's bits, go on where they stopped, and do not load its compiler."""

import copy
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from trials.optimizers import Adam, Optimizer, Sgd, build_optimizer
from trials.snapshot import Snapshot
from trials.spec import Recipe

Make = Callable[[nn.Module], Optimizer]

PAIRS: dict[str, tuple[Make, Callable[[nn.Module], torch.optim.Optimizer]]] = {
    "adam": (
        lambda m: Adam(m.parameters(), 0.01),
        lambda m: torch.optim.Adam(m.parameters(), lr=0.01, fused=True),
    ),
    "adam with weight decay": (
        lambda m: Adam(m.parameters(), 0.01, 0.1),
        lambda m: torch.optim.Adam(m.parameters(), lr=0.01, weight_decay=0.1, fused=True),
    ),
    "sgd": (
        lambda m: Sgd(m.parameters(), 0.01),
        lambda m: torch.optim.SGD(m.parameters(), lr=0.01, fused=True),
    ),
    "sgd with momentum and weight decay": (
        lambda m: Sgd(m.parameters(), 0.01, 0.9, 0.1),
        lambda m: torch.optim.SGD(
            m.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1, fused=True
        ),
    ),
}


def network(channels_last: bool = False) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(27, 2))
    if channels_last:
        layers = layers.to(memory_format=torch.channels_last)
    layers.unused = nn.Parameter(torch.ones(3))
    return layers


def steps(model: nn.Module, optimizer: Optimizer | torch.optim.Optimizer, number: int) -> None:
    x = torch.linspace(-1, 1, 5 * 2 * 4 * 4).view(5, 2, 4, 4)
    for _ in range(number):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", PAIRS)
def test_the_bits_are_pytorch_s(name: str, channels_last: bool) -> None:
    ours, theirs = network(channels_last), network(channels_last)
    make_ours, make_theirs = PAIRS[name]
    steps(ours, make_ours(ours), 7)
    before = theirs.state_dict()["0.weight"].clone()
    steps(theirs, make_theirs(theirs), 7)
    assert equal(ours.state_dict(), theirs.state_dict())
    assert not torch.equal(before, theirs.state_dict()["0.weight"])


@pytest.mark.parametrize("done", [0, 3])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", PAIRS)
def test_an_optimizer_goes_on_as_if_it_had_not_stopped(
    name: str, channels_last: bool, done: int
) -> None:
    make = PAIRS[name][0]
    model = network(channels_last)
    optimizer = make(model)
    steps(model, optimizer, done)
    weights = copy.deepcopy(model.state_dict())
    content = Snapshot(0, weights, optimizer.tensors()).to_bytes()
    steps(model, optimizer, 3)
    snapshot = Snapshot.from_bytes(content)
    again = network(channels_last)
    continued = make(again)
    again.load_state_dict(snapshot.model)
    continued.load(snapshot.optimizer)
    steps(again, continued, 3)
    assert equal(again.state_dict(), model.state_dict())
    assert equal(continued.tensors(), optimizer.tensors())


def test_the_state_by_index_and_name() -> None:
    model = network()
    optimizer = Adam(model.parameters(), 0.01)
    assert optimizer.tensors() == {}
    steps(model, optimizer, 2)
    found = optimizer.tensors()
    names = [name for name, _ in model.named_parameters()]
    used = [index for index, name in enumerate(names) if name != "unused"]
    assert set(found) == {f"{i}/{n}" for i in used for n in ("step", "exp_avg", "exp_avg_sq")}
    assert found[f"{used[-1]}/step"].item() == 2
    steps(model, optimizer, 1)
    assert found[f"{used[-1]}/step"].item() == 2  # a copy


def test_a_loaded_state_is_the_optimizer_s_own() -> None:
    model = network()
    optimizer = Sgd(model.parameters(), 0.01, 0.9)
    given = {f"{i}/momentum_buffer": torch.zeros_like(p) for i, p in enumerate(model.parameters())}
    optimizer.load(given)
    steps(model, optimizer, 1)
    assert not any(tensor.any() for tensor in given.values())


def test_a_recipe_says_which_optimizer() -> None:
    model = network()
    adam = build_optimizer(Recipe("m", 8, learning_rate=0.5, weight_decay=0.25), model)
    assert isinstance(adam, Adam)
    assert (adam.learning_rate, adam.weight_decay) == (0.5, 0.25)
    sgd = build_optimizer(Recipe("m", 8, "sgd", 0.5, 0.25, 0.75), model)
    assert isinstance(sgd, Sgd)
    assert (sgd.learning_rate, sgd.weight_decay, sgd.momentum) == (0.5, 0.25, 0.75)


def test_a_training_does_not_load_the_compiler() -> None:
    code = (
        "import sys, data\n"
        "from data.load import load\n"
        "from trials.spec import Recipe, Segment, TrialSpec\n"
        "from trials.train import train\n"
        "rows = data.DataSpec('digits', train_size=64)\n"
        "train(TrialSpec(1, rows, Recipe('small', 32), (Segment(1),)), load(rows), {})\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
