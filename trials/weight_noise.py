"""Gaussian noise on the weights of a network, which itself is never touched.

A network whose figures hardly change lies in a flat region of the loss. All weights and biases get
noise, drawn anew for each repeat: then a repeat is one network. Or it is drawn anew for each batch
of the evaluation as well: then a repeat is the mean over many networks, and depends on the batches.
Strengths share their draws: a curve over strengths has no noise of its own.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from trials.streams import stream_key


def draw(
    model: nn.Module,
    kind: Literal["absolute", "relative"],
    seed: int,
    repeat: int,
    batch: int | None = None,
) -> dict[str, Tensor]:
    """Noise of strength 1 for every parameter, by its name.

    Args:
        model: the network.
        kind: `absolute`, of standard deviation 1, or `relative`, of that of the root mean square
            of its tensor.
        seed: of the trial.
        repeat: which draw.
        batch: of the evaluation, from 0, where each has a draw of its own; None where all share one.
    """
    if batch is not None:
        seed, repeat = stream_key(seed, "weight_noise_batch", repeat, batch), 0
    found = {}
    for position, (name, weights) in enumerate(model.named_parameters()):
        generator = torch.Generator(weights.device)
        generator.manual_seed(stream_key(seed, "weight_noise", repeat, position))
        noise = torch.empty_like(weights, memory_format=torch.contiguous_format)
        noise.requires_grad_(False).normal_(generator=generator)
        if kind == "relative":
            noise *= weights.detach().square().mean().sqrt()
        found[name] = noise
    return found


class Moved:
    """A network as it would be with noise on its weights; the network stays what it is."""

    def __init__(self, model: nn.Module, noise: Mapping[str, Tensor], epsilon: float) -> None:
        """Adds noise to a copy of the weights.

        Args:
            model: the network.
            noise: of strength 1, see `draw`.
            epsilon: the strength.
        """
        self._model = model
        self._weights = {
            name: weights.detach().add(noise[name], alpha=epsilon)
            for name, weights in model.named_parameters()
        }

    def __call__(self, x: Tensor) -> Tensor:
        """What it says to inputs `(batch, ...)`."""
        outputs: Tensor = functional_call(self._model, self._weights, (x,))
        return outputs
