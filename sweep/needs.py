"""What cells need of others: the teachers they choose from, and trainings that come before theirs."""

from collections.abc import Iterable

from sweep.expand import Cell


def pools(asked: Iterable[Cell]) -> frozenset[str]:
    """The trials that some rule of a cell may choose a teacher from."""
    rules = {rule.key: rule for cell in asked for rule in cell.spec.rules}
    return frozenset(trial_id for rule in rules.values() for trial_id in rule.pool)


def supporting(learners: Iterable[Cell], everything: Iterable[Cell]) -> frozenset[str]:
    """The trials that cells need, and those that these need, by id."""
    by_id = {cell.trial_id: cell for cell in everything if cell.role.supports}
    needed: frozenset[str] = frozenset()
    more = pools(learners)
    while not more <= needed:
        new = more - needed
        needed |= more
        more = pools(by_id[trial_id] for trial_id in new if trial_id in by_id)
    return needed
