"""The fast gradient sign method (Goodfellow, Shlens and Szegedy, 2015, section 4).

An input is moved by epsilon in the direction in which the loss grows, `x + epsilon * sign(g)`, and
clipped to the range of inputs. Epsilon is measured in the space in which the network sees its
inputs: [-1, 1] for images, standard deviations for standardised columns. The gradient does not
depend on epsilon, so one serves all.
"""

import torch
from torch import Tensor, nn

from data.catalog import Task
from trials.losses import hard_loss

Bound = float | Tensor
"""An end of the range of inputs: for all of them, or what broadcasts to them, such as per channel."""


def input_gradient(model: nn.Module, x: Tensor, y: Tensor, task: Task) -> tuple[Tensor, Tensor]:
    """One forward and one backward pass.

    The losses of the samples are summed, not averaged, so that a sample's gradient does not depend
    on the size of its batch, nor vanishes by it. No gradients of parameters are computed.

    Args:
        model: a network in eval mode.
        x: `(batch, ...)` inputs, as floats.
        y: `(batch,)` labels or `(batch, targets)` targets.
        task: which loss.

    Returns:
        The outputs `(batch, outputs)` and the gradient of the loss, of the shape of `x`.
    """
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        outputs = model(leaf)
        (gradient,) = torch.autograd.grad(hard_loss(task, outputs, y).sum(), leaf)
    return outputs.detach(), gradient


def fgsm(
    x: Tensor, gradient: Tensor, epsilon: float, low: Bound | None, high: Bound | None
) -> Tensor:
    """The attacked inputs.

    Args:
        x: `(batch, ...)` inputs.
        gradient: of the loss, of the same shape.
        epsilon: size of the step.
        low: least value of an input; None where the step is not clipped.
        high: greatest value of an input; None likewise.
    """
    moved = x.add(gradient.sign(), alpha=epsilon)
    return moved if low is None or high is None else clip(moved, low, high)


def clip(x: Tensor, low: Bound, high: Bound) -> Tensor:
    """The inputs within their range.

    Args:
        x: `(batch, ...)` inputs.
        low: least value of an input: one number, or a tensor that broadcasts to the shape of `x`,
            such as `(channels, 1, 1)`.
        high: greatest value, likewise.
    """
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        least, most = (torch.as_tensor(b, dtype=x.dtype, device=x.device) for b in (low, high))
        return torch.clamp(x, least, most)
    return x.clamp(low, high)


def zero_gradients(gradient: Tensor) -> Tensor:
    """How many samples have a gradient that is zero in every entry: no attack can follow it.

    Args:
        gradient: `(batch, ...)`, of the loss by the inputs.

    Returns:
        A count, as a tensor without axes.
    """
    return (gradient.flatten(1) == 0).all(dim=1).sum()
