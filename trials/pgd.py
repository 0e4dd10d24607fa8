"""Projected gradient descent in the maximum norm (Madry et al., 2018, section 2.1).

FGSM in several smaller steps, after each of which the sample is brought back to within epsilon of
where it was, and to the range of inputs. It finds what a single step runs past; where it is weaker
than FGSM, gradients mislead. The last sample counts, not the worst of all steps.
"""

from torch import Tensor, nn

from data.catalog import Task
from trials.attacks import Bound, clip, input_gradient


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    task: Task,
    epsilon: float,
    *,
    steps: int,
    step: float,
    low: Bound,
    high: Bound,
    start: Tensor | None = None,
    gradient: Tensor | None = None,
) -> Tensor:
    """The attacked inputs.

    One step of the size of epsilon from the sample itself is FGSM.

    Args:
        model: a network in eval mode.
        x: `(batch, ...)` inputs, as floats.
        y: `(batch,)` labels or `(batch, targets)` targets.
        task: which loss.
        epsilon: how far each entry may move.
        steps: how many; 1 or more.
        step: size of each, in units of epsilon.
        low: least value of an input, see `trials.attacks.clip`.
        high: greatest value of an input.
        start: where to start, from -1 to 1 in units of epsilon, of the shape of `x`; None at `x`.
        gradient: at `x`, if it is known; used where the walk starts there.
    """
    lowest, highest = clip(x - epsilon, low, high), clip(x + epsilon, low, high)
    at = x
    if start is not None:
        at, gradient = x.add(start, alpha=epsilon).clamp(lowest, highest), None
    for _ in range(steps):
        if gradient is None:
            gradient = input_gradient(model, at, y, task)[1]
        at = at.add(gradient.sign(), alpha=step * epsilon).clamp(lowest, highest)
        gradient = None
    return at
