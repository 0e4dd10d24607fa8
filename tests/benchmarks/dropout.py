"""One full-batch step of the California Housing student: ours, and as PyTorch does it.

Random inputs of the real size, one thread, medians of interleaved steps within one run: with our
masks in blocks of 4,128 rows, without dropout in the same blocks, and with `nn.Dropout` on the whole
batch.

    python -m tests.benchmarks.dropout
"""

import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

import models.initialise
from models.layers import Dropout, DropoutStream, attach_streams
from trials.train import BLOCK_ROWS

ROWS, STEPS = 16_512, 40


def _network(change: Callable[[Dropout], nn.Module]) -> nn.Module:
    network = models.initialise.build("california_housing", "student", (8,), 1, "default", 1)
    for name, layer in list(network.named_modules()):
        if isinstance(layer, Dropout):
            parent = network.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], change(layer))
    attach_streams(network, DropoutStream(1))
    return network.train()


def _stepper(network: nn.Module, block: int) -> Callable[[], None]:
    x, y = torch.randn(ROWS, 8), torch.randn(ROWS, 1)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        for first in range(0, ROWS, block):
            part = slice(first, first + block)
            ((network(x[part]) - y[part]).square().sum() / ROWS).backward()
        optimizer.step()

    return step


def main() -> None:
    """Measures and prints JSON."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    steppers = {
        "ours_ms": _stepper(_network(lambda layer: layer), BLOCK_ROWS),
        "none_ms": _stepper(_network(lambda _: nn.Identity()), BLOCK_ROWS),
        "torch_ms": _stepper(_network(lambda layer: nn.Dropout(layer.p)), ROWS),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steppers}
    for _ in range(STEPS):
        for name, step in steppers.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    print(json.dumps({name: 1000 * statistics.median(s) for name, s in seconds.items()}))


if __name__ == "__main__":
    main()
