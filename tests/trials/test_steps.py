"""Steps that ask for more than rows and labels: by hand, and whole or in pieces."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor, nn
from torch.func import functional_call

from data import DataSpec
from data.augment import Augment, augment
from data.load import LoadedData, load
from models.head import head_parameters
from tests.trials.specs import OTHER_RULE, RULE, guided
from tests.trials.test_train import state, through_bytes
from trials.course import Trained, build_model
from trials.evaluate import outputs
from trials.spec import (
    HARD,
    EarlyStop,
    Guide,
    LrSchedule,
    Objective,
    Recipe,
    Segment,
    Start,
    TeacherRule,
    Terms,
    TrialSpec,
    cut,
    frozen_at_first,
)
from trials.steps import training_part
from trials.streams import stream_key
from trials.train import train

ROWS = DataSpec("digits", train_size=64)
RATE = 0.05
ONE_STEP = Recipe("mlp-6", 64, "sgd", RATE)
SMALL = TeacherRule.only("a small network")
TWIN = TeacherRule.only("a network of the same size")


@cache
def loaded(spec: DataSpec) -> LoadedData:
    return load(spec)


@cache
def networks() -> Mapping[str, nn.Module]:
    """Two networks that something may begin with, stay near to, or ask."""
    found = {}
    for rule, model in ((SMALL, "mlp-4"), (TWIN, "mlp-6"), (RULE, "small"), (OTHER_RULE, "mlp-4")):
        spec = TrialSpec(7, ROWS, Recipe(model, 64), (Segment(1),))
        found[rule.key] = build_model(spec, loaded(ROWS)).eval()
    return found


def said(spec: TrialSpec) -> dict[str, Tensor]:
    """What they say about the training rows of digits."""
    rows = loaded(spec.data)
    if spec.data.name != "digits":
        return {}
    return {
        key: outputs(network, rows.train, rows.inputs) for key, network in networks().items()
    }  # fmt: skip


def run(spec: TrialSpec, **options: object) -> Trained:
    return train(  # type: ignore[arg-type]
        spec, loaded(spec.data), said(spec), networks=dict(networks()), **options
    )


def begun(spec: TrialSpec) -> dict[str, Tensor]:
    """The network before its first step, with gradients."""
    model = build_model(spec, loaded(spec.data), networks())
    return {k: t.detach().clone().requires_grad_() for k, t in model.named_parameters()}


def batch(spec: TrialSpec) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, labels and row numbers of the first minibatch, which has all rows."""
    rows = loaded(spec.data)
    order = torch.randperm(
        len(rows.train.y),
        generator=torch.Generator().manual_seed(stream_key(spec.seed, "order", 0)),
    )
    return rows.inputs(rows.train.x[order]), rows.train.y[order], order


def perceptron(weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Dense layers and ReLUs between them, from the weights in their order."""
    x = x.flatten(1)
    tensors = list(weights.values())
    for place in range(0, len(tensors), 2):
        x = F.linear(x, tensors[place], tensors[place + 1])
        if place + 2 < len(tensors):
            x = F.relu(x)
    return x


def generator(spec: TrialSpec, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(stream_key(spec.seed, purpose, 0, 0))  # type: ignore[arg-type]


def noisy(spec: TrialSpec, weights: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    noise = torch.empty(x.shape).uniform_(-1, 1, generator=generator(spec, "noise"))
    return F.cross_entropy(perceptron(weights, x + 0.25 * noise), y)


def apart(weights: Mapping[str, Tensor], rule: TeacherRule) -> Tensor:
    """The sum of squared differences, in the corners that both networks have."""
    theirs = networks()[rule.key].named_parameters()
    pairs = zip(weights.values(), (tensor for _, tensor in theirs), strict=True)
    total = torch.zeros(())
    for own, other in pairs:
        corner = tuple(slice(0, size) for size in other.shape)
        total = total + (own[corner] - other.detach()).square().sum()
    return total


def curvature(spec: TrialSpec, weights: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """`v^T H v`, by a second derivative along the line through the weights in direction v."""
    draws = generator(spec, "curvature")
    signs = {
        name: torch.empty(tensor.shape).random_(0, 2, generator=draws) * 2 - 1
        for name, tensor in weights.items()
    }
    step = torch.zeros((), requires_grad=True)
    moved = {name: tensor + step * signs[name] for name, tensor in weights.items()}
    loss = F.cross_entropy(perceptron(moved, x), y)
    (slope,) = torch.autograd.grad(loss, step, create_graph=True)
    (curve,) = torch.autograd.grad(slope, step, create_graph=True)
    return curve


def by_hand(spec: TrialSpec, weights: Mapping[str, Tensor], case: str) -> Tensor:
    x, y, order = batch(spec)
    hard = F.cross_entropy(perceptron(weights, x), y)
    match case:
        case "hard":
            return 0.5 * hard
        case "noisy":
            return hard + 0.5 * noisy(spec, weights, x, y)
        case "noisy alone":
            return 2 * noisy(spec, weights, x, y)
        case "anchor, squared":
            return hard + 0.25 * apart(weights, SMALL)
        case "anchor, norm":
            return hard + 0.25 * apart(weights, SMALL).sqrt()
        case "anchor alone":
            return 3 * apart(weights, TWIN)
        case "curvature":
            return hard + 0.125 * curvature(spec, weights, x, y)
        case "curvature without gradient":
            return hard + 0.125 * curvature(spec, weights, x, y).detach()
        case "all":
            return (
                0.4 * hard
                + 0.3 * noisy(spec, weights, x, y)
                + 0.2 * apart(weights, SMALL)
                + 0.1 * curvature(spec, weights, x, y)
            )
        case "guided and noisy":
            teacher = F.log_softmax(networks()[RULE.key](x).detach(), dim=1)
            student = F.log_softmax(perceptron(weights, x), dim=1)
            soft = (teacher.exp() * (teacher - student)).sum(dim=1).mean()
            assert order.tolist() != sorted(order.tolist())
            return 0.3 * hard + 0.7 * soft + 0.5 * noisy(spec, weights, x, y)
    raise AssertionError(case)


CASES = {
    "hard": Objective(0.5),
    "noisy": Objective(terms=Terms(noisy=0.5, amplitude=0.25)),
    "noisy alone": Objective(0.0, terms=Terms(noisy=2.0, amplitude=0.25)),
    "anchor, squared": Objective(terms=Terms(anchor=0.25, anchor_to=SMALL)),
    "anchor, norm": Objective(terms=Terms(anchor=0.25, anchor_to=SMALL, anchor_distance="norm")),
    "anchor alone": Objective(0.0, terms=Terms(anchor=3.0, anchor_to=TWIN)),
    "curvature": Objective(terms=Terms(curvature=0.125)),
    "curvature without gradient": Objective(terms=Terms(curvature=0.125, curvature_gradient=False)),
    "all": Objective(
        0.4,
        terms=Terms(noisy=0.3, amplitude=0.25, anchor=0.2, anchor_to=SMALL, curvature=0.1),
    ),
    "guided and noisy": replace(guided(0.3), terms=Terms(noisy=0.5, amplitude=0.25)),
}


@pytest.mark.parametrize("case", CASES)
def test_one_step_is_the_one_by_hand(case: str) -> None:
    spec = TrialSpec(3, ROWS, ONE_STEP, (Segment(1, CASES[case]),))
    trained = run(spec)
    weights = begun(spec)
    loss = by_hand(spec, weights, case)
    assert trained.snapshot.progress.train_loss == pytest.approx((loss.item(),), rel=1e-5)
    slopes = torch.autograd.grad(loss, list(weights.values()))
    after = dict(trained.model.named_parameters())
    for (name, before), slope in zip(weights.items(), slopes, strict=True):
        expected = before - RATE * slope
        torch.testing.assert_close(after[name].detach(), expected.detach(), rtol=1e-4, atol=1e-6)
        assert not torch.equal(after[name], before), name


def test_the_second_step_draws_anew() -> None:
    objective = Objective(0.0, terms=Terms(noisy=1.0, amplitude=0.25))
    still = replace(ONE_STEP, learning_rate=0.0, shuffle=False)  # the same rows and weights
    spec = TrialSpec(3, ROWS, replace(still, batch_size=32), (Segment(2, objective),))
    same = replace(spec, schedule=(Segment(2),))
    points = {s.schedule: run(s).snapshot.progress.train_loss for s in (spec, same)}
    first, second = points[spec.schedule]
    assert first != second
    assert len(set(points[same.schedule])) == 1


def test_curvature_without_gradient_changes_no_training() -> None:
    """It is a number beside the loss; the weights are those without it, to the bit."""
    with_it = TrialSpec(3, ROWS, ONE_STEP, (Segment(2, CASES["curvature without gradient"]),))
    without = replace(with_it, schedule=(Segment(2),))
    one, other = (run(spec) for spec in (with_it, without))
    for name, tensor in one.model.state_dict().items():
        torch.testing.assert_close(tensor, other.model.state_dict()[name], rtol=1e-6, atol=1e-7)
    assert one.snapshot.progress.train_loss != other.snapshot.progress.train_loss


def test_an_anchor_pulls_towards_itself() -> None:
    """Of `3 d^2` with rate 0.05, a step leaves 1 - 2 * 3 * 0.05 = 0.7 of every difference."""
    spec = TrialSpec(3, ROWS, ONE_STEP, (Segment(1, CASES["anchor alone"]),))
    after, before = dict(run(spec).model.named_parameters()), begun(spec)
    for name, fixed in networks()[TWIN.key].named_parameters():
        left = (after[name] - fixed).detach()
        torch.testing.assert_close(
            left, 0.7 * (before[name] - fixed).detach(), rtol=1e-4, atol=1e-6
        )


# A part of the network


def unchanged(spec: TrialSpec) -> tuple[set[str], set[str]]:
    """Tensors of the state that training left as they were, to the bit, and the others."""
    model = build_model(spec, loaded(spec.data), networks())
    before = {k: t.clone() for k, t in model.state_dict().items()}
    after = run(spec).model.state_dict()
    same = {k for k, t in after.items() if torch.equal(t, before[k])}
    return same, set(after) - same


FROZEN: dict[str, tuple[DataSpec | str, Recipe]] = {
    "batch statistics": ("groups", Recipe("batch_norm", 64)),
    "dropout, weight decay": ("groups", Recipe("dropping", 48, weight_decay=0.1)),
    "momentum": (ROWS, Recipe("mlp-6-5", 32, "sgd", 0.1, momentum=0.9)),
    "full batch": (ROWS, Recipe("medium", None)),
}


def frozen(name: str) -> tuple[DataSpec, Recipe]:
    rows, recipe = FROZEN[name]  # of datasets that are registered for each test
    return (rows if isinstance(rows, DataSpec) else DataSpec(rows)), recipe


@pytest.mark.parametrize("name", FROZEN)
@pytest.mark.parametrize("objective", [HARD, CASES["noisy"], CASES["curvature"]])
def test_of_a_frozen_network_the_head_alone_changes(name: str, objective: Objective) -> None:
    rows, recipe = frozen(name)
    spec = TrialSpec(3, rows, recipe, frozen_at_first((Segment(2, objective),), 2))
    head = set(head_parameters(build_model(spec, loaded(rows))))
    assert len(head) == 2
    same, other = unchanged(spec)
    assert other == head
    assert len(same) >= 2


def test_after_the_frozen_epochs_everything_changes() -> None:
    rows, recipe = frozen("batch statistics")
    spec = TrialSpec(3, rows, recipe, frozen_at_first((Segment(2),), 1))
    assert unchanged(spec)[0] == set()
    assert [part.objective.trains for part in spec.schedule] == ["head", "all"]


def test_the_frozen_part_is_as_in_evaluation() -> None:
    """No dropout, and batch statistics of the past: the loss is that of the network in eval mode."""
    for name in ("batch statistics", "dropout, weight decay"):
        rows, recipe = frozen(name)
        whole = replace(recipe, batch_size=250)
        spec = TrialSpec(3, rows, whole, frozen_at_first((Segment(1),), 1))
        model = build_model(spec, loaded(rows)).eval()
        train_rows = loaded(rows).train
        hand = F.cross_entropy(model(loaded(rows).inputs(train_rows.x)), train_rows.y)
        assert run(spec).snapshot.progress.train_loss == pytest.approx((hand.item(),), rel=1e-5)


def test_a_frozen_network_is_left_trainable() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(), nn.Linear(2, 1))
    with training_part(model, "head"):
        assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
        assert not model[1].training
    assert all(p.requires_grad for p in model.parameters())
    assert all(module.training for module in model.modules())
    with training_part(model, "all"):
        assert all(p.requires_grad for p in model.parameters())


def test_adam_of_the_body_begins_when_it_is_first_trained() -> None:
    """As PyTorch's optimizer, which counts the steps of each tensor."""
    rows, recipe = ROWS, Recipe("mlp-6", 64, "adam", 0.01, shuffle=False)
    spec = TrialSpec(3, rows, recipe, frozen_at_first((Segment(3),), 2))
    model = build_model(spec, loaded(rows))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, y = loaded(rows).inputs(loaded(rows).train.x), loaded(rows).train.y
    *body, weight, bias = model.parameters()
    for epoch in range(3):
        for tensor in body:
            tensor.requires_grad_(epoch == 2)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for mine, other in zip(run(spec).model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)
    assert weight.requires_grad
    assert bias.requires_grad


# Masked classes

FEW = DataSpec("digits", train_size=64, classes=(0, 1, 2))


def test_a_masked_output_is_0_in_the_loss_and_its_row_of_the_head_stays() -> None:
    spec = TrialSpec(3, FEW, replace(ONE_STEP, batch_size=64), (Segment(1),))
    x, y, _ = batch(spec)
    assert set(y.tolist()) == {0, 1, 2}
    weights = begun(spec)
    logits = perceptron(weights, x)
    # exp(0) = 1 for each of the seven that are masked.
    normaliser = torch.log(logits[:, :3].exp().sum(dim=1) + 7)
    loss = (normaliser - logits[torch.arange(len(y)), y]).mean()
    trained = run(spec)
    assert trained.snapshot.progress.train_loss == pytest.approx((loss.item(),), rel=1e-5)
    weight, bias = (t.detach() for t in list(trained.model.parameters())[-2:])
    before = [t.detach() for t in list(weights.values())[-2:]]
    assert torch.equal(weight[3:], before[0][3:])
    assert torch.equal(bias[3:], before[1][3:])
    assert (weight[:3] != before[0][:3]).any(dim=1).all()


# Images that are changed at random

AUGMENTED = replace(ONE_STEP, augment=Augment(flip=True, pad=1))


def test_augmented_images_are_shown_to_student_and_teacher() -> None:
    objective = guided(0.3, OTHER_RULE)
    spec = TrialSpec(3, ROWS, AUGMENTED, (Segment(1, objective),))
    x, y, _ = batch(spec)
    shown = augment(x, AUGMENTED.augment, loaded(ROWS).fill, stream_key(3, "augment", 0, 0))
    assert not torch.equal(shown, x)
    weights = begun(spec)
    teacher = networks()[OTHER_RULE.key]

    def loss(seen: Tensor) -> float:
        student = perceptron(weights, shown)
        log_teacher = F.log_softmax(teacher(seen), dim=1)
        soft = F.kl_div(
            F.log_softmax(student, dim=1), log_teacher, log_target=True, reduction="batchmean"
        )
        return (0.3 * F.cross_entropy(student, y) + 0.7 * soft).item()

    found = run(spec).snapshot.progress.train_loss
    assert found == pytest.approx((loss(shown),), rel=1e-5)
    assert found != pytest.approx((loss(x),), rel=1e-5)


# What a network begins with


@pytest.mark.parametrize("growth", ["zero-pad", "uniform-pad", "net2net"])
def test_a_grown_network_holds_the_source_in_its_corner_or_in_its_function(growth: str) -> None:
    start = Start(SMALL, growth)  # type: ignore[arg-type]
    spec = TrialSpec(3, ROWS, ONE_STEP, (Segment(1),), start)
    grown = build_model(spec, loaded(ROWS), networks())
    source = networks()[SMALL.key]
    x = loaded(ROWS).inputs(loaded(ROWS).train.x)
    if growth == "uniform-pad":
        for own, other in zip(grown.parameters(), source.parameters(), strict=True):
            assert torch.equal(own[tuple(slice(0, n) for n in other.shape)], other)
    else:
        torch.testing.assert_close(grown(x), source(x), rtol=1e-4, atol=1e-5)
    fresh = build_model(replace(spec, start=None), loaded(ROWS))
    assert all(
        a.shape == b.shape for a, b in zip(grown.parameters(), fresh.parameters(), strict=True)
    )


def test_a_copy_with_a_new_head_has_the_head_of_the_initialisation() -> None:
    spec = TrialSpec(3, ROWS, ONE_STEP, (Segment(1),), Start(TWIN, "copy", "new"))
    grown = build_model(spec, loaded(ROWS), networks()).state_dict()
    fresh = build_model(replace(spec, start=None), loaded(ROWS)).state_dict()
    source = networks()[TWIN.key].state_dict()
    names = list(grown)
    assert all(torch.equal(grown[name], source[name]) for name in names[:-2])
    assert all(torch.equal(grown[name], fresh[name]) for name in names[-2:])


def test_what_a_training_begins_with_is_left_as_it_was() -> None:
    before = {k: t.clone() for k, t in networks()[TWIN.key].state_dict().items()}
    spec = TrialSpec(3, ROWS, ONE_STEP, (Segment(2),), Start(TWIN))
    run(spec)
    after = networks()[TWIN.key].state_dict()
    assert all(torch.equal(after[k], t) for k, t in before.items())


# The same bits, whole or in pieces

WATCHED = DataSpec("digits", train_size=120, validation=0.1)
PIECES: dict[str, TrialSpec] = {
    "all terms": TrialSpec(3, ROWS, Recipe("mlp-6", 24), (Segment(4, CASES["all"]),)),
    "a window": TrialSpec(
        3, ROWS, Recipe("medium", 24), (Segment(1), Segment(2, guided(0.3)), Segment(1))
    ),
    "frozen, then all": TrialSpec(
        3, ROWS, Recipe("medium", 24), frozen_at_first((Segment(4, guided(0.3)),), 2)
    ),
    "frozen, with momentum": TrialSpec(
        3, ROWS, Recipe("mlp-6", 24, "sgd", 0.1, momentum=0.9), frozen_at_first((Segment(4),), 2)
    ),
    "augmented, a teacher asked": TrialSpec(
        3, ROWS, replace(AUGMENTED, batch_size=24), (Segment(2, guided(0.3)), Segment(2))
    ),
    "no shuffling": TrialSpec(3, ROWS, Recipe("medium", 24, shuffle=False), (Segment(4),)),
    "padded with zeros": TrialSpec(
        3, ROWS, Recipe("mlp-6", 24), (Segment(4),), Start(SMALL, "zero-pad")
    ),
    "net2net, then near it": TrialSpec(
        3, ROWS, Recipe("mlp-6", 24), (Segment(4, CASES["anchor, norm"]),), Start(SMALL, "net2net")
    ),
    "an ensemble": TrialSpec(
        3, ROWS, Recipe("mlp-6", 24),
        (Segment(4, Objective(0.3, 0.7, guides=(Guide(RULE, 3.0), Guide(OTHER_RULE)))),),
    ),
    "few classes, noise": TrialSpec(3, FEW, Recipe("mlp-6", 24), (Segment(4, CASES["noisy"]),)),
    "wrong labels": TrialSpec(
        3, DataSpec("digits", train_size=64, label_noise=0.3), Recipe("medium", 24), (Segment(4),)
    ),
    "plateau, early stop, best epoch, all terms": TrialSpec(
        3, WATCHED,
        Recipe(
            "mlp-6", 24, learning_rate=0.02,
            lr_schedule=LrSchedule("plateau", 0.5, patience=0, threshold=0.1),
            early_stop=EarlyStop(3, restore_best=True),
        ),
        (Segment(4, CASES["all"]),),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PIECES)
def test_cut_at_any_epoch_and_continued_is_straight_through(name: str) -> None:
    spec = PIECES[name]
    straight = run(spec)
    assert straight.snapshot.epoch == 4
    for epoch in range(1, 4):
        start = through_bytes(run(spec.shortened(epoch)).snapshot)
        again = run(spec, start=start)
        assert state(again.snapshot) == state(straight.snapshot), f"cut at epoch {epoch}"
        for key, tensor in straight.model.state_dict().items():
            assert torch.equal(again.model.state_dict()[key], tensor), key


@pytest.mark.parametrize("name", PIECES)
def test_paused_after_every_epoch_is_straight_through(name: str) -> None:
    spec = PIECES[name]
    reached = run(spec, pause_after_s=0.0).snapshot
    assert reached.epoch == 1
    while reached.epoch < 4:
        reached = run(spec, start=through_bytes(reached), pause_after_s=0.0).snapshot
    assert state(reached) == state(run(spec).snapshot)


@pytest.mark.parametrize("name", PIECES)
def test_each_is_another_training_than_the_plain_one(name: str) -> None:
    """So that the tests above do not compare trainings in which nothing of it was done."""
    spec = PIECES[name]
    plain = replace(spec, schedule=(Segment(4),), start=None)
    plain = replace(
        plain,
        data=replace(plain.data, label_noise=0.0, classes=None),
        recipe=replace(plain.recipe, shuffle=True, augment=Augment()),
    )
    assert plain != spec
    one, other = (state(run(s).snapshot).tensors for s in (spec, plain))
    assert one != other


def test_a_fork_is_the_trial_alone() -> None:
    """Frozen and free trials, and windows, go on from what they have in common."""
    trunk = TrialSpec(3, ROWS, Recipe("medium", 24), (Segment(2),))
    shared = through_bytes(run(trunk).snapshot)
    for tail in ((Segment(2, guided(0.3)),), (Segment(2, replace(HARD, trains="head")),)):
        spec = replace(trunk, schedule=(Segment(2), *tail))
        assert cut(spec.schedule, 0, 2) == trunk.schedule
        assert state(run(spec, start=shared).snapshot) == state(run(spec).snapshot)


def test_functional_call_agrees_with_the_perceptron_of_these_tests() -> None:
    spec = TrialSpec(3, ROWS, ONE_STEP, (Segment(1),))
    model = build_model(spec, loaded(ROWS))
    x, _, _ = batch(spec)
    weights = dict(model.named_parameters())
    torch.testing.assert_close(functional_call(model, weights, (x,)), perceptron(weights, x))
