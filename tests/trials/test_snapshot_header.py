"""What a snapshot says is read from its header alone, by processes that hold no torch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trials.snapshot import Progress, Snapshot
from trials.snapshot_header import numerics_of, said_by
from trials.tensor_file import header_of

WEIGHT = torch.tensor([1.0, 2.0])
CONTENT = Snapshot(
    3, {"w": WEIGHT}, {}, Progress(numerics=("cpu, engine eager", "gpu, engine graphs"))
).to_bytes()


def test_the_class_it_was_left_in_is_the_last() -> None:
    assert said_by(CONTENT)["epoch"] == 3
    assert numerics_of(CONTENT) == "gpu, engine graphs"
    assert numerics_of(Snapshot(3, {"w": WEIGHT}, {}).to_bytes()) is None


def test_tensors_begin_where_the_header_ends() -> None:
    header, begin = header_of(CONTENT)
    assert header["model/w"]["shape"] == [2]
    assert CONTENT[begin:] == WEIGHT.numpy().tobytes()


@pytest.mark.parametrize(
    "content", [b"", b"1234567", CONTENT[:40], b"\x02" + bytes(7) + b"[]", b"\xff" * 16]
)
def test_what_is_something_else_says_nothing(content: bytes) -> None:
    assert numerics_of(content) is None
    with pytest.raises(ValueError, match=r"."):
        header_of(content)


def test_it_is_read_without_torch(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(CONTENT)
    code = (
        "import pathlib, sys\n"
        "import sweep.run, sweep.sealed\n"
        "from trials.snapshot_header import numerics_of\n"
        "assert not sweep.sealed.is_whole(b'x')\n"
        "print(numerics_of(pathlib.Path(sys.argv[1]).read_bytes()), 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[0] == "gpu, engine graphs False"
