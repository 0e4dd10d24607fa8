"""A training step captured once as a CUDA graph and replayed, so that launches cost next to nothing.

A small network's step is dozens of kernels of a few microseconds; launching them one by one takes
longer than they run. A graph launches them all at once, on the same memory each time: row indices
are copied into a fixed buffer before a replay, and the loss is read from another. Random numbers go
on as they would without a graph: PyTorch hands seed and offset to a graph at each replay.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3
"""Steps before a capture, in which libraries set themselves up; their effect is undone."""

Step = Callable[[Tensor | None], Tensor]
"""Trains on the rows with these indices (None: on all) and returns the loss, shape `()`, or
those of several trainings."""


@dataclass(frozen=True)
class _Captured:
    graph: Any
    rows: Tensor | None
    loss: Tensor


class GraphedStep:
    """A step that is captured for each size of batch when that first comes."""

    def __init__(
        self, step: Step, state: Callable[[], Iterable[Tensor]], device: torch.device
    ) -> None:
        """Wraps a step.

        Args:
            step: without any decision that depends on values, and without reading any back.
            state: every tensor that the step changes, there before its first call.
            device: a CUDA device.
        """
        self._step, self._state, self._device = step, state, device
        self._captured: dict[int | None, _Captured] = {}
        self._pool: Any = None

    def __call__(self, rows: Tensor | None) -> Tensor:
        """Does a step; the loss that is returned is overwritten by the next one."""
        size = None if rows is None else len(rows)
        captured = self._captured.get(size)
        if captured is None:
            captured = self._captured[size] = self._capture(rows)
        if captured.rows is not None and rows is not None:
            captured.rows.copy_(rows)
        captured.graph.replay()
        return captured.loss

    def _capture(self, rows: Tensor | None) -> _Captured:
        fixed = None if rows is None else rows.clone()
        before = [tensor.detach().clone() for tensor in self._state()]
        random = torch.cuda.get_rng_state(self._device)
        aside: Any = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._step(fixed)
        torch.cuda.current_stream(self._device).wait_stream(aside)
        with torch.no_grad():
            for tensor, value in zip(self._state(), before, strict=True):
                tensor.copy_(value)
        torch.cuda.set_rng_state(random, self._device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            loss = self._step(fixed)
        # Graphs of one training run one after the other and leave nothing but their loss.
        self._pool = self._pool or graph.pool()
        return _Captured(graph, fixed, loss)
