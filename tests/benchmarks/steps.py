"""Training steps and evaluations of the students: ours, and as PyTorch does it.

Ours is `trials.train` and `trials.evaluate` in a configured worker. The other is what one writes at
first: an `nn.Sequential` (images channels-first, ReLU before pooling, `nn.Dropout`), the whole batch
at once, `torch.optim.Adam` as it comes, and FGSM with a gradient for each epsilon. Both have one
thread, random rows that are in memory, and a process of their own, since the setting of the memory
allocator is one of a process. The processes take turns; a ratio is that of one turn.

    python -m tests.benchmarks.steps
"""

import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.connection import Connection

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor, nn

import data
from data import DataSpec
from data.load import LoadedData, Split
from models.home import DROPOUT, SIZES, Convolutional, Dense
from trials.attack_settings import Attacks
from trials.device import configure
from trials.evaluate import evaluate
from trials.spec import Recipe, Segment, TrialSpec
from trials.train import build_model, train

BATCH, EPSILONS, TEST_ROWS, TURNS = 64, (0.005, 0.01, 0.05), 200, 7
STEPS = {"cifar10": 4, "fashion_mnist": 10, "digits": 40, "california_housing": 10}
"""Steps of a turn."""

HOUSES = 16_512
"""Rows of California Housing, all of which are one batch."""


def _rows(dataset: str) -> LoadedData:
    entry = data.get(dataset)
    torch.manual_seed(0)

    def split(rows: int) -> Split:
        if not entry.is_image:
            return Split(torch.randn(rows, *entry.input_shape), torch.randn(rows, entry.outputs))
        x = torch.randint(0, entry.pixel_max + 1, (rows, *entry.input_shape), dtype=torch.uint8)
        return Split(x, torch.randint(0, entry.outputs, (rows,)))

    return LoadedData(
        name=dataset, task=entry.task, outputs=entry.outputs, input_shape=entry.input_shape,
        fingerprint="random", train=split(BATCH * STEPS[dataset] if entry.is_image else HOUSES),
        validation=None, test=split(TEST_ROWS), input_low=-1.0, input_high=1.0,
        pixel_max=entry.pixel_max if entry.is_image else None,
    )  # fmt: skip


def _ours(dataset: str) -> dict[str, Callable[[], float]]:
    configure()
    loaded = _rows(dataset)
    image, steps = data.get(dataset).is_image, STEPS[dataset]
    spec = TrialSpec(
        1,
        DataSpec(dataset),
        Recipe("student", BATCH if image else None),
        (Segment(1 if image else steps),),
    )
    model = build_model(spec, loaded)

    def robustness() -> float:
        began = time.perf_counter()
        evaluate(
            model, loaded.test, task=loaded.task, inputs=loaded.inputs, low=-1, high=1,
            under=Attacks(EPSILONS),
        )  # fmt: skip
        return time.perf_counter() - began

    return {
        "training": lambda: train(spec, loaded, {}).snapshot.progress.wall_s / steps,
        "evaluation": robustness,
    }


def _first_written(dataset: str) -> dict[str, Callable[[], float]]:
    torch.set_num_threads(1)
    loaded = _rows(dataset)
    steps, image = STEPS[dataset], data.get(dataset).is_image
    network = _sequential(SIZES[dataset]["student"], loaded.input_shape, loaded.outputs)
    loss = nn.CrossEntropyLoss() if image else nn.MSELoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    x, y = loaded.inputs(loaded.train.x), loaded.train.y

    def training() -> float:
        network.train()
        began = time.perf_counter()
        for step in range(steps):
            rows = torch.arange(BATCH) + BATCH * step
            batch_x, batch_y = (x[rows], y[rows]) if image else (x, y)
            optimizer.zero_grad()
            loss(network(batch_x), batch_y).backward()
            optimizer.step()
        return (time.perf_counter() - began) / steps

    def robustness() -> float:
        network.eval()
        began = time.perf_counter()
        for stored, y in zip(loaded.test.x.split(100), loaded.test.y.split(100), strict=True):
            inputs = loaded.inputs(stored)
            with torch.no_grad():
                _score(network(inputs), y)
            for epsilon in EPSILONS:
                leaf = inputs.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(loss(network(leaf), y), leaf)
                with torch.no_grad():
                    _score(network((inputs + epsilon * gradient.sign()).clamp(-1, 1)), y)
        return time.perf_counter() - began

    return {"training": training, "evaluation": robustness}


def _score(outputs: Tensor, y: Tensor) -> float:
    found = (outputs.argmax(1) == y).sum() if y.ndim == 1 else F.mse_loss(outputs, y)
    return found.item()


def _sequential(size: Convolutional | Dense, shape: tuple[int, ...], outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    if isinstance(size, Dense):
        for number, (fan_in, fan_out) in enumerate(pairwise([shape[0], *size.hidden])):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
            layers += [nn.Dropout(DROPOUT)] if number < size.dropouts else []
        return nn.Sequential(*layers, nn.Linear(size.hidden[-1], outputs))
    channels, height, width = shape
    for block in size.blocks:
        for wider in block:
            layers += [nn.Conv2d(channels, wider, 3, padding=1), nn.ReLU()]
            channels = wider
        layers.append(nn.MaxPool2d(2))
        height, width = height // 2, width // 2
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(channels * height * width, size.hidden), nn.ReLU(),
        nn.Dropout(DROPOUT), nn.Linear(size.hidden, outputs),
    )  # fmt: skip


def _serve(
    make: Callable[[str], dict[str, Callable[[], float]]], dataset: str, asked: Connection
) -> None:
    """Answers each name of a measurement with its seconds, until it is asked for none."""
    measure = make(dataset)
    while name := asked.recv():
        asked.send(measure[name]())


def _compare(dataset: str) -> dict[str, dict[str, float]]:
    context = multiprocessing.get_context("spawn")
    ends = []
    for make in (_ours, _first_written):
        end, other = context.Pipe()
        context.Process(target=_serve, args=(make, dataset, other), daemon=True).start()
        ends.append(end)

    def turn(name: str) -> list[float]:
        seconds = []
        for end in ends:
            end.send(name)
            seconds.append(end.recv())
        return seconds

    found = {}
    for name in ("training", "evaluation"):
        turn(name)  # the first of each is slower, and not counted
        turns = [turn(name) for _ in range(TURNS)]
        ratios = [theirs / ours for ours, theirs in turns]
        found[name] = {
            "ours_ms": 1000 * statistics.median(ours for ours, _ in turns),
            "torch_ms": 1000 * statistics.median(theirs for _, theirs in turns),
            "ratio": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
        }
    for end in ends:
        end.send("")
    return found


def main() -> None:
    """Measures and prints JSON."""
    print(json.dumps({dataset: _compare(dataset) for dataset in STEPS}))


if __name__ == "__main__":
    main()
