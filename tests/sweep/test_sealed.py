"""Safetensors files vouch for their content, and any reader opens them."""

import json

import pytest
import safetensors.torch
import torch

from sweep.sealed import is_whole, seal
from trials.snapshot import Progress, Snapshot

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(5, dtype=torch.bfloat16)}


def test_tensors_and_metadata_stay_and_any_reader_opens_it() -> None:
    sealed = seal(safetensors.torch.save(TENSORS, metadata={"about": "é"}))
    found = safetensors.torch.load(sealed)
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())
    size = int.from_bytes(sealed[:8], "little")
    about = json.loads(sealed[8 : 8 + size])["__metadata__"]
    assert about["about"] == "é"
    assert len(about["sha256"]) == 64
    assert size % 8 == 0
    assert is_whole(sealed)
    assert seal(sealed) == sealed


def test_a_snapshot_comes_back() -> None:
    snapshot = Snapshot(3, TENSORS, {"0.step": torch.ones(1)}, Progress(9, (0.5,), (3,)))
    found = Snapshot.from_bytes(seal(snapshot.to_bytes()))
    assert (found.epoch, found.progress) == (3, snapshot.progress)
    assert torch.equal(found.model["a"], TENSORS["a"])


def test_what_was_never_sealed_is_believed_where_it_has_the_form() -> None:
    plain = safetensors.torch.save(TENSORS)
    assert is_whole(plain)
    assert not is_whole(plain[:-1])
    assert not is_whole(plain + b"x")


def test_every_flipped_bit_is_noticed() -> None:
    sealed = seal(safetensors.torch.save({"a": torch.ones(2)}, metadata={"about": "x"}))
    noticed = 0
    for position in range(len(sealed)):
        for bit in range(8):
            harmed = bytearray(sealed)
            harmed[position] ^= 1 << bit
            noticed += not is_whole(bytes(harmed))
    assert noticed == 8 * len(sealed)


@pytest.mark.parametrize("content", [b"", b"x", bytes(8), b"\xff" * 16, b"\x02" + bytes(7) + b"[]"])
def test_what_is_no_safetensors_file_is_not_sealed_and_not_whole(content: bytes) -> None:
    assert not is_whole(content)
    with pytest.raises(ValueError, match=r"safetensors|Expecting value|decode"):
        seal(content)
