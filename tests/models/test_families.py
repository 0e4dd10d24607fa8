import pickle
import re
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import models
from models import ModelEntry, ModelFamily, UnknownModelError, catalog
from models.initialise import build
from models.layers import Dropout, DropoutStream, attach_streams


@pytest.fixture(autouse=True)
def _own_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_entries", dict(catalog._entries))
    monkeypatch.setattr(catalog, "_families", dict(catalog._families))


def network(name: str, shape: tuple[int, ...], outputs: int = 10) -> nn.Module:
    return models.get("any", name).make(shape, outputs)


def sketch(name: str, shape: tuple[int, ...], outputs: int = 10) -> nn.Module:
    """The network without its numbers."""
    with torch.device("meta"):
        return network(name, shape, outputs)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# Sizes

# Published for 1000 classes by torchvision; the last dense layer has (inputs + 1) for each class.
PUBLISHED = {
    "resnet18": 11_689_512 - 990 * 513,
    "resnet50": 25_557_032 - 990 * 2049,
    "wide-resnet50-2": 68_883_240 - 990 * 2049,
    "mobilenetv3-small": 2_542_856 - 990 * 1025,
    "vit-b16": 86_567_656 - 990 * 769,
}


def test_totals_worked_out_on_paper() -> None:
    assert PUBLISHED["resnet18"] == 11_181_642
    assert PUBLISHED["wide-resnet50-2"] == 66_854_730
    assert PUBLISHED["vit-b16"] == 85_806_346


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_of_large_networks(name: str) -> None:
    module = sketch(name, (3, 224, 224))
    assert count(module) == PUBLISHED[name]
    dropped = sketch(f"{name}-dropout20", (3, 224, 224))
    assert count(dropped) == PUBLISHED[name]
    shapes = {key: value.shape for key, value in module.state_dict().items()}
    assert {key: value.shape for key, value in dropped.state_dict().items()} == shapes


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        (
            "mlp-128-64-32",
            (1, 28, 28),
            (784 * 128 + 128) + (128 * 64 + 64) + (64 * 32 + 32) + (32 * 10 + 10),
        ),
        ("mlp-5-relu", (8,), (8 * 5 + 5) + (5 * 10 + 10)),
        # The teacher of the Keras example.
        ("cnn-256-512", (1, 28, 28), 2560 + 1_180_160 + 250_890),
        ("cnn-16-32", (3, 32, 32), (27 * 16 + 16) + (9 * 16 * 32 + 32) + (32 * 64 * 10 + 10)),
        # An odd side: 7, 4, 2, 1.
        ("cnn-2-3-4", (1, 7, 7), (9 * 2 + 2) + (18 * 3 + 3) + (27 * 4 + 4) + (4 * 10 + 10)),
        (
            "vit-p4-w8-d2-h2",
            (1, 8, 8),
            # patches, class token, five positions
            (16 * 8 + 8) + 8 + 5 * 8
            # twice: two norms, queries, keys and values, their output, two dense layers
            + 2 * (32 + (3 * 64 + 24) + (64 + 8) + (8 * 32 + 32) + (32 * 8 + 8))
            # the last norm, the head
            + 16 + (8 * 10 + 10),
        ),
    ],
)  # fmt: skip
def test_parameters_and_output(name: str, shape: tuple[int, ...], parameters: int) -> None:
    module = network(name, shape).eval()
    assert count(module) == parameters
    with torch.no_grad():
        assert module(torch.zeros(3, *shape)).shape == (3, 10)


def test_layers_of_perceptrons_are_those_of_published_weights() -> None:
    state = sketch("mlp-128-64", (1, 28, 28), 3).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == {
        "fc1.weight": (128, 784), "fc1.bias": (128,),
        "fc2.weight": (64, 128), "fc2.bias": (64,),
        "fc3.weight": (3, 64), "fc3.bias": (3,),
    }  # fmt: skip


def test_a_perceptron_reads_an_image_row_by_row_and_may_rectify_its_outputs() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, -4.0]]]])
    outcomes = []
    for name in ("mlp-1", "mlp-1-relu"):
        module = network(name, (1, 2, 2), 2)
        state = {
            "fc1.weight": torch.tensor([[1.0, 10.0, 100.0, 1000.0]]),
            "fc1.bias": torch.tensor([4000.0]),
            "fc2.weight": torch.tensor([[1.0], [-1.0]]),
            "fc2.bias": torch.tensor([0.5, 0.5]),
        }
        module.load_state_dict(state)
        outcomes.append(module(x).tolist())
    # 1 + 20 + 300 - 4000 + 4000 = 321.
    assert outcomes == [[[321.5, -320.5]], [[321.5, 0.0]]]


def leaky(value: float) -> float:
    return value if value > 0 else 0.2 * value


def test_strided_convolutions_by_hand() -> None:
    # Both filters only look at their middle pixel: rows and columns 0, 2, 4 of the image.
    image = torch.arange(25.0).view(1, 1, 5, 5) - 12
    middle = [[image[0, 0, r, c].item() for c in (0, 2, 4)] for r in (0, 2, 4)]
    assert middle == [[-12, -10, -8], [-2, 0, 2], [8, 10, 12]]
    active = [[leaky(value) for value in row] for row in middle]
    # The largest of each pixel and its neighbours to the right and below, where there are any.
    pooled = [
        [max(active[i][j] for i in (r, r + 1) if i < 3 for j in (c, c + 1) if j < 3) for c in range(3)]
        for r in range(3)
    ]  # fmt: skip
    assert pooled[2] == [10, 12, 12]
    # The second convolution negates rows and columns 0 and 2; nothing is pooled after it.
    expected = [leaky(-pooled[r][c]) for r in (0, 2) for c in (0, 2)]
    assert expected[0] == pytest.approx(-0.0)  # the largest of -2.4, -2, -0.4 and 0
    module = network("cnn-1-1", (1, 5, 5), 4)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.get_parameter("conv1.weight")[0, 0, 1, 1] = 1
        module.get_parameter("conv2.weight")[0, 0, 1, 1] = -1
        module.get_parameter("fc1.weight").copy_(torch.eye(4))
        found = module(image)
    assert found.tolist()[0] == pytest.approx(expected)


def shapes_seen(module: nn.Module, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    seen: dict[str, tuple[int, ...]] = {}
    for name, part in module.named_modules():
        part.register_forward_hook(
            lambda _, __, out, name=name: (
                seen.update({name: tuple(out.shape)}) if isinstance(out, Tensor) else None
            )
        )
    module.eval()(torch.zeros(2, *shape, device="meta"))
    return seen


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("resnet18", ("conv1", (2, 64, 16, 16)), ("layer4", (2, 512, 1, 1))),
        ("resnet18-3x3", ("conv1", (2, 64, 32, 32)), ("layer4", (2, 512, 2, 2))),
        ("resnet50-3x3", ("maxpool", (2, 64, 16, 16)), ("layer4", (2, 2048, 2, 2))),
        ("mobilenetv3-small", ("features.0", (2, 16, 16, 16)), ("features.12", (2, 576, 1, 1))),
        ("mobilenetv3-small-3x3", ("features.0", (2, 16, 32, 32)), ("features.12", (2, 576, 2, 2))),
        ("vit-b16", ("conv_proj", (2, 768, 2, 2)), ("encoder", (2, 5, 768))),
    ],
)
def test_shapes_inside(
    name: str, first: tuple[str, tuple[int, ...]], last: tuple[str, tuple[int, ...]]
) -> None:
    seen = shapes_seen(sketch(name, (3, 32, 32)), (3, 32, 32))
    assert seen[first[0]] == first[1]
    assert seen[last[0]] == last[1]
    assert seen[""] == (2, 10)


@pytest.mark.parametrize(
    ("name", "stem", "shape"),
    [
        ("resnet18", "conv1", (64, 1, 7, 7)),
        ("resnet18-3x3", "conv1", (64, 1, 3, 3)),
        ("mobilenetv3-small", "features.0.0", (16, 1, 3, 3)),
        ("vit-p7-w16-d1-h2", "conv_proj", (16, 1, 7, 7)),
    ],
)
def test_grey_images_have_a_first_layer_of_one_channel(
    name: str, stem: str, shape: tuple[int, ...]
) -> None:
    module = sketch(name, (1, 28, 28))
    assert module.get_parameter(f"{stem}.weight").shape == shape
    assert shapes_seen(module, (1, 28, 28))[""] == (2, 10)


# Dropout


@pytest.mark.parametrize(
    ("name", "percents"),
    [
        ("resnet18", []),
        ("resnet18-3x3-dropout20", [0.2]),
        ("mobilenetv3-small", [0.2]),
        ("mobilenetv3-small-dropout5", [0.05]),
        ("vit-p4-w8-d1-h2", []),
        ("vit-p4-w8-d1-h2-dropout50", [0.5]),
    ],
)
def test_all_that_drops_is_our_dropout(name: str, percents: list[float]) -> None:
    module = sketch(name, (3, 32, 32))
    assert [m.p for m in module.modules() if isinstance(m, Dropout)] == percents
    assert not [m for m in module.modules() if isinstance(m, nn.Dropout) and m.p > 0]


def test_dropout_before_the_head_draws_from_its_stream() -> None:
    from models.vision import DroppedLinear

    module = network("vit-p4-w16-d1-h2-dropout50", (1, 8, 8))
    head = module.get_submodule("heads.head")
    assert isinstance(head, DroppedLinear)
    with torch.no_grad():
        head.weight.fill_(1.0)
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    stream = DropoutStream(1)
    attach_streams(module, stream)
    first, second = module(x), module(x)
    assert not torch.equal(first, second)
    stream.reseed(1)
    assert torch.equal(module(x), first)
    module.eval()
    assert torch.equal(module(x), module(x))


def test_dropping_inputs_of_a_dense_layer_by_hand() -> None:
    from models.vision import DroppedLinear

    dense = nn.Linear(1000, 1)
    with torch.no_grad():
        dense.weight.fill_(1.0)
        dense.bias.fill_(3.0)
    layer = DroppedLinear(dense, 0.75)
    layer.dropout.stream = DropoutStream(4)
    # Each of a thousand ones is kept with probability 1/4 and multiplied by 4.
    kept = (layer(torch.ones(1, 1000)).item() - 3) / 4
    assert kept == round(kept)
    assert abs(kept - 250) < 5 * (1000 * 0.25 * 0.75) ** 0.5
    assert set(layer.state_dict()) == {"weight", "bias"}


# Initialisation


@pytest.mark.parametrize("init", ["default", "he", "uniform"])
def test_large_networks_start_from_the_seed_alone(init: str) -> None:
    first, again, other = (
        build("any", "resnet18-3x3-dropout20", (3, 32, 32), 4, init, seed).state_dict()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])
    assert not torch.equal(first["fc.weight"], other["fc.weight"])
    assert torch.equal(first["layer1.0.bn1.weight"], torch.ones(64))
    assert not first["layer1.0.bn1.bias"].any()


def test_uniform_reaches_every_dense_layer_of_a_transformer() -> None:
    state = build("any", "vit-p4-w16-d1-h2", (1, 8, 8), 10, "uniform", 1).state_dict()
    head = state["heads.head.weight"]  # torchvision starts it at 0
    assert 0.24 < head.abs().max().item() <= 0.25
    assert state["encoder.ln.weight"].tolist() == [1.0] * 16


# Names

UNITS = st.lists(st.integers(1, 65536), min_size=1, max_size=4)


@given(UNITS, st.booleans())
def test_a_name_holds_its_sizes_and_two_names_are_two_networks(
    units: list[int], rectify: bool
) -> None:
    name = "-".join(["mlp", *map(str, units)]) + ("-relu" if rectify else "")
    entry = models.get("any", name)
    assert (entry.name, entry.dataset, entry.version) == (name, None, 1)
    assert entry == models.get("another", name)
    assert vars(entry.build) == {"hidden": tuple(units), "rectify_outputs": rectify}


@pytest.mark.parametrize(
    "name",
    [
        "mlp", "mlp-", "mlp-0", "mlp-064", "mlp-16-", "mlp--16", "mlp-16-relu-relu", "mlp-relu",
        "mlp-65537", "mlp-+5", "mlp-1_0", "mlp-٣", "mlp-16\n", "mlp-16-RELU",
        "cnn", "cnn-16-relu", "cnn-016",
        "resnet18-", "resnet18-dropout20-3x3", "resnet18-3x3-3x3", "resnet18-dropout0",
        "resnet18-dropout05", "resnet18-dropout100", "resnet18-dropout", "wide-resnet50-2-5x5",
        "vit-b16-3x3", "vit-b16-dropout", "vit-p4-w64-d2", "vit-p4-w64-h2-d2", "vit-p04-w64-d2-h2",
        "vit-p4-w64-d2-h3", "vit-p16-w768-d12-h12", "vit", "vit-b32",
        "mlp-" + "-".join(["10"] * 21),
    ],
)  # fmt: skip
def test_other_spellings_are_refused_with_the_pattern(name: str) -> None:
    with pytest.raises(UnknownModelError, match=rf"model = {re.escape(repr(name))}: .*allowed are"):
        models.get("digits", name)


def test_message_names_pattern_and_reason() -> None:
    with pytest.raises(UnknownModelError) as caught:
        models.get("digits", "mlp-064")
    for part in ("'mlp-064'", "UNITS", "without leading zeros", "mlp-UNITS[-UNITS...][-relu]"):
        assert part in str(caught.value)


def test_an_unknown_name_is_told_of_the_families_and_of_the_datasets_networks() -> None:
    with pytest.raises(UnknownModelError) as caught:
        models.get("digits", "huge")
    for part in ("cnn-FILTERS[-FILTERS...]", "resnet18[-3x3][-dropoutPERCENT]", "small, medium"):
        assert part in str(caught.value)


def test_families_are_listed_with_pattern_and_description() -> None:
    listed = {family.prefix: family for family in models.families()}
    assert list(listed) == [
        "mlp", "cnn", "resnet18", "resnet50", "wide-resnet50-2", "mobilenetv3-small",
        "vit-b16", "vit",
    ]  # fmt: skip
    assert all(f.pattern.startswith(f.prefix) and f.description for f in listed.values())
    assert models.names("digits") == ("small", "medium", "large", "student")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("cnn-4", (8,)),
        ("resnet18", (8,)),
        ("vit-b16", (3, 20, 20)),
        ("vit-p4-w8-d1-h1", (3, 8, 12)),
        ("mobilenetv3-small", (8,)),
    ],
)
def test_inputs_that_do_not_fit_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="input_shape = "):
        network(name, shape)
    with pytest.raises(ValueError, match=rf"model = '{name}': input_shape = .*: must be"):
        models.get("any", name).check(shape)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("mlp-4", (8,)), ("mlp-4", (1, 8, 8)), ("vit-b16", (3, 32, 32)), ("small", (8,))],
)
def test_inputs_that_fit_or_of_which_nothing_is_known_are_not_refused(
    name: str, shape: tuple[int, ...]
) -> None:
    models.get("digits", name).check(shape)


def test_names_are_understood_without_torch() -> None:
    code = (
        "import models, sys\n"
        "for n in ('mlp-8-4-relu', 'cnn-3', 'resnet18-3x3', 'vit-b16', 'vit-p4-w8-d1-h1'):\n"
        "    models.get('digits', n)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Families of one's own


def lines(rest: str) -> models.Build:
    if rest != "-short":
        raise ValueError("there is only the short one")
    return "torch.nn:Linear"


LINES = ModelFamily("line", "line-short", "a line", lines, version=2)


def test_a_registered_family_makes_entries_of_its_version() -> None:
    models.register(LINES)
    models.register(LINES)
    assert models.get("any", "line-short") == ModelEntry("line-short", "torch.nn:Linear", version=2)
    with pytest.raises(UnknownModelError, match=r"only the short one; allowed are line-short \(a"):
        models.get("any", "line-long")
    with pytest.raises(UnknownModelError, match=r"'liner'.*line-short\)"):
        models.get("any", "liner")
    assert models.registered() == (LINES,)
    sent = pickle.loads(pickle.dumps(models.registered()))
    models.register(sent[0], replace=True)
    assert models.families()[-1] == LINES


def test_another_family_of_a_prefix_is_refused_unless_replaced() -> None:
    models.register(LINES)
    other = ModelFamily("line", "line-short", "another line", lines)
    with pytest.raises(ValueError, match=r"prefix = 'line'.*replace=True"):
        models.register(other)
    models.register(other, replace=True)
    assert models.get("any", "line-short").version == 1


def test_an_entry_takes_the_place_of_a_familys_network_only_if_it_says_so() -> None:
    mine = ModelEntry("mlp-16", "torch.nn:Linear", "digits")
    with pytest.raises(ValueError, match=r"name = 'mlp-16': .*mlp-UNITS.*replace=True"):
        models.register(mine)
    models.register(mine, replace=True)
    assert models.get("digits", "mlp-16") is mine
    assert models.get("wine", "mlp-16").build != mine.build
    models.register(ModelEntry("mlp-mine", "torch.nn:Linear"))
    assert models.get("wine", "mlp-mine").name == "mlp-mine"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"prefix": "Line"}, "prefix = 'Line'"),
        ({"pattern": ""}, "pattern = ''"),
        ({"description": "two\nlines"}, "description = "),
        ({"build": "module:function"}, "build = 'module:function'"),
        ({"version": 0}, "version = 0"),
    ],
)
def test_bad_families_are_refused(changes: dict[str, object], key: str) -> None:
    good: dict[str, object] = vars(LINES)
    with pytest.raises(ValueError, match=re.escape(key)):
        ModelFamily(**{**good, **changes})  # type: ignore[arg-type]
