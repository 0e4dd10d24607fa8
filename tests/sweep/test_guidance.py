"""Windows, ramps and budgets as schedules, by hand; and what they share."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.expand import Cell, Role, cells
from sweep.guidance import RAMPS, Ramp, ramp, schedule_of
from sweep.plan import plan
from sweep.study import load_study
from tests.trials.specs import RULE
from trials.spec import HARD, Guide, Objective, Schedule, Segment, epoch_count, schedule, switched

GUIDES = (Guide(RULE),)


def made(
    begin: int, end: int, epochs: int, alpha: float = 0.1, way: Ramp = None, guides: Any = GUIDES
) -> Schedule:
    return schedule_of(
        alpha=alpha, soft_loss="kl", temperature=2.0, guides=guides,
        begin=begin, end=end, epochs=epochs, ramp=way,
    )  # fmt: skip


def guided(alpha: float) -> Objective:
    return Objective(alpha, round(1 - alpha, 12), "kl", 2.0, GUIDES)


def alphas(segments: Schedule) -> list[float]:
    """The weight of the hard loss, epoch by epoch."""
    return [part.objective.hard for part in segments for _ in range(part.epochs)]


def test_a_window_of_20_to_80_percent_of_45_epochs() -> None:
    assert made(9, 36, 45) == (Segment(9), Segment(27, guided(0.1)), Segment(9))


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (0, 4, ((4, True), (6, False))),
        (3, 10, ((3, False), (7, True))),
        (3, 12, ((3, False), (7, True))),  # past the end is the end
        (0, 10, ((10, True),)),
        (0, 0, ((10, False),)),
        (4, 4, ((10, False),)),
        (6, 4, ((10, False),)),  # over before it begins
        (12, 15, ((10, False),)),
    ],
)
def test_windows(begin: int, end: int, expected: tuple[tuple[int, bool], ...]) -> None:
    found = made(begin, end, 10)
    assert tuple((part.epochs, bool(part.objective.guides)) for part in found) == expected


def test_a_linear_ramp_goes_the_same_way_every_epoch() -> None:
    # 0.1 and three quarters, a half and a quarter of what is left to 1; then alone.
    found = made(0, 4, 6, 0.1, RAMPS["linear"])
    assert alphas(found) == [0.1, 0.325, 0.55, 0.775, 1, 1]
    assert found[-1] == Segment(2, HARD)
    assert [part.objective.soft for part in found] == [0.9, 0.675, 0.45, 0.225, 0]


def test_a_ramp_begins_with_the_window() -> None:
    assert alphas(made(2, 4, 6, 0.5, RAMPS["linear"])) == [1, 1, 0.5, 0.75, 1, 1]


def test_a_ramp_that_never_ends_arrives_with_the_last_epoch() -> None:
    assert alphas(made(0, 15, 5, 0.0, RAMPS["linear"])) == [0, 0.2, 0.4, 0.6, 0.8]


def test_a_cosine_ramp_is_slow_at_both_ends() -> None:
    # (1 - cos(pi k / 4)) / 2 of the way from 0.2 to 1.
    half = math.sqrt(0.5)
    ways = [0, (1 - half) / 2, 0.5, (1 + half) / 2]
    assert alphas(made(0, 4, 5, 0.2, RAMPS["cosine"])) == pytest.approx(
        [*(0.2 + 0.8 * way for way in ways), 1], abs=1e-12
    )


def test_a_list_says_it_epoch_by_epoch_and_its_last_value_stays() -> None:
    own = ramp("slow", {"slow": (0.0, 0.5, 0.75)})
    assert alphas(made(1, 6, 7, 0.2, own)) == [1, 0.2, 0.6, 0.8, 0.8, 0.8, 1]
    assert made(1, 6, 7, 0.2, own)[3].epochs == 3  # equal epochs are one segment


def test_a_list_that_arrives_early_leaves_the_student_alone() -> None:
    own = ramp("short", {"short": (0.0, 1.0)})
    assert made(0, 5, 6, 0.3, own) == (Segment(1, guided(0.3)), Segment(5, HARD))


def test_a_list_may_be_longer_than_the_training() -> None:
    own = ramp("long", {"long": (0.0, 0.1, 0.2, 0.3, 0.4)})
    assert alphas(made(0, 2, 3, 0.0, own)) == [0, 0.1, 1]


@pytest.mark.parametrize("name", ["none", "linear", "cosine", None])
def test_a_ramp_from_alpha_1_is_the_baseline(name: str | None) -> None:
    assert made(0, 4, 6, 1.0, ramp(name, {})) == (Segment(6, HARD),)


def test_no_ramp_is_none() -> None:
    assert ramp("none", {}) is ramp(None, {}) is None


@given(
    alpha=st.sampled_from([0.0, 0.1, 0.3, 0.6, 0.9, 1.0]),
    end=st.integers(0, 20),
    epochs=st.integers(1, 15),
)
def test_without_a_beginning_and_a_ramp_it_is_switched(alpha: float, end: int, epochs: int) -> None:
    assert made(0, end, epochs, alpha) == switched(guided(alpha), end, epochs)


@given(
    alpha=st.floats(0, 1),
    begin=st.integers(0, 20),
    end=st.integers(0, 20),
    epochs=st.integers(1, 15),
    name=st.sampled_from(["none", "linear", "cosine"]),
)
def test_any_window_and_ramp(alpha: float, begin: int, end: int, epochs: int, name: str) -> None:
    found = made(begin, end, epochs, alpha, RAMPS[name])
    assert epoch_count(found) == epochs
    assert schedule(found) == found
    hard = alphas(found)
    last = min(end, epochs)
    assert all(a == 1 for a in (*hard[: min(begin, last)], *hard[last:]))
    within = hard[begin:last]
    assert within == sorted(within)
    assert not within or within[0] == pytest.approx(alpha, abs=1e-11)
    for part in found:
        assert part.objective.hard + part.objective.soft == pytest.approx(1, abs=1e-11)


# As axes of a study

RAW: dict[str, Any] = {
    "name": "windows",
    "seeds": [1],
    "grid": {"teacher": ["small"], "alpha": [0.1], "switch_epoch": [36]},
    "recipe": {"epochs": 45, "batch_size": 32},
    "teacher": {"select_on": "test", "recipe": {"epochs": 1}},
    "datasets": {"digits": {"student": "medium"}},
}


def learners(**changes: Any) -> list[Cell]:
    return [c for c in cells(load_study(RAW, changes)) if not c.role.supports]


def planned(**changes: Any) -> int:
    return plan(cell.spec for cell in learners(**changes)).epochs


def test_a_window_shares_its_beginning_with_the_baseline() -> None:
    # Hard for 9 epochs in common; then 36 alone, or 27 guided and 9 alone.
    assert planned(**{"grid.begin_epoch": [9]}) == 9 + 36 + (27 + 9)


def test_windows_of_one_beginning_share_what_they_can() -> None:
    # The baseline; then, from 9 on, guided up to 18, 27 and 36, each with what follows it alone.
    found = planned(**{"grid.begin_epoch": [9], "grid.switch_epoch": [18, 27, 36]})
    assert found == 45 + (27 + (45 - 18) + (45 - 27) + (45 - 36))


def test_beginnings_and_ends_are_all_combined() -> None:
    changes = {"grid.begin_epoch": [0, 9], "grid.switch_epoch": [18, 36]}
    found = [c for c in learners(**changes) if c.role is Role.STUDENT]
    asked = [(c.parameters["begin_epoch"], c.switch_epoch) for c in found]
    assert asked == [(0, 18), (0, 36), (9, 18), (9, 36)]
    # 45 of the baseline; guided from 0 to 36 with forks at 18; from 9 to 36 with a fork at 18.
    assert planned(**changes) == 45 + (36 + 27 + 9) + (27 + 27 + 9)


def test_a_beginning_at_0_is_the_same_trial_as_none() -> None:
    plain, zero = learners(), learners(**{"grid.begin_epoch": [0]})
    assert [c.trial_id for c in plain] == [c.trial_id for c in zero]
    assert [c.trial_id for c in plain] == [c.trial_id for c in learners(**{"grid.ramp": ["none"]})]


def test_switch_epoch_0_is_the_baseline_whatever_the_beginning() -> None:
    found = learners(**{"grid.begin_epoch": [9], "grid.switch_epoch": [0, 36]})
    baseline, alone, window = found
    assert (baseline.trial_id == alone.trial_id, baseline.trial_id == window.trial_id) == (
        True, False,
    )  # fmt: skip


def test_ramps_share_their_first_epoch_alone() -> None:
    # 4 epochs: constant 0.1 0.1 | 1 1, and linear 0.1 0.55 | 1 1.
    changes = {"recipe.epochs": 4, "grid.switch_epoch": [2], "grid.ramp": ["none", "linear"]}
    assert planned(**changes) == 4 + (1 + (1 + 2) + (1 + 2))
    words = [c.parameters["ramp"] for c in learners(**changes) if c.role is Role.STUDENT]
    assert words == ["none", "linear"]


def test_budgets_share_everything_but_what_is_longer() -> None:
    # Never switched: 0.1 for 10 and 30 epochs; the baselines likewise.
    changes = {"grid.epochs": [10, 30], "grid.switch_epoch": [30], "grid.past_end": "allow"}
    assert planned(**changes) == 30 + 30
    # Switched at 5: the trunk of 5, then alone for 5, and 20 more.
    assert planned(**changes | {"grid.switch_epoch": [5]}) == 30 + (5 + 25)


def test_a_studys_own_ramp_is_found_by_name() -> None:
    changes = {"ramps": {"mine": [0, 0.5]}, "grid.ramp": ["mine"], "grid.switch_epoch": [3]}
    _, student = learners(**changes, **{"recipe.epochs": 4})
    assert alphas(student.spec.schedule) == [0.1, 0.55, 0.55, 1]
