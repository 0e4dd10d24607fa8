"""Adam and SGD as one fused call a step, with a state of tensors alone.

These call the kernels that PyTorch's own optimizers call with `fused=True`, and give the same bits
(tested). PyTorch's classes import its compiler when the first one is made, which costs every
worker more time than importing PyTorch, and four times the overhead a step.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from trials.spec import Recipe


class Optimizer(Protocol):
    """What the training loop needs; the parameters are changed in place.

    Attributes:
        learning_rate: of the steps to come; may be set between them.
    """

    learning_rate: float

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        ...

    def step(self) -> None:
        """Changes the parameters that have a gradient."""
        ...

    def prepare(self) -> None:
        """Makes the state that the first step would make."""
        ...

    def own_tensors(self) -> list[Tensor]:
        """The state itself, which steps change in place."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """A copy of the state on the CPU, by `index of the parameter/name`."""
        ...

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Takes over a copy of a state that `tensors` gave."""
        ...


class _Fused:
    """Parameters, their state, and what all fused optimizers do with them."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.state: list[dict[str, Tensor]] = [{} for _ in self.parameters]

    def prepare(self) -> None:
        for parameter, state in zip(self.parameters, self.state, strict=True):
            if parameter.requires_grad and not state:
                state.update(self._start(parameter))

    def _start(self, parameter: Tensor) -> dict[str, Tensor]:
        """The state of a parameter before its first step."""
        raise NotImplementedError

    def own_tensors(self) -> list[Tensor]:
        return [tensor for state in self.state for tensor in state.values()]

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def tensors(self) -> dict[str, Tensor]:
        return {
            f"{index}/{name}": tensor.detach().to("cpu", copy=True)
            for index, state in enumerate(self.state)
            for name, tensor in state.items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        self.state = [{} for _ in self.parameters]
        for key, tensor in tensors.items():
            index, name = key.split("/", 1)
            parameter = self.parameters[int(index)]
            # Fused steps go through memory, and need it in the order of the parameter's.
            like = parameter if tensor.shape == parameter.shape else tensor
            own = torch.empty_like(like, dtype=tensor.dtype, device=parameter.device)
            self.state[int(index)][name] = own.copy_(tensor).detach()

    def _with_gradients(self) -> tuple[list[Tensor], list[Tensor], list[dict[str, Tensor]]]:
        """Parameters that have a gradient, their gradients, and their states."""
        used = [
            (parameter, parameter.grad, state)
            for parameter, state in zip(self.parameters, self.state, strict=True)
            if parameter.grad is not None
        ]
        return [u[0] for u in used], [u[1] for u in used], [u[2] for u in used]


class Adam(_Fused):
    """Adam (Kingma and Ba, 2015) with betas 0.9 and 0.999, epsilon 1e-8.

    Weight decay is an L2 penalty, added to the gradient.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay

    def _start(self, parameter: Tensor) -> dict[str, Tensor]:
        return {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
        }

    @torch.no_grad()
    def step(self) -> None:
        """Changes the parameters that have a gradient."""
        parameters, gradients, states = self._with_gradients()
        if not parameters:
            return
        for parameter, state in zip(parameters, states, strict=True):
            if not state:
                state.update(self._start(parameter))
        steps = _column(states, "step")
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            parameters,
            gradients,
            _column(states, "exp_avg"),
            _column(states, "exp_avg_sq"),
            [],
            steps,
            amsgrad=False,
            lr=self.learning_rate,
            beta1=0.9,
            beta2=0.999,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )


class Sgd(_Fused):
    """Stochastic gradient descent with momentum (no dampening, not Nesterov's).

    Weight decay is an L2 penalty, added to the gradient.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters)
        self.learning_rate, self.momentum = learning_rate, momentum
        self.weight_decay = weight_decay

    def _start(self, parameter: Tensor) -> dict[str, Tensor]:
        if self.momentum == 0:
            return {}
        return {"momentum_buffer": torch.zeros_like(parameter, requires_grad=False)}

    @torch.no_grad()
    def step(self) -> None:
        """Changes the parameters that have a gradient."""
        parameters, gradients, states = self._with_gradients()
        if not parameters:
            return
        first = self.momentum != 0 and not any(states)
        for parameter, state in zip(parameters, states, strict=True):
            if not state:
                state.update(self._start(parameter))
        torch._fused_sgd_(
            parameters,
            gradients,
            _column(states, "momentum_buffer") if self.momentum != 0 else [],
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=self.learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=first,
        )


def _column(states: Sequence[dict[str, Tensor]], name: str) -> list[Tensor]:
    return [state[name] for state in states]


def build_optimizer(recipe: Recipe, model: nn.Module) -> Optimizer:
    """The optimizer of a recipe."""
    if recipe.optimizer == "sgd":
        return Sgd(model.parameters(), recipe.learning_rate, recipe.momentum, recipe.weight_decay)
    return Adam(model.parameters(), recipe.learning_rate, recipe.weight_decay)
