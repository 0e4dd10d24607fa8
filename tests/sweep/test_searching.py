"""The course of a search: a pure function, its rungs, its budget, its repeats, its end."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep import searching
from sweep.begun import Begun, definition_of
from sweep.expand import Cell, problem
from sweep.follow import Finding
from sweep.plan import plan
from sweep.search_table import search_table
from sweep.searching import Course, Point, State, Step, course, finalists
from sweep.study import Study, load_study
from sweep.suggest import Values
from sweep.tune import Tune

RAW: dict[str, Any] = {
    "name": "searched",
    "seeds": [1, 2, 3, 4],
    "grid": {"teacher": ["mlp-4"], "alpha": [0.5], "switch_epoch": [9]},
    "recipe": {"epochs": 9, "batch_size": 32},
    "split": {"train_size": 64, "validation": 0.1},
    "teacher": {"seeds": [1]},
    "datasets": {"digits": {"student": "mlp-6"}},
    "tune": {
        "space": {"alpha": {"low": 0.0, "high": 0.9, "step": 0.1}, "switch_epoch": [1, 3, 9]},
        "trials": 40,
        "sampler": "random",
    },
}

Score = Callable[[Values, int, int], float]
"""Of a point, by its values, its epochs and the seed."""


def study_of(**changes: Any) -> Study:
    return load_study(RAW, changes)


def alpha(values: Values, epochs: int, seed: int) -> float:
    """The higher the better."""
    return float(values["alpha"])


class Lab:
    """Answers trials by a formula, and remembers what was asked."""

    def __init__(self, study: Study, score: Score = alpha, known: tuple[Values, ...] = ()) -> None:
        self.study, self.score = study, score
        self.begun = Begun(definition_of(study), {"digits": known})
        self.known: dict[str, Finding] = {}
        self.rounds: list[list[str]] = []
        self._answer_known(known)

    def _answer_known(self, known: tuple[Values, ...]) -> None:
        asked = problem(self.study, "digits", self.begun)
        for values in known:
            self.answer({"": values}, list(asked.trainings(1, values, asked.search_seeds)))

    def answer(self, values: Mapping[Any, Values], cells: list[Cell]) -> None:
        for cell in cells:
            (own,) = values.values()
            figure = self.score(own, cell.spec.epochs, cell.seed)
            diverged = math.isinf(figure)
            figures = {} if diverged else {("validation", "metric"): figure}
            self.known[cell.trial_id] = Finding(True, diverged, figures)

    def look(self) -> Course:
        return course(problem(self.study, "digits", self.begun), self.known)

    def step(self) -> Course:
        """One round: everything that is asked for is answered."""
        found = self.look()
        new = []
        for point in found.points:
            own = [cell for step in point.steps for cell in step.cells]
            own += found.finals.get(point.number, ())
            missing = [cell for cell in own if cell.trial_id not in self.known]
            self.answer({"": point.values}, missing)
            new += list(dict.fromkeys(cell.trial_id for cell in missing))
        self.rounds.append(new)
        return found

    def end(self) -> Course:
        for _ in range(1000):
            if self.step().waiting is None:
                return self.look()
        raise AssertionError("no end")


def lengths(found: Course) -> list[tuple[float, list[int], State]]:
    return [
        (float(point.values["alpha"]), [step.epochs for step in point.steps], point.state)
        for point in found.points
    ]


# A pure function


@settings(max_examples=6, deadline=None)
@given(st.data())
def test_whatever_is_known_a_search_goes_on_as_it_would_have(data: st.DataObject) -> None:
    study = study_of(**{"tune.rungs": [2, 4], "tune.parallel": 3, "tune.sampler": "tpe"})
    whole = Lab(study)
    end = whole.end()
    everything = dict(whole.known)
    kept = data.draw(st.sets(st.sampled_from(sorted(everything))))
    part = Lab(study)
    part.known = {key: value for key, value in everything.items() if key in kept}
    again = part.look()
    # What it asks for by now is the beginning of what the whole asked for, point by point.
    for ours, theirs in zip(again.points, end.points, strict=False):
        assert ours.values == theirs.values
        assert [s.epochs for s in ours.steps] == [s.epochs for s in theirs.steps][: len(ours.steps)]
    assert part.end() == end
    assert set(part.known) == set(everything)


def test_the_seed_of_the_sampler_and_the_scores_decide() -> None:
    def asked(score: Score = alpha, **changes: Any) -> list[Values]:
        few = {"tune.trials": 23} | changes  # 14 points, of which TPE chooses four
        return [point.values for point in Lab(study_of(**few), score).end().points]

    first = asked()
    assert asked() == first
    assert asked(**{"tune.sampler_seed": 1}) != first
    assert asked(lambda v, e, s: -alpha(v, e, s)) == first  # at random: whatever came of it
    by_tpe = {"tune.sampler": "tpe"}
    assert asked(**by_tpe) != asked(lambda v, e, s: -alpha(v, e, s), **by_tpe)


# Rungs


def test_of_three_that_come_to_a_rung_one_goes_on_and_the_best_always_does() -> None:
    grid = {"tune.sampler": "grid", "tune.rungs": [2], "tune.trials": None, "tune.finalists": 1,
            "tune.space": {"alpha": [0.5, 0.4, 0.6, 0.45, 0.55, 0.58, 0.1]}}  # fmt: skip
    found = Lab(study_of(**grid)).end()
    full, cut = [2, 9], [2]
    assert lengths(found) == [
        (0.5, full, State.DONE),  # the first is the best so far
        (0.4, cut, State.STOPPED),
        (0.6, full, State.DONE),  # better than all before
        (0.45, cut, State.STOPPED),
        (0.55, cut, State.STOPPED),  # 1 of 5 is better, and 1 may go on
        (0.58, full, State.DONE),  # 1 of 6 is better, and 2 may go on
        (0.1, cut, State.STOPPED),
    ]


def test_a_rung_is_the_full_length_cut_short_whatever_the_learning_rate_does() -> None:
    cosine = {"tune.rungs": [2, 4], "recipe.lr_schedule": {"kind": "cosine"}}
    found = Lab(study_of(**cosine)).look()
    (point,) = found.points
    (cell,) = point.steps[0].cells
    full = problem(study_of(**cosine), "digits").trainings(1, point.values, (1,))[0]
    assert cell.spec == full.spec.shortened(2)
    assert cell.spec.recipe.lr_schedule.horizon == 9  # not 2: it is not begun anew
    assert (cell.parameters["epochs"], cell.column("alpha")) == (2, full.alpha)
    assert found.resumed == {cell.trial_id}


def test_epochs_of_a_rung_are_paid_once() -> None:
    grid = {"tune.sampler": "grid", "tune.rungs": [2, 4], "tune.trials": None, "tune.repeats": 2,
            "tune.space": {"alpha": [0.5, 0.4]}}  # fmt: skip
    first, second = Lab(study_of(**grid)).end().points
    # Two seeds: 2 epochs each, then 2 more, then 5 more; the second point ends with the first rung.
    assert [(s.trials, s.trained) for s in first.steps] == [(2, 4), (4, 8), (6, 18)]
    assert [(s.trials, s.trained) for s in second.steps] == [(8, 22)]


# Budgets


@settings(max_examples=15, deadline=None)
@given(
    st.integers(14, 60), st.sampled_from([None, 100, 173, 400]), st.integers(1, 5),
    st.sampled_from([(), (1,), (2, 4)]), st.integers(1, 3),
)  # fmt: skip
def test_a_budget_holds_the_finalists_too(
    trials: int, epochs: int | None, parallel: int, rungs: tuple[int, ...], repeats: int
) -> None:
    changes = {"tune.trials": trials, "tune.parallel": parallel, "tune.rungs": list(rungs),
               "tune.repeats": repeats}  # fmt: skip
    if epochs is not None:
        changes["tune.epochs"] = epochs
    lab = Lab(study_of(**changes))
    found = lab.end()
    asked = {cell.trial_id for cell in found.cells}
    assert len(asked) <= trials
    assert all(len(ids) <= parallel * repeats for ids in lab.rounds[:-2])
    # What the plan of all these trials takes; teachers are not part of it.
    planned = plan(cell.spec for cell in found.cells).epochs
    assert epochs is None or planned <= epochs
    # And it is used: there was no room for one more point of the smallest size, or no point left.
    if epochs is None and not rungs:
        more = repeats + (4 - repeats) * 3
        searched = found.points[-1].steps[-1].trials
        assert searched + more > trials or len(found.points) == 30


def test_a_search_whose_time_is_up_begins_no_point() -> None:
    lab = Lab(study_of())
    for _ in range(4):
        lab.step()
    assert len(lab.look().points) == 5
    lab.begun = replace(lab.begun, closed={"digits": 4})
    found = lab.end()
    assert len(found.points) == 4
    assert len(found.finals) == 3


# What was tried before


def test_what_is_known_costs_nothing_and_is_not_tried_again() -> None:
    known = tuple({"alpha": a / 10, "switch_epoch": s} for a in range(10) for s in (1, 3))
    lab = Lab(study_of(**{"tune.trials": 19, "tune.sampler": "tpe"}), known=known)
    found = lab.end()
    new = [point for point in found.points if not point.known]
    assert [point.known for point in found.points[:20]] == [True] * 20
    assert all(point.values["switch_epoch"] == 9 for point in new)
    # 19 trials: three finalists of three further seeds each, and the ten points that are left.
    assert len(new) == 10
    assert {point.steps[0].trials for point in found.points[:20]} == {0}
    assert sum(map(len, lab.rounds)) == 19


def test_known_points_may_be_finalists() -> None:
    known = ({"alpha": 0.9, "switch_epoch": 9}, {"alpha": 0.9, "switch_epoch": 3})
    found = Lab(study_of(**{"tune.trials": 11}), known=known).end()
    assert {1, 2} <= set(found.finals)


def test_a_finite_space_has_an_end() -> None:
    for sampler in ("tpe", "random", "grid"):
        changes = {"tune.trials": None, "tune.sampler": sampler, "tune.parallel": 2,
                   "tune.space": {"alpha": [0.1, 0.2, 0.3], "switch_epoch": [1, 3]}}  # fmt: skip
        found = Lab(study_of(**changes)).end()
        assert sorted((p.values["alpha"], p.values["switch_epoch"]) for p in found.points) == [
            (a, s) for a in (0.1, 0.2, 0.3) for s in (1, 3)
        ]  # fmt: skip


def test_a_vast_space_whose_suggestions_repeat_themselves_is_drawn_from() -> None:
    space = {"alpha": {"low": 0.0, "high": 1.0, "step": 1e-6}, "learning_rate": {"low": 1e-6, "high": 1.0,
             "step": 1e-6}}  # fmt: skip
    lab = Lab(study_of(**{"tune.space": space, "tune.trials": 12}))
    run = searching._Course(problem(lab.study, "digits", lab.begun), {})
    assert run._size == 1_000_001 * 1_000_000
    _, values = run._drawn() or (None, {})
    assert set(values) == {"alpha", "learning_rate"}  # and not all of them were gone through


# Failures and the end


def test_a_point_that_fails_does_not_stop_the_others_and_is_no_finalist() -> None:
    def broken(values: Values, epochs: int, seed: int) -> float:
        return -math.inf if values["alpha"] > 0.5 else alpha(values, epochs, seed)

    found = Lab(study_of(), broken).end()
    states = {point.state for point in found.points if point.values["alpha"] > 0.5}
    assert states == {State.FAILED}
    leading = [found.points[number - 1].values["alpha"] for number in found.finals]
    assert leading == [0.5] * 3 or max(leading) <= 0.5


def test_finalists_have_the_seeds_of_the_search_and_further_ones() -> None:
    lab = Lab(study_of(**{"tune.repeats": 2, "tune.finalists": 2, "tune.final_seeds": 3}))
    found = lab.end()
    assert [[cell.seed for cell in cells] for cells in found.finals.values()] == [[1, 2, 3]] * 2
    best = sorted((-point.values["alpha"], point.number) for point in found.points)[:2]  # type: ignore[operator]
    assert list(found.finals) == sorted(number for _, number in best)


def point(number: int, *scores: float) -> Point:
    return Point(number, False, {}, State.DONE, (Step(1, (), scores, 0, 0),))


def test_finalists_of_several_objectives_come_front_by_front() -> None:
    tune = Tune.model_validate(
        {"space": {"alpha": [0.1, 0.2]}, "finalists": 4, "objectives": [{}, {"by": "loss"}]}
    )
    # 1, 2, 3, 4 are a front; 5 and 6 are beaten by 2. Of the front all are taken, then by distance.
    points = [point(1, 0, 10), point(2, 5, 5), point(3, 6, 4), point(4, 10, 0), point(5, 4, 4),
              point(6, 1, 1)]  # fmt: skip
    assert finalists(tune, points) == [1, 2, 3, 4]
    assert finalists(tune.model_copy(update={"finalists": 5}), points) == [1, 2, 3, 4, 5]
    # The ends first; then 2, whose neighbours are (6 + 6) / 10 apart, before 3 with (5 + 5) / 10.
    assert finalists(tune.model_copy(update={"finalists": 3}), points) == [1, 2, 4]


def test_points_that_are_the_same_trials_are_one_finalist() -> None:
    # Alpha 1 is the baseline whatever the switch epoch, and so is switch epoch 0 whatever alpha.
    space = {"alpha": [1.0, 0.5], "switch_epoch": [0, 1, 2]}
    lab = Lab(study_of(**{"tune.space": space, "tune.sampler": "grid", "tune.trials": 30}))
    found = lab.end()
    assert len(found.points) == 6
    assert list(found.finals) == [1, 5, 6]  # the baseline, and 0.5 until epoch 1 and 2


def test_of_equals_the_earlier_is_a_finalist() -> None:
    tune = Tune.model_validate({"space": {"alpha": [0.1, 0.2]}, "finalists": 2})
    assert finalists(tune, [point(1, 1.0), point(2, 3.0), point(3, 3.0), point(4, 3.0)]) == [2, 3]


@pytest.mark.parametrize("several", [False, True])
def test_nothing_that_ended_gives_no_finalists(several: bool) -> None:
    goals = [{}, {"by": "loss"}] if several else [{}]
    tune = Tune.model_validate({"space": {"alpha": [0.1, 0.2]}, "objectives": goals})
    assert finalists(tune, []) == []


def test_the_table_knows_which_way_is_better_where_the_first_point_failed() -> None:
    lab = Lab(study_of())
    found = lab.end()
    first = found.points[0].steps[0].cells[0].trial_id
    # As of a regression, whose first trial failed for good: nothing is known of its metric.
    lab.known = {
        trial_id: Finding(False, one.diverged, one.figures) for trial_id, one in lab.known.items()
    }
    lab.known[first] = Finding(True, True, {}, failed=True)
    course_now = lab.look()
    assert lab.study.tune is not None
    rows = search_table(lab.study.tune, {"digits": course_now}, lab.known).to_pylist()
    assert [row["value"] for row in rows if row["trial_id"] == first] == [None]
    assert {row["higher_is_better"] for row in rows} == {False}


def test_a_figure_that_is_not_finite_is_that_of_a_trial_that_failed() -> None:
    lab = Lab(study_of(**{"tune.trials": 14}))
    first = lab.step().points[0].steps[0].cells[0].trial_id
    lab.known[first] = Finding(False, False, {("validation", "metric"): math.inf})
    assert lab.look().points[0].state is State.FAILED
    assert lab.study.tune is not None
    rows = search_table(lab.study.tune, {"digits": lab.look()}, lab.known).to_pylist()
    assert [row["value"] for row in rows if row["trial_id"] == first] == [None]
