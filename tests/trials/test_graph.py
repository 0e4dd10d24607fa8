"""A captured step does what the step does: with stand-ins for CUDA's graphs, which need no GPU.

A stand-in records which step was captured, on which buffers, without running it, as a capture does,
and runs it when it is replayed. What a real graph computes is tested in `test_gpu.py`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from trials.graph import WARM_UP, GraphedStep

CPU = torch.device("cpu")


class FakeGraph:
    """Replays what was captured."""

    def __init__(self) -> None:
        self.replays: list[Callable[[], None]] = []

    def replay(self) -> None:
        for part in self.replays:
            part()

    def pool(self) -> int:
        return id(self)


class Training:
    """Moves a weight towards the mean of the rows; knows whether it is being captured."""

    def __init__(self) -> None:
        self.weight = torch.zeros(1)
        self.data = torch.arange(10.0)
        self.capturing: FakeGraph | None = None
        self.really = 0

    def step(self, rows: Tensor | None) -> Tensor:
        if self.capturing is not None:
            loss = torch.full((), float("nan"))
            self.capturing.replays.append(lambda: self._into(loss, rows))
            return loss
        return self._do(rows)

    def _into(self, loss: Tensor, rows: Tensor | None) -> None:
        loss.copy_(self._do(rows))

    def _do(self, rows: Tensor | None) -> Tensor:
        self.really += 1
        seen = self.data if rows is None else self.data[rows]
        error = self.weight - seen.mean()
        self.weight -= 0.5 * error
        return (error**2).sum()


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    training = Training()
    seen_pools: list[Any] = []
    training.pools = seen_pools  # type: ignore[attr-defined]

    @contextmanager
    def capture(graph: FakeGraph, pool: Any, capture_error_mode: str) -> Iterator[None]:
        seen_pools.append(pool)
        assert capture_error_mode == "thread_local"
        training.capturing = graph
        yield
        training.capturing = None

    class Stream:
        def __init__(self, device: torch.device) -> None:
            assert device == CPU

        def wait_stream(self, other: object) -> None:
            pass

    random = {"state": torch.zeros(1)}
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda _: random["state"])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda s, _: random.update(state=s))
    return training


def test_replays_do_what_the_steps_would_have_done(training: Training) -> None:
    plain = Training()
    graphed = GraphedStep(training.step, lambda: [training.weight], CPU)
    batches = [torch.tensor(rows) for rows in ([1, 2, 3], [4, 5, 6], [9], [0, 0, 1], [2])]
    expected = [float(plain.step(rows)) for rows in batches]
    assert [float(graphed(rows)) for rows in batches] == expected
    assert torch.equal(training.weight, plain.weight)
    # One capture for each size of batch, each after some steps whose effect is undone.
    assert training.really == 2 * WARM_UP + len(batches)


def test_all_rows_at_once(training: Training) -> None:
    plain = Training()
    graphed = GraphedStep(training.step, lambda: [training.weight], CPU)
    assert [float(graphed(None)) for _ in range(3)] == [float(plain.step(None)) for _ in range(3)]


def test_graphs_of_one_training_share_their_memory(training: Training) -> None:
    graphed = GraphedStep(training.step, lambda: [training.weight], CPU)
    for rows in ([1], [1, 2], [3], [1, 2, 3]):
        graphed(torch.tensor(rows))
    first, *others = training.pools  # type: ignore[attr-defined]
    assert first is None
    assert len(set(others)) == 1
    assert others[0] is not None
    assert len(others) == 2
