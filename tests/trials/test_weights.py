import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from data import DataSpec
from data.load import load
from trials import weights
from trials.attack_settings import Attacks
from trials.evaluate import Evaluation, evaluate, outputs
from trials.spec import Recipe, Segment, TrialSpec
from trials.train import train
from trials.weights import WeightsError


def network(seed: int = 0) -> nn.Linear:
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(6.0).view(2, 3) + seed)
        layer.bias.copy_(torch.tensor([7.0, 8.0]) + seed)
    return layer


def test_saved_weights_come_back_in_every_bit(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    weights.save(network(1).state_dict(), file)
    other = network(2)
    weights.load(other, file)
    assert other.weight.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert other.bias.tolist() == [8, 9]
    assert other.weight.requires_grad


def test_equal_states_give_equal_bytes() -> None:
    state = network().state_dict()
    turned = dict(reversed(state.items()))
    assert list(turned) != list(state)
    assert weights.to_bytes(state) == weights.to_bytes(turned)


def test_views_and_shared_tensors_are_kept() -> None:
    matrix = torch.arange(6.0).view(3, 2)
    layer = nn.Linear(3, 2)
    weights.load_bytes(layer, weights.to_bytes({"weight": matrix.T, "bias": matrix[0]}))
    assert layer.weight.tolist() == [[0, 2, 4], [1, 3, 5]]
    assert layer.bias.tolist() == [0, 1]


def test_a_restored_network_gives_the_bits_of_the_trained_one() -> None:
    rows = load(DataSpec("digits", train_size=100))
    spec = TrialSpec(3, DataSpec("digits", train_size=100), Recipe("student", 32), (Segment(1),))
    trained = train(spec, rows, {}).model
    content = weights.to_bytes(trained.state_dict())
    restored = weights.restore(DataSpec("digits"), "student", content)
    assert weights.to_bytes(restored.state_dict()) == content

    def figures(model: nn.Module) -> Evaluation:
        return evaluate(
            model,
            rows.test,
            task=rows.task,
            inputs=rows.inputs,
            low=-1,
            high=1,
            under=Attacks((0.05,)),
        )

    assert torch.equal(
        outputs(trained, rows.test, rows.inputs), outputs(restored, rows.test, rows.inputs)
    )
    assert figures(trained) == figures(restored)


def test_saving_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    weights.save(network(1).state_dict(), file)
    weights.save(network(5).state_dict(), file)
    assert list(tmp_path.iterdir()) == [file]
    other = network()
    weights.load(other, file)
    assert other.bias.tolist() == [12, 13]


def test_a_save_that_fails_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w.safetensors"
    weights.save(network(1).state_dict(), file)
    old = file.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        weights.save(network(2).state_dict(), file)
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_bytes() == old


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, bad: float) -> None:
    layer = network()
    with torch.no_grad():
        layer.bias[1] = bad
    file = tmp_path / "w.safetensors"
    with pytest.raises(WeightsError, match=r"w\.safetensors: key 'bias': found 1 of 2 numbers NaN"):
        weights.save(layer.state_dict(), file)
    assert list(tmp_path.iterdir()) == []
    save_file({k: t.detach() for k, t in layer.state_dict().items()}, file)
    other = network(4)
    with pytest.raises(WeightsError, match=r"w\.safetensors: key 'bias': found 1 of 2 numbers NaN"):
        weights.load(other, file)
    assert other.bias.tolist() == [11, 12]
    assert other.weight[0, 0].item() == 4


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": torch.zeros(2, 3)}, r"key 'bias': found only weight, expected float32 \[2\]"),
        ({}, r"key 'weight': found only an empty file, expected float32 \[2, 3\]"),
        (
            {"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "scale": torch.zeros(1)},
            r"key 'scale': found float32 \[1\], expected only bias, weight",
        ),
        (
            {"weight": torch.zeros(3, 2), "bias": torch.zeros(2)},
            r"key 'weight': found float32 \[3, 2\], expected float32 \[2, 3\]",
        ),
        (
            {"weight": torch.zeros(2, 3), "bias": torch.zeros(2, dtype=torch.float64)},
            r"key 'bias': found float64 \[2\], expected float32 \[2\]",
        ),
    ],
)
def test_weights_of_another_network_are_refused(
    tmp_path: Path, state: dict[str, torch.Tensor], message: str
) -> None:
    file = tmp_path / "w.safetensors"
    weights.save(state, file)
    layer = network(3)
    with pytest.raises(WeightsError, match=r"w\.safetensors: " + message):
        weights.load(layer, file)
    assert layer.bias.tolist() == [10, 11]


def _whole() -> bytes:
    return weights.to_bytes(network().state_dict())


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x80\x04pickle", _whole()[:-1], _whole() + b"\0", b"\xff" * 100, b"{}",
        *((size).to_bytes(8, "little") + _whole()[8:] for size in (0, 1, 2**32, 2**60, 2**64 - 1)),
        *(
            len(header).to_bytes(8, "little") + header + bytes(32)
            for header in (
                b'{"weight":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}',
                b'{"weight":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,32]}}',
                b'{"weight":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,32]}}',
                b'{"weight":{"dtype":"F32","shape":[8],"data_offsets":[32,0]}}',
                b'{"weight":{"dtype":"OBJ","shape":[8],"data_offsets":[0,32]}}',
                b'{"weight":{"dtype":"F32","shape":[-8],"data_offsets":[0,32]}}',
                b'[' * 5000 + b']' * 5000,
                b'\xff\xfe{}',
            )
        ),
    ],
)  # fmt: skip
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.safetensors: not a safetensors file"):
        weights.load(network(), file)


def test_no_truncation_is_read(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    layer = network(3)
    for size in range(len(_whole())):
        file.write_bytes(_whole()[:size])
        with pytest.raises(WeightsError, match=r"w\.safetensors: not a safetensors file"):
            weights.load(layer, file)
    assert layer.bias.tolist() == [10, 11]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        weights.load(network(), tmp_path / "absent")


def test_odd_file_names(tmp_path: Path) -> None:
    file = tmp_path / "w ü%s{0}.safetensors"
    weights.save(network(1).state_dict(), file)
    weights.load(network(), file)
