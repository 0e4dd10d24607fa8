import copy

import pytest
import torch
from torch import nn

from models.initialise import build
from trials.weight_noise import Moved, draw


def test_noise_has_the_strength_that_is_asked_for() -> None:
    model = nn.Linear(300, 400)
    noise = draw(model, "absolute", 3, 0)
    assert noise["weight"].std().item() == pytest.approx(1, abs=0.01)  # standard error 0.002
    assert noise["bias"].shape == (400,)
    relative = draw(model, "relative", 3, 0)
    size = model.weight.square().mean().sqrt()
    assert torch.equal(relative["weight"], noise["weight"] * size)


def test_repeats_seeds_and_tensors_have_noise_of_their_own() -> None:
    model = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20))
    draws = [draw(model, "absolute", seed, repeat) for seed, repeat in ((3, 0), (3, 1), (4, 0))]
    values = torch.cat([t.flatten() for noise in draws for t in noise.values()])
    assert len(values) == 3 * 2 * 420
    assert len(values.unique()) == len(values)
    again = draw(model, "absolute", 3, 0)
    assert all(torch.equal(again[name], draws[0][name]) for name in again)


def test_a_draw_for_a_batch_is_like_no_other() -> None:
    model = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20))
    places = [(3, 0, None), (3, 0, 0), (3, 0, 1), (3, 1, 0), (4, 0, 0)]
    draws = [draw(model, "absolute", *place) for place in places]
    values = torch.cat([t.flatten() for noise in draws for t in noise.values()])
    assert len(values) == 5 * 2 * 420
    assert len(values.unique()) > len(values) - 5  # two may be equal by chance, a tensor may not
    again = draw(model, "relative", 3, 0, 1)
    size = model[0].weight.square().mean().sqrt()
    assert torch.equal(again["0.weight"], draws[2]["0.weight"] * size)


def test_the_place_of_weights_in_memory_makes_no_difference() -> None:
    plain = nn.Conv2d(3, 4, 3)
    other = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    a, b = draw(plain, "absolute", 1, 0), draw(other, "absolute", 1, 0)
    assert torch.equal(a["weight"], b["weight"])


def test_outputs_by_hand() -> None:
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, -1.0]]))
        model.bias.fill_(0.5)
    noise = {"weight": torch.tensor([[1.0, 10.0]]), "bias": torch.tensor([-2.0])}
    # (2 + 0.5) 4 + (-1 + 5) 3 + (0.5 - 1)
    assert Moved(model, noise, 0.5)(torch.tensor([[4.0, 3.0]])).tolist() == [[21.5]]
    assert Moved(model, noise, 0.0)(torch.tensor([[4.0, 3.0]])).tolist() == [[5.5]]


def test_the_network_stays_what_it_is_even_where_it_fails() -> None:
    model = build("digits", "student", (1, 8, 8), 10, "he", 4).eval()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    noisy = Moved(model, draw(model, "absolute", 1, 0), 1.0)
    x = torch.zeros(2, 1, 8, 8)
    assert not torch.equal(noisy(x), model(x))
    with pytest.raises(RuntimeError):
        noisy(torch.zeros(2, 5))
    after = model.state_dict()
    assert all(torch.equal(after[name], t) for name, t in before.items())
    assert all(p.requires_grad for p in model.parameters())
