"""While a body is frozen, the output layer trains as it always does, its own dropout included."""

import torch
from torch import nn

import models
from trials.steps import training_part


def test_dropout_within_the_output_layer_is_on_while_the_body_is_frozen() -> None:
    network = models.get("digits", "vit-p4-w8-d1-h2-dropout50").make((1, 8, 8), 10)
    for weights in network.parameters():  # its output layer begins at 0, and says nothing
        nn.init.normal_(weights)
    x = torch.rand(4, 1, 8, 8)
    body = [m for m in network.modules() if isinstance(m, nn.LayerNorm | nn.MultiheadAttention)]
    assert body
    with torch.no_grad():
        with training_part(network, "head"):
            assert not any(part.training for part in body)
            assert not torch.equal(network(x), network(x))
        with training_part(network, "all"):
            assert all(part.training for part in body)
        assert torch.equal(network.eval()(x), network(x))
