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


def fgsm(x: Tensor, gradient: Tensor, epsilon: float, low: float, high: float) -> Tensor:
    """The attacked inputs.

    Args:
        x: `(batch, ...)` inputs.
        gradient: of the loss, of the same shape.
        epsilon: size of the step.
        low: least value of an input.
        high: greatest value of an input.
    """
    return x.add(gradient.sign(), alpha=epsilon).clamp(low, high)


def zero_gradients(gradient: Tensor) -> Tensor:
    """How many samples have a gradient that is zero in every entry: no attack can follow it.

    Args:
        gradient: `(batch, ...)`, of the loss by the inputs.

    Returns:
        A count, as a tensor without axes.
    """
    return (gradient.flatten(1) == 0).all(dim=1).sum()
