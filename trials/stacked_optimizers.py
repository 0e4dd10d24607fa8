"""Adam and SGD for stacked parameters, with a rate, a decay and a count of steps for each lane.

Every operation is one that rounds once (sum, product, quotient, root), so that vectors and single
numbers give the same bits. A lane's state has the form of `trials.optimizers`.
"""

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from trials.engine import LANES
from trials.spec import Recipe
from trials.stacked import StackedNetwork


class StackedOptimizer(Protocol):
    """What changes the parameters of all lanes."""

    def begin(self, rates: Mapping[int, float]) -> None:
        """Gets ready for a step in which these lanes, by number, have these learning rates."""
        ...

    def step(self) -> None:
        """Changes the parameters by their gradient; decides nothing by values."""
        ...

    def own_tensors(self) -> list[Tensor]:
        """What `step` changes besides the parameters."""
        ...

    def load(self, lane: int, recipe: Recipe, tensors: Mapping[str, Tensor]) -> None:
        """Takes over a state that `tensors` gave; an empty one is that before the first step."""
        ...

    def tensors(self, lane: int) -> dict[str, Tensor]:
        """A copy of a lane's state on the CPU, by `index of the parameter/name`."""
        ...


class _Stacked:
    """Settings of each lane, and states shaped as the parameters."""

    def __init__(self, network: StackedNetwork, states: tuple[str, ...]) -> None:
        self._network = network
        self._states = {name: torch.zeros_like(network.values) for name in states}
        self._recipes: dict[int, Recipe] = {}
        self._numbers = torch.zeros(4, LANES, 1, device=network.values.device)

    def own_tensors(self) -> list[Tensor]:
        return list(self._states.values())

    def load(self, lane: int, recipe: Recipe, tensors: Mapping[str, Tensor]) -> None:
        self._recipes[lane] = recipe
        for name, stacked in self._states.items():
            stacked[lane].zero_()
            for index, part in enumerate(self._network.parts(stacked).values()):
                if f"{index}/{name}" in tensors:
                    part[lane].copy_(tensors[f"{index}/{name}"])

    def tensors(self, lane: int) -> dict[str, Tensor]:
        return {
            f"{index}/{name}": part[lane].to("cpu", copy=True)
            for name, stacked in self._states.items()
            for index, part in enumerate(self._network.parts(stacked).values())
        }

    def _tell(self, numbers: Mapping[int, tuple[float, ...]], idle: tuple[float, ...]) -> None:
        """Hands settings to the device, where a step reads them."""
        rows = [numbers.get(lane, idle) for lane in range(LANES)]
        self._numbers[: len(idle)].copy_(torch.tensor(rows).T.unsqueeze(2))

    def _decayed(self, decay: Tensor) -> Tensor:
        return self._network.gradient + self._network.values * decay


class StackedAdam(_Stacked):
    """Adam (Kingma and Ba, 2015), as `trials.optimizers.Adam`."""

    def __init__(self, network: StackedNetwork) -> None:
        super().__init__(network, ("exp_avg", "exp_avg_sq"))
        self._steps = [0] * LANES

    def begin(self, rates: Mapping[int, float]) -> None:
        """Gets ready for a step in which these lanes, by number, have these learning rates."""
        numbers = {}
        for lane, rate in rates.items():
            self._steps[lane] += 1
            first, second = (1 - beta ** self._steps[lane] for beta in (0.9, 0.999))
            numbers[lane] = rate / first, math.sqrt(second), self._recipes[lane].weight_decay
        self._tell(numbers, (0.0, 1.0, 0.0))

    @torch.no_grad()
    def step(self) -> None:
        """Changes the parameters by their gradient."""
        size, root, decay, _ = self._numbers
        mean, square = self._states.values()
        gradient = self._decayed(decay)
        mean.mul_(0.9).add_(gradient * (1 - 0.9))
        square.mul_(0.999).add_(gradient * gradient * (1 - 0.999))
        self._network.values.sub_(mean / (square.sqrt() / root + 1e-8) * size)

    def load(self, lane: int, recipe: Recipe, tensors: Mapping[str, Tensor]) -> None:
        """Takes over a state."""
        super().load(lane, recipe, tensors)
        self._steps[lane] = int(tensors["0/step"]) if tensors else 0

    def tensors(self, lane: int) -> dict[str, Tensor]:
        """A copy of a lane's state."""
        if self._steps[lane] == 0:
            return {}
        count = torch.tensor(float(self._steps[lane]))
        parameters = range(len(self._network.parts(self._network.values)))
        return {**{f"{index}/step": count.clone() for index in parameters}, **super().tensors(lane)}


class StackedSgd(_Stacked):
    """Stochastic gradient descent with momentum, as `trials.optimizers.Sgd`."""

    def __init__(self, network: StackedNetwork) -> None:
        super().__init__(network, ("momentum_buffer",))
        self._begun = [False] * LANES

    def begin(self, rates: Mapping[int, float]) -> None:
        """Gets ready for a step in which these lanes, by number, have these learning rates."""
        numbers = {}
        for lane, rate in rates.items():
            self._begun[lane] = True
            recipe = self._recipes[lane]
            numbers[lane] = rate, recipe.momentum, recipe.weight_decay
        self._tell(numbers, (0.0, 0.0, 0.0))

    @torch.no_grad()
    def step(self) -> None:
        """Changes the parameters by their gradient."""
        rate, momentum, decay, _ = self._numbers
        (buffer,) = self._states.values()
        buffer.mul_(momentum).add_(self._decayed(decay))
        self._network.values.sub_(buffer * rate)

    def load(self, lane: int, recipe: Recipe, tensors: Mapping[str, Tensor]) -> None:
        """Takes over a state."""
        super().load(lane, recipe, tensors)
        self._begun[lane] = bool(tensors)

    def tensors(self, lane: int) -> dict[str, Tensor]:
        """A copy of a lane's state; without momentum there is none."""
        has_state = self._begun[lane] and self._recipes[lane].momentum > 0
        return super().tensors(lane) if has_state else {}


def build_stacked(recipe: Recipe, network: StackedNetwork) -> StackedOptimizer:
    """The optimizer of all lanes whose recipes have the same kind."""
    return StackedSgd(network) if recipe.optimizer == "sgd" else StackedAdam(network)
