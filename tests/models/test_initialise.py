import math

import pytest
import torch
from torch import Tensor, nn

import models
from models import ModelEntry, catalog
from models.initialise import SCHEMES, build

CIFAR = ((3, 32, 32), 10)


def weights(init: str, seed: int = 3, name: str = "large") -> dict[str, Tensor]:
    return build("cifar10", name, *CIFAR, init, seed).state_dict()


def test_schemes_of_the_design() -> None:
    assert list(SCHEMES) == ["default", "he", "xavier", "lecun", "normal", "uniform"]


# fc1 of the large network: 32 * 16 * 16 = 8192 inputs, 128 outputs, a million weights.
@pytest.mark.parametrize(
    ("init", "deviation"),
    [
        ("default", math.sqrt(1 / (3 * 8192))),  # PyTorch: uniform within 1 / sqrt(fan_in)
        ("he", math.sqrt(2 / 8192)),
        ("xavier", math.sqrt(2 / (8192 + 128))),
        ("lecun", math.sqrt(1 / 8192)),
        ("normal", 1.0),
        ("uniform", math.sqrt(1 / (3 * 8192))),
    ],
)
def test_deviation_of_a_dense_layer(init: str, deviation: float) -> None:
    weight = weights(init)["fc1.weight"].double()
    assert weight.std().item() == pytest.approx(deviation, rel=0.005)
    assert abs(weight.mean().item()) < 5 * deviation / math.sqrt(weight.numel())


# conv2 of the large network: fan_in 16 * 9 = 144, fan_out 32 * 9 = 288, 4608 weights.
@pytest.mark.parametrize(
    ("init", "deviation"),
    [
        ("he", math.sqrt(2 / 144)),
        ("xavier", math.sqrt(2 / (144 + 288))),
        ("lecun", math.sqrt(1 / 144)),
        ("normal", 1.0),
    ],
)
def test_deviation_of_a_convolution(init: str, deviation: float) -> None:
    state = weights(init)
    assert state["conv2.weight"].double().std().item() == pytest.approx(deviation, rel=0.05)
    assert all(not t.any() for key, t in state.items() if key.endswith("bias"))


def test_xavier_is_uniform_and_he_is_normal() -> None:
    bound = math.sqrt(6 / (8192 + 128))
    assert weights("xavier")["fc1.weight"].abs().max().item() == pytest.approx(bound, rel=1e-3)
    he = weights("he")["fc1.weight"].double() / math.sqrt(2 / 8192)
    assert (he.abs() < 1).double().mean().item() == pytest.approx(0.6827, abs=0.003)


def test_uniform_sets_weights_and_biases_within_the_root_of_fan_in() -> None:
    state = weights("uniform")
    for layer, fan_in in (("conv2", 144), ("fc1", 8192), ("fc2", 128)):
        bound = 1 / math.sqrt(fan_in)
        for part in ("weight", "bias"):
            values = state[f"{layer}.{part}"].double()
            assert values.abs().max().item() <= bound * (1 + 1e-6)
            # The largest of n uniform numbers is 1 / (n + 1) below the bound on average.
            assert values.abs().max().item() > bound * (1 - 12 / values.numel())
            sigma = bound / math.sqrt(3 * values.numel())
            assert abs(values.mean().item()) < 5 * sigma


def test_default_is_what_torch_does_after_seeding() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        layer = nn.Conv2d(3, 16, 3, padding=1)
    state = weights("default", seed=11)
    assert torch.equal(state["conv1.weight"], layer.weight)
    assert layer.bias is not None
    assert torch.equal(state["conv1.bias"], layer.bias)


@pytest.mark.parametrize("init", SCHEMES)
def test_weights_depend_on_the_seed_alone(init: str) -> None:
    first = weights(init, seed=5, name="small")
    torch.rand(3)
    again = weights(init, seed=5, name="small")
    other = weights(init, seed=6, name="small")
    for key, weight in first.items():
        assert torch.equal(weight, again[key])
    assert not torch.equal(first["fc1.weight"], other["fc1.weight"])
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


@pytest.mark.parametrize("init", [name for name, scheme in SCHEMES.items() if scheme])
def test_weights_do_not_depend_on_their_order_in_memory(
    init: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convolution(input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        return nn.Conv2d(input_shape[0], outputs, 3)

    def channels_last(input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        return convolution(input_shape, outputs).to(memory_format=torch.channels_last)

    monkeypatch.setattr(catalog, "_entries", dict(catalog._entries))
    models.register(ModelEntry("first", convolution))
    models.register(ModelEntry("last", channels_last))
    first, last = (build("any", name, *CIFAR, init, 1).state_dict() for name in ("first", "last"))
    assert first["weight"].stride() != last["weight"].stride()
    assert torch.equal(first["weight"], last["weight"])


@pytest.mark.parametrize("init", SCHEMES)
def test_torch_generator_is_not_touched(init: str) -> None:
    before = torch.random.get_rng_state()
    weights(init, name="small")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_network_is_on_the_cpu_and_trains() -> None:
    with torch.device("meta"):
        network = build("cifar10", "small", *CIFAR, "he", 0)
    assert {p.device.type for p in network.parameters()} == {"cpu"}
    assert all(p.requires_grad for p in network.parameters())
    assert network.training


def test_layers_of_other_kinds_and_without_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    def convolution(input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv1d(1, 4, 3, bias=False), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(24, outputs)
        )

    monkeypatch.setattr(catalog, "_entries", dict(catalog._entries))
    models.register(ModelEntry("wave", convolution, "sound"))
    state = build("sound", "wave", (1, 8), 2, "lecun", 1).state_dict()
    assert torch.equal(state["1.weight"], torch.ones(4))
    assert not state["3.bias"].any()


def test_unknown_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match=r"init = 'best': .*default, he, xavier, lecun, normal"):
        weights("best")


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed = "):
        weights("default", seed=seed)


def test_unknown_network_is_refused() -> None:
    with pytest.raises(models.UnknownModelError, match="'huge'"):
        weights("default", name="huge")
