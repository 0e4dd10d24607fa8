import copy
import itertools
import math
import re
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import models
from models import ModelEntry, catalog
from models.alignment import METHODS, GrowthError, Site, check
from models.growth import grow
from models.head import body_parameters, head_parameters
from models.initialise import build
from models.matching import common_block, common_values
from models.networks import MLP, ConvNet

SHAPES = {
    "digits": (1, 8, 8),
    "fashion_mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "california_housing": (8,),
    "line": (3,),
}


@pytest.fixture(autouse=True)
def _own_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_entries", dict(catalog._entries))


def network(dataset: str, name: str, outputs: int = 10, seed: int = 1) -> nn.Module:
    """In double precision, where different ways to add up agree to many digits."""
    return build(dataset, name, SHAPES[dataset], outputs, "default", seed).double().eval()


def site(dataset: str, name: str, outputs: int = 10) -> Site:
    return Site(models.get(dataset, name), SHAPES[dataset], outputs)


def inputs(network_shape: tuple[int, ...], seed: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, *network_shape, generator=generator, dtype=torch.double)


def assert_same_function(source: nn.Module, target: nn.Module, shape: tuple[int, ...]) -> None:
    x = inputs(shape)
    with torch.no_grad():
        expected, found = source(x), target(x)
    assert expected.std() > 1e-3
    assert torch.allclose(expected, found, rtol=1e-10, atol=1e-12)


def flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


# By hand


def two_units() -> MLP:
    source = MLP((2,), 1, (2,), 0, 0.0)
    source.load_state_dict(
        {
            "fc1.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
            "fc1.bias": torch.tensor([5.0, 6.0]),
            "fc2.weight": torch.tensor([[7.0, 8.0]]),
            "fc2.bias": torch.tensor([9.0]),
        }
    )
    return source


def test_zeros_beside_the_source_and_an_identity_where_it_has_no_layer() -> None:
    target = MLP((2,), 1, (3, 4), 0, 0.0)
    grow(two_units(), target, "zero-pad", seed=1)
    assert {key: value.tolist() for key, value in target.state_dict().items()} == {
        "fc1.weight": [[1, 2], [3, 4], [0, 0]],
        "fc1.bias": [5, 6, 0],
        "fc2.weight": [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]],
        "fc2.bias": [0, 0, 0, 0],
        "fc3.weight": [[7, 8, 0, 0]],
        "fc3.bias": [9],
    }


def test_copies_share_what_they_say() -> None:
    source, target = two_units(), MLP((2,), 1, (5,), 0, 0.0)
    grow(source, target, "net2net", seed=1)
    state = {key: value.tolist() for key, value in target.state_dict().items()}
    first, second = ([1, 2], 5, 7.0), ([3, 4], 6, 8.0)
    units = list(zip(state["fc1.weight"], state["fc1.bias"], strict=True))
    assert units[:2] == [first[:2], second[:2]]
    assert state["fc2.bias"] == [9]
    for weights, bias, out in (first, second):
        places = [i for i, unit in enumerate(units) if unit == (weights, bias)]
        shares = [state["fc2.weight"][0][i] for i in places]
        assert shares == pytest.approx([out / len(places)] * len(places))
    assert all(unit in (first[:2], second[:2]) for unit in units)


def test_added_layers_are_identities() -> None:
    target = MLP((2,), 1, (2, 3, 2), 0, 0.0)
    grow(two_units(), target, "net2net", seed=1)
    state = {key: value.tolist() for key, value in target.state_dict().items()}
    assert state["fc1.weight"] == [[1, 2], [3, 4]]
    assert state["fc2.weight"][:2] == [[1, 0], [0, 1]]
    assert state["fc2.weight"][2] in ([1, 0], [0, 1])
    assert state["fc3.weight"] == [[1, 0, 0], [0, 1, 0]]
    assert state["fc2.bias"] + state["fc3.bias"] == [0] * 5
    assert state["fc4.weight"] == [[7, 8]]


def test_layers_go_where_they_are_wide_enough() -> None:
    # Hidden layers of 2 and 4 units fit 4, 2, 4 only as first and third.
    source, target = MLP((3,), 2, (2, 4), 0, 0.0), MLP((3,), 2, (4, 2, 4), 0, 0.0)
    grow(source, target, "net2net", seed=1)
    assert target.get_parameter("fc2.weight").tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert torch.equal(target.get_parameter("fc3.weight"), source.get_parameter("fc2.weight"))


# Functions that stay the same

WIDTHS = st.lists(st.integers(1, 5), min_size=1, max_size=3)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), widths=WIDTHS, rectify=st.booleans(), seed=st.integers(0, 2**63 - 1))
def test_perceptrons_keep_their_function(
    data: st.DataObject, widths: list[int], rectify: bool, seed: int
) -> None:
    wider = [data.draw(st.integers(width, 9)) for width in widths]
    added = data.draw(st.lists(st.integers(widths[-1], 9), max_size=2))
    source, target = (
        MLP((3,), 2, hidden, 1, 0.3, rectify_outputs=rectify).double().eval()
        for hidden in (widths, wider + added)
    )
    before = flat(source)
    grow(source, target, "net2net", seed)
    x = inputs((3,))
    assert torch.allclose(source(x), target(x), rtol=1e-10, atol=1e-12)
    assert torch.equal(flat(source), before)


SAME_FUNCTION = [
    ("digits", "small", "large"),
    ("digits", "medium", "large"),
    ("fashion_mnist", "small", "large"),
    ("cifar10", "small", "medium"),
    ("cifar10", "small", "large"),
    ("california_housing", "small", "student"),
    ("california_housing", "medium", "student"),
    ("california_housing", "large", "student"),
    ("digits", "mlp-16-8", "mlp-32-16-8"),
    ("digits", "mlp-8-relu", "mlp-32-9-8-relu"),
    ("digits", "cnn-2-3", "cnn-5-7"),
    ("fashion_mnist", "cnn-2-3-2", "cnn-4-3-4"),
]


@pytest.mark.parametrize(("dataset", "small", "large"), SAME_FUNCTION)
def test_networks_keep_their_function(dataset: str, small: str, large: str) -> None:
    source, target = network(dataset, small), network(dataset, large, seed=2)
    check(site(dataset, small), site(dataset, large), "net2net")
    grow(source, target, "net2net", seed=3)
    assert_same_function(source, target, SHAPES[dataset])


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (((2,), (3,)), ((4, 5), (6,))),
        (((2,), (3,)), ((2,), (3, 4, 3))),
        (((2, 3), (3,)), ((2, 4, 3), (5, 4))),
        (((3,),), ((3, 3, 7),)),
    ],
)
def test_convolutions_keep_their_function(
    small: tuple[tuple[int, ...], ...], large: tuple[tuple[int, ...], ...]
) -> None:
    # The images are not square, and their sides no multiples of 4.
    source, target = (
        ConvNet((2, 9, 7), 3, blocks, hidden, 0.3).double().eval()
        for blocks, hidden in ((small, 4), (large, 6))
    )
    grow(source, target, "net2net", seed=3)
    assert_same_function(source, target, (2, 9, 7))


PADDED = [
    ("digits", "small", "large"),
    ("cifar10", "small", "large"),
    ("california_housing", "small", "student"),
    ("digits", "mlp-8", "mlp-16-9-8"),
    ("digits", "cnn-2-3", "cnn-5-7"),
]


@pytest.mark.parametrize(("dataset", "small", "large"), PADDED)
def test_zeros_and_identities_keep_the_function(dataset: str, small: str, large: str) -> None:
    source, target = network(dataset, small), network(dataset, large, seed=2)
    grow(source, target, "zero-pad", seed=3)
    assert_same_function(source, target, SHAPES[dataset])


def test_something_still_flows_through_layers_that_are_added_or_narrow() -> None:
    source, target = network("digits", "small"), network("digits", "student", seed=2)
    grow(source, target, "zero-pad", seed=3)
    with torch.no_grad():
        assert target(inputs((1, 8, 8))).std(dim=0).min() > 1e-4


# Padding with random numbers


def test_uniform_padding_surrounds_the_source() -> None:
    source, target = network("line", "mlp-20-30"), network("line", "mlp-200-300-40", seed=2)
    start = copy.deepcopy(target.state_dict())
    grow(source, target, "uniform-pad", seed=3)
    small, large = source.state_dict(), target.state_dict()
    for theirs, ours, fan_in in (("fc1", "fc1", 3), ("fc2", "fc2", 200), ("fc3", "fc4", 40)):
        bound = 1 / math.sqrt(fan_in)
        rows, columns = small[f"{theirs}.weight"].shape
        weight, bias = large[f"{ours}.weight"].clone(), large[f"{ours}.bias"].clone()
        assert torch.equal(weight[:rows, :columns], small[f"{theirs}.weight"])
        assert torch.equal(bias[:rows], small[f"{theirs}.bias"])
        weight[:rows, :columns] = torch.nan
        bias[:rows] = torch.nan
        drawn = torch.cat([weight.flatten(), bias])
        drawn = drawn[~drawn.isnan()]
        # The head has 10 rows of 40 inputs, of which 30 are the source's, and no bias beside it.
        assert len(drawn) == weight.numel() + bias.numel() - rows * (columns + 1)
        assert drawn.abs().max() <= bound
        assert drawn.abs().max() > 0.9 * bound
        assert abs(drawn.mean()) < 5 * bound / math.sqrt(3 * len(drawn))
        assert drawn.std() == pytest.approx(bound / math.sqrt(3), rel=0.15)
    # The source has no third hidden layer.
    assert torch.equal(large["fc3.weight"], start["fc3.weight"])
    assert torch.equal(large["fc3.bias"], start["fc3.bias"])


@pytest.mark.parametrize("method", ["uniform-pad", "net2net"])
def test_what_is_drawn_depends_on_the_seed_alone(method: str) -> None:
    def grown(seed: int) -> Tensor:
        target = network("digits", "large", seed=2)
        grow(network("digits", "small"), target, method, seed)
        return flat(target)

    before = torch.random.get_rng_state()
    first = grown(3)
    torch.rand(2)
    assert torch.equal(first, grown(3))
    assert not torch.equal(first, grown(4))
    torch.random.set_rng_state(before)
    grow(network("digits", "small"), network("digits", "large", seed=2), method, 3)
    assert torch.equal(torch.random.get_rng_state(), before)


# Copies


def test_copy_takes_weights_and_what_normalisation_has_seen() -> None:
    source, target = (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 36, 3))
        for _ in range(2)
    )
    source(torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
    grow(source, target, "copy", seed=0)
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value)
    assert int(target.state_dict()["1.num_batches_tracked"]) == 1


def test_copy_of_all_but_the_head_into_one_of_another_size() -> None:
    name = "vit-p4-w8-d1-h2"
    source = network("digits", name, outputs=10)
    target = network("digits", f"{name}-dropout20", outputs=3, seed=2)
    start = copy.deepcopy(target.state_dict())
    grow(source, target, "copy", seed=0, head="new")
    for key, value in target.state_dict().items():
        kept = start if key.startswith("heads.head") else source.state_dict()
        assert torch.equal(value, kept[key])
    with pytest.raises(GrowthError, match=r"heads\.head\.weight: .*\(10, 8\).*\(3, 8\)"):
        grow(source, target, "copy", seed=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_new_head_stays_as_it_was(method: str) -> None:
    large = "mlp-8-6" if method == "copy" else "mlp-9-7-8"
    source, target = network("line", "mlp-8-6", 10), network("line", large, 4, seed=2)
    head = head_parameters(target)
    start = {key: target.get_parameter(key).clone() for key in head}
    grow(source, target, method, seed=3, head="new")
    assert all(torch.equal(target.get_parameter(key), start[key]) for key in head)
    assert torch.equal(target.get_parameter("fc1.weight")[:8], source.get_parameter("fc1.weight"))


def test_net2net_below_a_new_head_keeps_what_hidden_units_say() -> None:
    source, target = network("line", "mlp-4-6", 10), network("line", "mlp-5-9", 2, seed=2)
    grow(source, target, "net2net", seed=3, head="new")
    x, units = inputs((3,)), {}
    for key, module in (("source", source), ("target", target)):
        module.get_submodule("fc2").register_forward_hook(
            lambda _, __, out, key=key: units.update({key: out.clone()})
        )
        module(x)
    assert torch.allclose(units["target"][:, :6], units["source"], rtol=1e-10, atol=1e-12)


# Refusals

REFUSED = [
    ("net2net", "digits", "small", "student", "numbers of poolings 1 and 2 differ"),
    ("net2net", "digits", "cnn-2-3", "cnn-2-3-4", "leaky ReLU"),
    ("net2net", "digits", "mlp-8", "mlp-8-relu", "activations after the output layer"),
    ("net2net", "digits", "mlp-8-4", "mlp-8", "has 3 dense layers, the target only 2"),
    ("net2net", "digits", "mlp-8", "mlp-4", "too narrow"),
    ("net2net", "digits", "mlp-8-4", "mlp-9-3-9", "too narrow"),
    ("net2net", "digits", "mlp-8", "small", "only one of them has convolutions"),
    ("net2net", "digits", "cnn-2-3", "large", "leaky|strides"),
    ("zero-pad", "digits", "mlp-8", "small", "only one of them has convolutions"),
    ("uniform-pad", "digits", "large", "small", "has 2 convolutions, the target only 1"),
    ("copy", "digits", "small", "medium", "same layers"),
    ("copy", "digits", "mlp-8", "mlp-8-relu", "same layers"),
    ("zero-pad", "digits", "vit-p4-w8-d1-h2", "vit-p4-w16-d1-h2", "no chain"),
    ("net2net", "digits", "vit-p4-w8-d1-h2", "vit-p4-w8-d1-h2", "no chain|does not say"),
    ("copy", "digits", "vit-p4-w8-d1-h2", "vit-p4-w16-d1-h2", "differ|the target"),
]


@pytest.mark.parametrize(("method", "dataset", "small", "large", "reason"), REFUSED)
def test_a_pair_that_cannot_be_grown_is_refused_before_and_when_it_is_built(
    method: str, dataset: str, small: str, large: str, reason: str
) -> None:
    with pytest.raises(GrowthError, match=rf"growth = '{method}': .*({reason})"):
        check(site(dataset, small), site(dataset, large), method)
    source, target = network(dataset, small), network(dataset, large, seed=2)
    start = flat(target)
    with pytest.raises(GrowthError, match=rf"growth = '{method}': .*({reason}|the target)"):
        grow(source, target, method, seed=1)
    assert torch.equal(flat(target), start)


NAMES = [
    "small",
    "medium",
    "large",
    "student",
    "mlp-8",
    "mlp-16-8",
    "mlp-8-relu",
    "cnn-2",
    "cnn-3-3",
]


@pytest.mark.parametrize("head", ["source", "new"])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_planned_is_what_can_be_done(method: str, head: str) -> None:
    built = {name: network("digits", name) for name in NAMES}
    allowed = 0
    for small, large in itertools.product(NAMES, NAMES):
        target = copy.deepcopy(built[large])
        try:
            check(site("digits", small), site("digits", large), method, head)
        except GrowthError:
            with pytest.raises(GrowthError):
                grow(built[small], target, method, 1, head)
        else:
            grow(built[small], target, method, 1, head)
            allowed += 1
    assert len(NAMES) <= allowed < len(NAMES) ** 2


def test_other_inputs_and_outputs_are_refused_in_words() -> None:
    housing, line = site("california_housing", "mlp-8", 1), site("line", "mlp-8", 1)
    with pytest.raises(GrowthError, match=r"\(8,\) and \(3,\) differ"):
        check(housing, line, "net2net")
    with pytest.raises(GrowthError, match="numbers of outputs 1 and 2 differ"):
        check(housing, site("california_housing", "mlp-8", 2), "net2net")
    check(housing, site("california_housing", "mlp-8", 2), "net2net", head="new")
    vit = "vit-p4-w8-d1-h2"
    with pytest.raises(GrowthError, match=r"outputs 1 and 2 differ; allowed with head = 'new'"):
        check(site("digits", vit, 1), site("digits", vit, 2), "copy")
    check(site("digits", vit, 1), site("digits", f"{vit}-dropout5", 2), "copy", head="new")


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValueError, match=r"growth = 'graft': .*copy, zero-pad, uniform-pad, net2"):
        grow(two_units(), two_units(), "graft", seed=1)
    with pytest.raises(ValueError, match=r"head = 'old': must be one of source, new"):
        grow(two_units(), two_units(), "copy", seed=1, head="old")
    with pytest.raises(ValueError, match="seed = -1"):
        grow(two_units(), two_units(), "copy", seed=-1)


def test_of_a_network_that_says_nothing_growth_decides_when_it_is_built() -> None:
    def plain(input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(input_shape[0], 4), nn.ReLU(), nn.Linear(4, outputs))

    models.register(ModelEntry("plain", plain))
    check(site("line", "plain"), site("line", "mlp-8"), "zero-pad")
    source, target = network("line", "plain"), network("line", "mlp-8")
    grow(source, target, "zero-pad", seed=1)
    assert_same_function(source, target, (3,))
    with pytest.raises(GrowthError, match="does not say that it is a chain"):
        grow(source, target, "net2net", seed=1)


def test_pairs_are_checked_without_torch() -> None:
    code = (
        "import models, sys\n"
        "from models.alignment import Site, check\n"
        "get = lambda name: Site(models.get('digits', name), (1, 8, 8), 10)\n"
        "check(get('small'), get('large'), 'net2net')\n"
        "check(get('resnet18'), get('resnet18-dropout20'), 'copy')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Which weights belong together


def parameters(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def test_common_block_is_where_padding_puts_the_source() -> None:
    source, target = network("digits", "small"), network("digits", "student", seed=2)
    small, large = parameters(source), parameters(target)
    blocks = common_block(small, large)
    # conv 2, fc 8 of 2 * 4 * 4, fc 10; conv 16, 32, 64, fc 128 of 64 * 2 * 2, fc 10.
    assert blocks == {
        "conv1.weight": (slice(2), slice(1), slice(3), slice(3)), "conv1.bias": (slice(2),),
        "fc1.weight": (slice(8), slice(32)), "fc1.bias": (slice(8),),
        "fc2.weight": (slice(10), slice(8)), "fc2.bias": (slice(10),),
    }  # fmt: skip
    grow(source, target, "uniform-pad", seed=1)
    values = common_values(small, large)
    assert values.keys() == blocks.keys()
    for name, block in blocks.items():
        assert torch.equal(target.get_parameter(name)[block], values[name])
    assert list(common_block(small, large, head="new")) == list(blocks)[:4]


def test_common_block_of_output_layers_that_are_numbered_differently() -> None:
    small, large = (parameters(network("line", n, 2)) for n in ("mlp-4", "mlp-3-5"))
    blocks, values = common_block(small, large), common_values(small, large)
    assert blocks["fc3.weight"] == (slice(2), slice(4))
    assert "fc2.weight" not in blocks
    assert torch.equal(values["fc3.weight"], small["fc2.weight"])
    assert torch.equal(values["fc1.weight"], small["fc1.weight"][:3])


def test_common_block_of_a_network_that_is_no_chain_is_all_of_it() -> None:
    name = "vit-p4-w8-d1-h2"
    small, large = (parameters(network("digits", name, k)) for k in (10, 3))
    blocks = common_block(small, large)
    assert list(blocks) == list(large)
    assert blocks["encoder.pos_embedding"] == (slice(1), slice(5), slice(8))
    assert blocks["heads.head.weight"] == (slice(3), slice(8))
    assert set(large) - set(common_block(small, large, "new")) == {
        "heads.head.weight", "heads.head.bias"
    }  # fmt: skip
    other = parameters(network("digits", "vit-p4-w16-d1-h2"))
    with pytest.raises(GrowthError, match=re.escape("class_token: the source has (1, 1, 8)")):
        common_block(small, other)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("small", "fc2"),
        ("mlp-4-4-relu", "fc3"),
        ("cnn-2-2", "fc1"),
        ("resnet18-dropout20", "fc"),
        ("mobilenetv3-small", "classifier.3"),
        ("vit-p4-w8-d1-h2-dropout20", "heads.head"),
    ],
)
def test_the_head_and_the_body_are_the_network(name: str, head: str) -> None:
    with torch.device("meta"):
        module = models.get("digits", name).make((1, 8, 8), 7)
    assert head_parameters(module) == [f"{head}.weight", f"{head}.bias"]
    assert module.get_parameter(f"{head}.bias").shape == (7,)
    names = [key for key, _ in module.named_parameters()]
    assert sorted(head_parameters(module) + body_parameters(module)) == sorted(names)
    assert not set(head_parameters(module)) & set(body_parameters(module))


def test_a_network_without_dense_layers_has_no_head() -> None:
    with pytest.raises(ValueError, match="Conv2d: has no dense layer"):
        head_parameters(nn.Conv2d(1, 1, 1))
