"""Which point of a search to take: hand-computed choices, fronts and histories."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import report
from analysis.figures.search import draw, draw_front, front_numbers, search_numbers
from analysis.pareto import crowding, front_ranks
from analysis.search import search_choices, search_history, search_points
from analysis.tables import search as search_table


def rows(
    point: int, values: dict[int, float | None], final: dict[int, float | None] | None = None,
    **more: Any,
) -> list[dict[str, Any]]:  # fmt: skip
    own = {
        "dataset": "digits", "point": point, "known": False, "state": "full length",
        "parameters": json.dumps({"alpha": point / 10}), "epochs": 6, "objective": "validation metric",
        "higher_is_better": True, "asked_trials": point, "asked_epochs": 6 * point,
    } | more  # fmt: skip
    search = [{**own, "phase": "search", "seed": s, "value": v} for s, v in values.items()]
    rest = [
        {**own, "phase": "final", "seed": s, "value": v, "asked_trials": None, "asked_epochs": None}
        for s, v in (final or {}).items()
    ]
    return search + rest


def table(*parts: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame([row for part in parts for row in part])


LUCKY = {1: 90.0, 2: 70.0, 3: 71.0, 4: 69.0, 5: 70.0}
"""Leads the search by its first seed; without it its mean is 70."""
GOOD = {1: 80.0, 2: 75.0, 3: 76.0, 4: 74.0, 5: 75.0}
"""Five better on every further seed."""


def test_luck_in_the_search_is_not_crowned() -> None:
    (choice,) = search_choices(table(rows(1, {1: 90.0}, LUCKY), rows(2, {1: 80.0}, GOOD)))
    assert (choice.points, choice.seeds, choice.fresh) == ((2,), 4, True)
    (rival,) = choice.rivals
    assert (rival.point, rival.difference, rival.p) == (1, 5.0, 0.0)
    assert rival.told_apart
    assert choice.alike == ()
    first, second = choice.sentences()
    assert first == (
        "Point 2 has the best mean of the finalists over 4 seeds that had no part in the search."
    )
    assert second == "Every other finalist is worse (paired t test, Holm, 5 %)."


def test_a_seed_on_which_every_finalist_failed_is_left_out() -> None:
    # As where the teacher of that seed failed: of seeds 2, 3 and 5, LUCKY has 70 1/3 and GOOD 75 1/3.
    lost = {4: None}
    (choice,) = search_choices(
        table(rows(1, {1: 90.0}, LUCKY | lost), rows(2, {1: 80.0}, GOOD | lost))
    )
    assert (choice.points, choice.seeds, choice.fresh) == ((2,), 3, True)
    assert choice.rivals[0].difference == pytest.approx(5.0)
    # One that failed there alone is worse.
    (choice,) = search_choices(table(rows(1, {1: 90.0}, LUCKY), rows(2, {1: 80.0}, GOOD | lost)))
    assert (choice.points, choice.seeds) == ((1,), 4)


def test_what_seeds_do_not_tell_apart_is_said_to_be_as_good() -> None:
    # Differences over fresh seeds: 4, -2, 2, 0: mean 1, deviation sqrt(20 / 3), t = 0.775 with 3 degrees
    # of freedom: p = 0.495.
    one = {1: 0.0, 2: 54.0, 3: 48.0, 4: 52.0, 5: 50.0}
    other = dict.fromkeys(range(1, 6), 50.0)
    (choice,) = search_choices(table(rows(1, {1: 50.0}, other), rows(2, {1: 0.0}, one)))
    (rival,) = choice.rivals
    assert (choice.points, choice.alike) == ((2,), (1,))
    assert rival.difference == 1.0
    assert rival.p == pytest.approx(0.495, abs=5e-4)
    half = 3.182446 * np.sqrt(20 / 3) / 2
    assert (rival.low, rival.high) == pytest.approx((1 - half, 1 + half))
    assert "Not told apart from it (paired t test, Holm): point 1" in " ".join(choice.sentences())


def test_several_rivals_are_corrected_together() -> None:
    # t = mean 2, deviation sqrt(8 / 3), over 4 seeds: 2.449, 3 degrees of freedom: p = 0.0917 alone.
    best = dict.fromkeys(range(1, 6), 50.0)
    worse = {1: 50.0, 2: 46.0, 3: 48.0, 4: 50.0, 5: 48.0}
    parts = [rows(1, {1: 50.0}, best), *(rows(n, {1: 50.0}, worse) for n in (2, 3))]
    (choice,) = search_choices(table(*parts))
    assert [rival.p for rival in choice.rivals] == pytest.approx([2 * 0.0917] * 2, abs=2e-4)


def test_without_further_seeds_it_is_said_that_means_are_flattered() -> None:
    both = {1: 80.0, 2: 75.0}
    (choice,) = search_choices(
        table(rows(1, both, both), rows(2, {1: 60.0, 2: 61.0}, {1: 60.0, 2: 61.0}))
    )
    assert (choice.points, choice.fresh, choice.seeds) == ((1,), False, 2)
    assert "look better than they are" in list(choice.sentences())[-1]


def test_less_is_better_where_the_table_says_so() -> None:
    parts = [
        rows(n, {1: v}, {1: v, 2: v + 1, 3: v + 2}, higher_is_better=False)
        for n, v in ((1, 3.0), (2, 1.0))
    ]
    (choice,) = search_choices(table(*parts))
    assert choice.points == (2,)
    assert choice.rivals[0].difference == 2.0  # positive: worse
    assert search_history(table(*parts))["best"].tolist() == [3.0, 1.0]


def test_a_finalist_that_failed_on_a_seed_is_worse_whatever_the_others_say() -> None:
    bad = {1: 99.0, 2: 99.0, 3: None, 4: 99.0, 5: 99.0}
    (choice,) = search_choices(table(rows(1, {1: 99.0}, bad), rows(2, {1: 80.0}, GOOD)))
    assert (choice.points, choice.alike) == ((2,), ())
    assert search_points(table(rows(1, {1: 99.0}, bad))).iloc[0]["failed"] == 1


def test_datasets_are_chosen_apart_and_an_open_search_has_no_choice() -> None:
    other = rows(1, {1: 5.0}, {1: 5.0, 2: 6.0, 3: 7.0}, dataset="other")
    found = search_choices(table(rows(1, {1: 50.0}), other))
    assert [choice.dataset for choice in found] == ["other"]


def test_points_are_told_by_their_greatest_length() -> None:
    short = rows(1, {1: 20.0, 2: 30.0}, epochs=2, asked_trials=2, asked_epochs=4)
    full = rows(1, {1: 60.0, 2: 70.0}, {1: 60.0, 2: 70.0, 3: 80.0, 4: 90.0}, asked_trials=4)
    stopped = rows(2, {1: 10.0}, epochs=2, state="given up", asked_trials=5)
    found = search_points(table(short, full, stopped)).set_index("point")
    first = found.loc[1]
    assert (first["epochs"], first["n"], first["mean"]) == (6, 4, 75.0)
    assert (first["fresh_n"], first["fresh_mean"]) == (2, 85.0)
    # Deviation of 60, 70, 80, 90: sqrt(500 / 3) = 12.910; t(3) = 3.182446; over sqrt(4).
    assert first["ci_high"] - 75.0 == pytest.approx(3.182446 * 12.909944 / 2)
    assert (found.loc[2, "state"], found.loc[2, "n"]) == ("given up", 1)
    assert np.isnan(found.loc[2, "ci_low"])
    assert first["parameters"] == "alpha 0.1"
    assert (first["spent_epochs"], found.loc[2, "spent_epochs"]) == (24, 2)
    known = search_points(table(rows(1, {1: 90.0}, LUCKY, known=True))).iloc[0]
    assert known["spent_epochs"] == 24  # 4 further seeds; the first cost nothing


def test_the_history_is_that_of_points_that_came_to_their_end() -> None:
    parts = [
        rows(1, {1: 50.0}, known=True, asked_trials=0), rows(2, {1: 40.0}), rows(3, {1: 60.0}),
        rows(4, {1: 99.0}, epochs=2, state="given up"), rows(5, {1: 55.0}),
    ]  # fmt: skip
    found = search_history(table(*parts))
    assert found["point"].tolist() == [1, 2, 3, 5]
    assert found["asked_trials"].tolist() == [0, 2, 3, 5]
    assert found["best"].tolist() == [50.0, 50.0, 60.0, 60.0]
    numbers = search_numbers(table(*parts), "digits")
    assert numbers is not None
    assert numbers.title.endswith("3 points tried to the end, 1 known before")
    fig = draw(numbers)
    line = next(trace for trace in fig.data if trace.name == "best so far")
    assert list(line.y) == [50.0, 50.0, 60.0, 60.0]


def two(point: int, first: float, second: float, **more: Any) -> list[dict[str, Any]]:
    final = {1: first, 2: first, 3: first}
    other = {1: second, 2: second, 3: second}
    return [
        *rows(point, {1: first}, final, **more),
        *rows(point, {1: second}, other, objective="validation fgsm 0.1", **more),
    ]


def test_with_two_objectives_the_front_is_shown_and_nothing_chosen() -> None:
    own = table(two(1, 90, 10), two(2, 80, 40), two(3, 70, 30), two(4, 60, 50))
    (choice,) = search_choices(own)
    assert (choice.points, choice.rivals, choice.fresh) == ((1, 2, 4), (), True)
    assert "better in everything than point 1, 2, 4" in next(choice.sentences())
    numbers = front_numbers(own, "digits")
    assert numbers is not None
    assert numbers.points["front"].tolist() == [True, True, False, True]
    on_front = next(trace for trace in draw_front(numbers).data if trace.name == "on the front")
    assert list(on_front.x) == [60, 80, 90]
    assert front_numbers(table(rows(1, {1: 1.0})), "digits") is None


def test_the_table_of_the_report_begins_with_the_chosen_point() -> None:
    own = table(rows(1, {1: 90.0}, LUCKY), rows(2, {1: 80.0}, GOOD), rows(3, {1: 10.0}))
    (choice,) = search_choices(own)
    made = search_table(search_points(own), choice)
    assert [row[0].text for row in made.rows] == ["2", "1", "3"]
    assert [row[1].text for row in made.rows] == ["chosen", "", ""]
    spent = made.columns.index("epochs spent")
    assert [row[spent].text for row in made.rows] == ["30", "30", "6"]  # 5 seeds of 6 epochs
    assert [row[made.columns.index("seeds")].text for row in made.rows] == ["5", "5", "1"]
    further = made.columns.index("further seeds")
    assert [row[further].text for row in made.rows] == ["75", "70", "–"]
    (block,) = report._searched(own)
    assert block.said == tuple(choice.sentences())
    assert [figure.name for figure in block.figures] == ["search0-history"]
    (open_block,) = report._searched(table(rows(1, {1: 90.0})))
    assert open_block.said == ("The search is not at its end yet.",)
    assert list(report._searched(None)) == []


def test_fronts_and_their_crowding_by_hand() -> None:
    scores = [[0, 10], [5, 5], [6, 4], [10, 0], [4, 4], [4, 4], [-np.inf, -np.inf]]
    # Equal points do not beat each other.
    assert front_ranks(scores).tolist() == [0, 0, 0, 0, 1, 1, 2]
    assert front_ranks([[3.0], [1.0], [3.0], [2.0]]).tolist() == [0, 2, 0, 1]
    found = crowding(scores[:4])
    assert found.tolist() == [np.inf, pytest.approx(1.2), pytest.approx(1.0), np.inf]
    assert crowding([[1.0, 2.0]]).tolist() == [np.inf]
