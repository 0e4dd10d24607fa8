"""Networks that fail in every way there is, once each; and a driver that trains them.

A network fails the first time it is used after its mark was removed: it puts the mark there and then
hangs, dies, or whatever its name says. With the mark in place it is an ordinary network.

    python -m tests.sweep.faulty RESULTS MARKS [options as JSON]
"""

import ctypes
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import models
from sweep.policy import Policy
from sweep.progress import PlainLines
from sweep.service import Where, run_study
from sweep.study import Study, load_study

ROOT = Path(__file__).resolve().parents[2]


def _hang() -> None:
    while True:
        pass


def _hang_in_c() -> None:
    ctypes.PyDLL(None).sleep(600)  # with the interpreter's lock: no Python code runs meanwhile


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _segfault() -> None:
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    ctypes.string_at(0)


def _host_memory() -> None:
    torch.empty(2**46)


def _cuda_memory() -> None:
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def _bug() -> None:
    raise ValueError("this network is not finished")


WAYS: dict[str, Callable[[], None]] = {
    "hangs": _hang,
    "hangs-in-c": _hang_in_c,
    "dies": _die,
    "segfaults": _segfault,
    "host-memory": _host_memory,
    "cuda-memory": _cuda_memory,
    "bug": _bug,
}
"""What each network does, by its name."""


class Faulty(nn.Module):
    """`[rows, ...]` to `[rows, outputs]`, once it works."""

    def __init__(self, way: str, mark: Path, inputs: int, outputs: int) -> None:
        super().__init__()
        self.way, self.mark = way, mark
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        if not self.mark.exists():
            self.mark.touch()
            WAYS[self.way]()
        found: Tensor = self.body(x)
        return found


def _build(way: str, marks: Path, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    return Faulty(way, marks / way, torch.Size(input_shape).numel(), outputs)


def register(marks: Path) -> None:
    """Makes the networks known, for digits."""
    for way in WAYS:
        build = functools.partial(_build, way, marks)
        entry = models.ModelEntry(way, build, dataset="digits", version=1)
        models.register(entry, replace=True)


def study(ways: tuple[str, ...] = tuple(WAYS), seeds: int = 1) -> Study:
    """Every way as a teacher of its own, and students of each."""
    return load_study(
        {
            "name": "faulty",
            "seeds": list(range(seeds)),
            "grid": {"teacher": list(ways), "alpha": [0.5], "switch_epoch": [1, 2]},
            "recipe": {"epochs": 2, "batch_size": 32},
            "split": {"train_size": 128, "validation": 0.1},
            "evaluation": {"fgsm_epsilons": [0.05]},
            "datasets": {"digits": {"student": "medium"}},
        }
    )


def main() -> None:
    """Trains the study; prints what a run prints, then a line of JSON."""
    results, marks = sys.argv[1:3]
    options = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    retry = options.get("retry")
    register(Path(marks))
    began = time.monotonic()
    summary = run_study(
        study(tuple(options.get("ways", WAYS))),
        results,
        Where(workers=2, gpus_per_trial=0.0),
        policy=Policy(stage_timeout_s=options.get("timeout_s")),
        retry=retry,
        progress=PlainLines(sys.stdout, 1.0),
    )
    print(json.dumps({**summary.__dict__, "took_s": time.monotonic() - began}))
    sys.exit(summary.exit_status)


if __name__ == "__main__":
    main()
