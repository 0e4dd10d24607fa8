"""What has no effect makes no difference: terms, starts, frozen epochs and settings that do nothing."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import DataSpec
from tests.trials.specs import OTHER_RULE, RULE, STUDENT, guided
from trials.spec import (
    HARD,
    NO_TERMS,
    Objective,
    Recipe,
    Segment,
    Start,
    Terms,
    TrialSpec,
    by_epoch,
    cut,
    epoch_count,
    frozen_at_first,
    schedule,
)


@pytest.mark.parametrize(
    "idle",
    [
        {"amplitude": 0.3},
        {"anchor_to": RULE},
        {"anchor_to": RULE, "anchor_distance": "norm"},
        {"curvature_gradient": False},
        {"noisy": 0, "anchor": 0, "curvature": 0},
    ],
)
def test_settings_of_terms_without_weight_are_no_terms(idle: dict[str, Any]) -> None:
    assert Terms(**idle) == NO_TERMS
    assert Objective(terms=Terms(**idle)) == HARD
    assert Objective(terms=Terms(**idle)).key == HARD.key
    assert Terms(noisy=0.5, amplitude=0.1, **{k: v for k, v in idle.items() if k not in (
        "amplitude", "noisy")}) == Terms(noisy=0.5, amplitude=0.1)  # fmt: skip


def test_terms_say_which_networks_they_need() -> None:
    anchored = replace(guided(0.6), terms=Terms(anchor=0.5, anchor_to=OTHER_RULE))
    assert anchored.guide_rules == (RULE,)
    assert anchored.anchor_rules == (OTHER_RULE,)
    assert anchored.rules == (RULE, OTHER_RULE)
    begun = replace(STUDENT, schedule=(Segment(2, anchored),), start=Start(OTHER_RULE))
    assert begun.start_rules == (OTHER_RULE,)
    assert begun.rules == (OTHER_RULE, RULE)  # each once, what it begins with first


def test_terms_may_be_all_there_is_and_nothing_may_not() -> None:
    assert Objective(0.0, terms=Terms(curvature=1)).rules == ()
    with pytest.raises(ValueError, match="hard \\+ soft"):
        Objective(0.0, terms=Terms(anchor_to=RULE))


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"noisy": 1}, "amplitude = 0.0: must be above 0"),
        ({"anchor": 1}, "anchor_to = None: must be a trained network"),
        ({"curvature": -1}, "curvature = -1.0: must be 0 or more"),
        ({"anchor": float("nan")}, "anchor = nan: must be 0 or more"),
        ({"anchor_distance": "l1"}, "anchor_distance = 'l1': must be squared, norm"),
        ({"curvature_gradient": 1}, "curvature_gradient = 1: must be true or false"),
    ],
)
def test_terms_that_cannot_be_are_refused(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Terms(**terms)


def test_published_weights_are_copied_with_a_new_head_wherever_they_lie() -> None:
    one = Start(pretrained="sha256:1", location="imagenet")
    other = Start(pretrained="sha256:1", location="/mirror/w.pt", growth="zero-pad")
    assert one == other
    assert (one.key, one.growth, one.head) == (other.key, "copy", "new")
    assert replace(STUDENT, start=one).trial_id == replace(STUDENT, start=other).trial_id


@pytest.mark.parametrize("start", [{}, {"source": RULE, "pretrained": "sha256:1"}])
def test_a_start_is_one_thing(start: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either a source or pretrained weights"):
        Start(**start)


def test_without_a_start_the_id_is_what_it_was() -> None:
    assert replace(STUDENT, start=None).trial_id == STUDENT.trial_id
    assert replace(STUDENT, start=Start(RULE)).trial_id != STUDENT.trial_id


def test_one_batch_has_no_order() -> None:
    assert Recipe("student", None, shuffle=False) == Recipe("student", None)
    assert Recipe("student", 64, shuffle=False) != Recipe("student", 64)


SEGMENTS = st.lists(
    st.builds(Segment, st.integers(0, 4), st.sampled_from([HARD, guided(0.1), guided(0.6)])),
    min_size=1, max_size=4,
).filter(lambda parts: sum(part.epochs for part in parts) > 0)  # fmt: skip


@given(SEGMENTS, st.integers(0, 20))
def test_frozen_epochs_are_the_first(parts: list[Segment], frozen: int) -> None:
    whole = schedule(parts)
    found = frozen_at_first(whole, frozen)
    length = epoch_count(whole)
    assert epoch_count(found) == length
    assert schedule(found) == found
    first = min(frozen, length)
    trained = [part.objective.trains for part in found for _ in range(part.epochs)]
    assert trained == ["head"] * first + ["all"] * (length - first)
    free = schedule(Segment(p.epochs, replace(p.objective, trains="all")) for p in found)
    assert free == whole
    assert cut(found, first, length) == cut(whole, first, length)
    assert frozen or found == whole


@given(SEGMENTS)
def test_an_objective_for_each_epoch_is_the_same_schedule(parts: list[Segment]) -> None:
    each = [part.objective for part in parts for _ in range(part.epochs)]
    assert by_epoch(each) == schedule(parts)


def test_a_trial_is_plain_where_steps_need_rows_labels_and_outputs_alone() -> None:
    plain = TrialSpec(1, DataSpec("digits"), Recipe("student", 64), (Segment(2, guided(0.1)),))
    assert plain.is_plain
    frozen = replace(plain, schedule=frozen_at_first(plain.schedule, 1))
    noisy = replace(plain, schedule=(Segment(2, Objective(terms=Terms(noisy=1, amplitude=1))),))
    assert not frozen.is_plain
    assert not noisy.is_plain
