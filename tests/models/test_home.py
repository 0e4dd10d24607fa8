"""The networks against the table of the home study, counted by hand."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import models
from models.layers import Dropout

SHAPES = {
    "cifar10": ((3, 32, 32), 10),
    "fashion_mnist": ((1, 28, 28), 10),
    "mnist": ((1, 28, 28), 10),
    "california_housing": ((8,), 1),
    "digits": ((1, 8, 8), 10),
}
# A 3x3 convolution from a to b channels has 9ab + b parameters, a dense layer ab + b.
GREY_28 = {
    "small": (9 * 2 + 2) + (2 * 14 * 14 * 16 + 16) + (16 * 10 + 10),
    "medium": (9 * 4 + 4) + (4 * 14 * 14 * 32 + 32) + (32 * 10 + 10),
    "large": (9 * 4 + 4) + (9 * 4 * 16 + 16) + (16 * 14 * 14 * 64 + 64) + (64 * 10 + 10),
    "student": (9 * 32 + 32)
    + (9 * 32 * 64 + 64)
    + (9 * 64 * 128 + 128)
    + (128 * 7 * 7 * 256 + 256)
    + (256 * 10 + 10),
}
PARAMETERS = {
    "cifar10": {
        "small": (27 * 4 + 4) + (4 * 16 * 16 * 16 + 16) + (16 * 10 + 10),
        "medium": (27 * 16 + 16) + (16 * 16 * 16 * 64 + 64) + (64 * 10 + 10),
        "large": (27 * 16 + 16) + (9 * 16 * 32 + 32) + (32 * 16 * 16 * 128 + 128) + (128 * 10 + 10),
        "student": (27 * 64 + 64)
        + (9 * 64 * 128 + 128)
        + (9 * 128 * 256 + 256)
        + (256 * 8 * 8 * 512 + 512)
        + (512 * 10 + 10),
    },
    "fashion_mnist": GREY_28,
    "mnist": GREY_28,
    "california_housing": {
        "small": (8 * 16 + 16) + (16 + 1),
        "medium": (8 * 16 + 16) + (16 * 32 + 32) + (32 + 1),
        "large": (8 * 32 + 32) + (32 * 64 + 64) + (64 * 32 + 32) + (32 + 1),
        "student": (8 * 64 + 64) + (64 * 128 + 128) + (128 * 64 + 64) + (64 * 32 + 32) + (32 + 1),
    },
    "digits": {
        "small": (9 * 2 + 2) + (2 * 4 * 4 * 8 + 8) + (8 * 10 + 10),
        "medium": (9 * 4 + 4) + (4 * 4 * 4 * 16 + 16) + (16 * 10 + 10),
        "large": (9 * 4 + 4) + (9 * 4 * 8 + 8) + (8 * 4 * 4 * 32 + 32) + (32 * 10 + 10),
        "student": (9 * 16 + 16)
        + (9 * 16 * 32 + 32)
        + (9 * 32 * 64 + 64)
        + (64 * 2 * 2 * 128 + 128)
        + (128 * 10 + 10),
    },
}
DROPOUTS = {"small": 0, "medium": 1, "large": 2, "student": 3}
ALL = [(dataset, name) for dataset in PARAMETERS for name in PARAMETERS[dataset]]


def network(dataset: str, name: str) -> nn.Module:
    return models.get(dataset, name).make(*SHAPES[dataset])


def test_totals_worked_out_on_paper() -> None:
    assert PARAMETERS["cifar10"]["small"] == 16_682
    assert PARAMETERS["cifar10"]["student"] == 8_765_066
    assert PARAMETERS["california_housing"]["small"] == 161


@pytest.mark.parametrize(("dataset", "name"), ALL)
def test_parameters_and_output(dataset: str, name: str) -> None:
    module = network(dataset, name)
    assert sum(p.numel() for p in module.parameters()) == PARAMETERS[dataset][name]
    shape, outputs = SHAPES[dataset]
    module.eval()
    with torch.no_grad():
        assert module(torch.zeros(3, *shape)).shape == (3, outputs)


@pytest.mark.parametrize(("dataset", "name"), ALL)
def test_dropout_of_the_home_study(dataset: str, name: str) -> None:
    layers = [m for m in network(dataset, name).modules() if isinstance(m, Dropout)]
    expected = DROPOUTS[name] if dataset == "california_housing" else 1
    assert [layer.p for layer in layers] == [0.3] * expected


def _rectify_then_pool(student: nn.Module, x: Tensor) -> Tensor:
    """The student of digits, written out layer by layer in the order of the table."""
    conv1, conv2, conv3 = (student.get_submodule(f"conv{i}") for i in (1, 2, 3))
    fc1, fc2 = (student.get_submodule(f"fc{i}") for i in (1, 2))
    x = nn.functional.relu(conv2(nn.functional.relu(conv1(x))))
    x = nn.functional.max_pool2d(x, 2)
    x = nn.functional.max_pool2d(nn.functional.relu(conv3(x)), 2)
    out: Tensor = fc2(nn.functional.relu(fc1(x.flatten(1))))
    return out


def test_convolutional_network_is_the_table_in_every_bit() -> None:
    student = network("digits", "student").eval()
    x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    expected, found = _rectify_then_pool(student, x), student(x)
    assert torch.equal(expected, found)
    parameters = list(student.parameters())
    for a, b in zip(
        torch.autograd.grad(expected.square().sum(), parameters),
        torch.autograd.grad(found.square().sum(), parameters),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_order_in_memory_is_that_of_fast_convolutions_and_changes_no_bit() -> None:
    student = network("cifar10", "small").eval()
    weight = student.get_parameter("conv1.weight")
    assert weight.shape == (4, 3, 3, 3)
    assert weight.stride() == (27, 1, 9, 3)  # channels last
    x = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(student(x), student(last))
    x.requires_grad_()
    last.requires_grad_()
    (a,) = torch.autograd.grad(student(x).square().sum(), x)
    (b,) = torch.autograd.grad(student(last).square().sum(), last)
    assert torch.equal(a, b)
    state = {name: t.detach().clone().contiguous() for name, t in student.state_dict().items()}
    other = network("cifar10", "small").eval()
    assert not torch.equal(other(x), student(x))
    other.load_state_dict(state)
    assert other.get_parameter("conv1.weight").stride() == (27, 1, 9, 3)
    assert torch.equal(other(x), student(x))


def test_multilayer_perceptron_by_hand() -> None:
    small = network("california_housing", "small")
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
        weights = small.get_parameter("fc1.weight")
        weights[0] = 1.0  # unit 0: the sum of the inputs
        weights[1] = -1.0  # unit 1: minus the sum
        small.get_parameter("fc2.weight")[0, :2] = torch.tensor([2.0, 3.0])
        small.get_parameter("fc2.bias").fill_(0.5)
        x = torch.stack([torch.full((8,), 0.5), torch.full((8,), -0.25)])
        # Sums 4 and -2; rectified (4, 0) and (0, 2); 2 * 4 + 0.5 and 3 * 2 + 0.5.
        assert small(x).tolist() == [[8.5], [6.5]]


def test_dropout_acts_only_while_training() -> None:
    student = network("california_housing", "student")
    x = torch.ones(1, 8)
    outcomes = {student(x).item() for _ in range(8)}
    assert len(outcomes) == 8
    student.eval()
    assert student(x).item() == student(x).item()


@pytest.mark.parametrize(
    ("dataset", "name", "shape"),
    [
        ("cifar10", "small", (8,)),
        ("cifar10", "student", (3, 3, 32)),
        ("california_housing", "small", (1, 8, 8)),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    dataset: str, name: str, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="input_shape = "):
        models.get(dataset, name).make(shape, 10)


def test_published_weights_load_strictly(reference_dir: Path) -> None:
    files = sorted((reference_dir / "teachers").glob("*.safetensors"))
    assert len(files) == 15
    for file in files:
        dataset, name, _ = file.stem.split("-")
        network(dataset, name).load_state_dict(load_file(file), strict=True)
