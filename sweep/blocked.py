"""Trials that are never trained, since what they learn from or begin with failed."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sweep.follow import Findings
from trials.spec import TeacherRule, TrialSpec

if TYPE_CHECKING:
    from sweep.expand import Cell


def blocked_among(known: Findings, needed: "Mapping[str, Cell]") -> "Callable[[Cell], bool]":
    """Tells whether a run would give up a trial for want of what it needs, as `sweep.run` does.

    Args:
        known: trials that have ended.
        needed: trials that others need, by id, which may need others themselves.
    """
    answers: dict[str, bool] = {}

    def cannot_choose(rule: TeacherRule) -> bool:
        found = [known.get(trial_id) for trial_id in rule.pool]
        if any(one.failed for one in found if one is not None):
            return True
        missing = [t for t, one in zip(rule.pool, found, strict=True) if one is None]
        if missing:
            return any(t in needed and is_blocked(needed[t].spec) for t in missing)
        if rule.select_on == "only":
            return all(one.diverged for one in found if one is not None)
        scores = [one.score(rule.select_on, rule.select_by) for one in found if one is not None]
        return all(score in (None, float("-inf")) for score in scores)

    def is_blocked(spec: TrialSpec) -> bool:
        for rule in spec.rules:
            if rule.key not in answers:
                answers[rule.key] = cannot_choose(rule)
            if answers[rule.key]:
                return True
        return False

    return lambda cell: is_blocked(cell.spec)
