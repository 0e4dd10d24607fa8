"""The best teacher of a pool: ties to the lowest seed, a diverged one last."""

import math
from typing import Any

import pytest

from sweep.selection import SELECTION_COLUMNS, Candidate, choose_teacher
from trials.spec import TeacherRule


def candidates(*rows: dict[str, Any]) -> dict[str, Candidate]:
    """Candidates a, b, c, ... with seeds 10, 20, 30, ... unless given otherwise."""
    found = {}
    for position, row in enumerate(rows):
        plain = dict.fromkeys(SELECTION_COLUMNS)
        plain |= {
            "trial_id": "abcdefgh"[position], "seed": 10 * (position + 1), "status": "done",
            "metric_name": "accuracy",
        }  # fmt: skip
        candidate = Candidate.of({**plain, **row})
        found[candidate.trial_id] = candidate
    return found


def chosen(
    pool: dict[str, Candidate], select_on: Any = "test", select_by: Any = "metric"
) -> str | None:
    best = choose_teacher(TeacherRule(tuple(pool), select_on, select_by), pool)
    return best and best.trial_id


def test_the_highest_accuracy_wins() -> None:
    assert chosen(candidates({"test_metric": 50}, {"test_metric": 70}, {"test_metric": 60})) == "b"


def test_the_lowest_mse_wins() -> None:
    values = (0.3, 0.2, 0.25)
    pool = candidates(*({"metric_name": "mse", "test_metric": value} for value in values))
    assert chosen(pool) == "b"


@pytest.mark.parametrize("metric", ["accuracy", "mse"])
def test_the_lowest_loss_wins_whatever_the_metric(metric: str) -> None:
    rows = (
        {"metric_name": metric, "test_metric": 9, "test_loss": 0.3},
        {"metric_name": metric, "test_metric": 5, "test_loss": 0.1},
    )
    assert chosen(candidates(*rows), select_by="loss") == "b"


def test_the_named_split_decides() -> None:
    pool = candidates(
        {"test_metric": 90, "validation_metric": 80, "validation_loss": 0.1, "test_loss": 0.4},
        {"test_metric": 80, "validation_metric": 90, "validation_loss": 0.2, "test_loss": 0.3},
    )
    assert chosen(pool, "test") == "a"
    assert chosen(pool, "validation") == "b"
    assert chosen(pool, "test", "loss") == "b"
    assert chosen(pool, "validation", "loss") == "a"


@pytest.mark.parametrize("seeds", [(3, 1, 2), (1, 2, 3), (2, 3, 1)])
def test_ties_go_to_the_lowest_seed(seeds: tuple[int, ...]) -> None:
    pool = candidates(*({"test_metric": 70, "seed": seed} for seed in seeds))
    best = choose_teacher(TeacherRule(tuple(pool), "test"), pool)
    assert best is not None
    assert best.seed == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"status": "diverged", "test_metric": None},
        {"status": "diverged", "test_metric": 99},
        {"test_metric": math.nan},
        {"test_metric": math.inf},
        {"test_metric": None},
    ],
)
def test_a_teacher_that_diverged_ranks_last(bad: dict[str, Any]) -> None:
    assert chosen(candidates({**bad, "seed": 1}, {"test_metric": 0.0, "seed": 2})) == "b"


def test_where_all_diverged_there_is_none() -> None:
    assert chosen(candidates({"status": "diverged"}, {"status": "diverged"})) is None


def test_the_worst_possible_figure_still_ranks_before_divergence() -> None:
    pool = candidates({"status": "diverged"}, {"metric_name": "mse", "test_metric": 1e300})
    assert chosen(pool) == "b"


def test_only_the_pool_is_looked_at() -> None:
    everyone = candidates({"test_metric": 50}, {"test_metric": 99})
    best = choose_teacher(TeacherRule(("a",), "test"), everyone)
    assert best is everyone["a"]
