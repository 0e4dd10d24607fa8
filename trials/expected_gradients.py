"""SHAP values of one output of a network, by expected gradients (GradientSHAP).

Gradients are integrated on straight ways from samples of a background to the one that is explained,
`E over x', a of (x - x') * df/dx at x' + a (x - x')` (Erion et al. 2021, equation 3; it joins
integrated gradients, Sundararajan et al. 2017, with the expectation over a background of SHAP, Lundberg
and Lee 2017). The values add up to `f(x) - mean f(x')`. They are Shapley values, with absent inputs
taken from the background, where the output is a sum of products in which no input comes twice, a
linear one among them, and near them elsewhere.

Written here: the method is these few lines around a gradient, and the libraries that have it draw plots
and compile code besides, draw from the global random state, and sample the background anew. Here
every background sample is used equally often and the places `a` are spread over their strata, so the
values of a linear output have no sampling error at all, and those of another little.
"""

import torch
from torch import Tensor, nn

from data.random_numbers import uniforms
from data.stratify import random_keys
from trials.streams import stream_key

BATCH_SIZE = 100
"""Ways followed at a time."""


def expected_gradients(
    model: nn.Module,
    x: Tensor,
    background: Tensor,
    output: int,
    *,
    seed: int,
    row: int = 0,
    repeats: int = 1,
    batch_size: int = BATCH_SIZE,
) -> Tensor:
    """The values of one sample.

    A sample's values depend on nothing that is explained beside it.

    Args:
        model: in eval mode, with outputs `(batch, outputs)`; a sample's must not depend on others.
        x: `(...)`, one network input.
        background: `(samples, ...)`, network inputs.
        output: which output is explained, in its own unit: of a classifier a logit.
        seed: from which the places on the ways are drawn.
        row: tells the sample from others of the same seed.
        repeats: places on each way.
        batch_size: see `BATCH_SIZE`.

    Returns:
        `(...)`, float64, in the output's unit.

    Raises:
        ValueError: there is no background, or no place on a way.
    """
    if len(background) == 0:
        raise ValueError("no background samples; there must be 1 or more")
    if repeats < 1:
        raise ValueError(f"repeats = {repeats}: must be 1 or more")
    total = torch.zeros_like(x, dtype=torch.float64)
    for repeat in range(repeats):
        places = _places(len(background), seed, row, repeat).to(x)
        for start, place in zip(
            torch.split(background, batch_size), torch.split(places, batch_size), strict=True
        ):
            way = x - start
            here = torch.addcmul(start, way, place.view(-1, *(1,) * x.ndim))
            total += (way * _gradient(model, here, output)).sum(0, dtype=torch.float64)
    return total / (repeats * len(background))


def completeness_error(
    model: nn.Module, x: Tensor, background: Tensor, values: Tensor, output: int
) -> tuple[float, float]:
    """How far the values of a sample are from adding up to what they divide.

    Args:
        model: see `expected_gradients`, as all else.
        x: `(...)`.
        background: `(samples, ...)`.
        values: `(...)`.
        output: which output is explained.

    Returns:
        `sum of values - difference` and `difference = f(x) - mean f(x')`, in the output's unit.
    """
    with torch.inference_mode():
        parts = [model(part)[:, output].double() for part in torch.split(background, BATCH_SIZE)]
        difference = float(model(x.unsqueeze(0))[0, output]) - float(torch.cat(parts).mean())
    return float(values.sum()) - difference, difference


def _places(ways: int, seed: int, row: int, repeat: int) -> Tensor:
    """A place on each way, `(ways,)`, float64 in (0, 1): one in every of so many equal strata."""
    key = stream_key(seed, "attribution", repeat, row)
    stratum = torch.from_numpy(random_keys(ways, key, "stratum").argsort(kind="stable"))
    within = torch.from_numpy(uniforms(ways, key, "place"))
    return (stratum + within) / ways


def _gradient(model: nn.Module, x: Tensor, output: int) -> Tensor:
    """Of an output by the inputs of every sample, `(batch, ...)`; none of parameters is computed."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(model(leaf)[:, output].sum(), leaf)
    return gradient
