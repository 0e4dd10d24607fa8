"""Which teacher a rule chooses, and from which results."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trials.spec import TeacherRule

SELECTION_COLUMNS = (
    "trial_id", "seed", "status", "metric_name", "test_metric", "test_loss", "validation_metric",
    "validation_loss",
)  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """What a rule looks at of a trained trial."""

    trial_id: str
    seed: int
    diverged: bool
    higher_is_better: bool
    figures: Mapping[tuple[str, str], float | None]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Candidate":
        """A candidate from a record, or from a row with `SELECTION_COLUMNS`."""
        return cls(
            trial_id=row["trial_id"],
            seed=row["seed"],
            diverged=row["status"] == "diverged",
            higher_is_better=row["metric_name"] == "accuracy",
            figures={
                (split, by): row[f"{split}_{by}"]
                for split in ("test", "validation")
                for by in ("metric", "loss")
            },
        )


def choose_teacher(rule: TeacherRule, candidates: Mapping[str, Candidate]) -> Candidate | None:
    """The best trial of a rule's pool.

    Ties go to the lowest seed; a teacher that diverged ranks last.

    Args:
        rule: the pool, the split and the figure to compare.
        candidates: at least the rule's pool, by trial id.

    Returns:
        The chosen one; None where every trial of the pool diverged.
    """
    pool = [candidates[trial_id] for trial_id in rule.pool]

    def rank(candidate: Candidate) -> tuple[float, int]:
        if rule.select_on == "only":
            return (math.inf if candidate.diverged else 0.0), candidate.seed
        figure = candidate.figures[rule.select_on, rule.select_by]
        if candidate.diverged or figure is None or not math.isfinite(figure):
            return math.inf, candidate.seed
        higher = rule.select_by == "metric" and candidate.higher_is_better
        return (-figure if higher else figure), candidate.seed

    best = min(pool, key=rank)
    return None if math.isinf(rank(best)[0]) else best
