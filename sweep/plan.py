"""The plan: a forest of stages in which every distinct piece of training stands once.

Trials with the same base (seed, data, recipe) are paths in a prefix tree over their schedules. A
stage is an edge of that tree: it begins where its parent ends and ends where schedules part, or
where a trial ends. Its key is that of the state it reaches, so a trial's id is the key of its last
stage.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from trials.spec import Objective, Segment, TeacherRule, TrialSpec, cut, stage_key


@dataclass(frozen=True)
class Stage:
    """A piece of training that one or more trials share.

    Attributes:
        key: of the state after the stage.
        parent: key of the stage it goes on from; None where it starts a training.
        start: epochs done before it.
        spec: the training up to its end.
        ends_trial: whether a planned trial ends here.
        trials: how many planned trials pass through or end here.
    """

    key: str
    parent: str | None
    start: int
    spec: TrialSpec
    ends_trial: bool
    trials: int

    @property
    def stop(self) -> int:
        """Epochs done after it."""
        return self.spec.epochs

    @property
    def epochs(self) -> int:
        """Epochs it trains."""
        return self.stop - self.start

    @property
    def rules(self) -> tuple[TeacherRule, ...]:
        """The teachers it needs."""
        own = cut(self.spec.schedule, self.start, self.stop)
        return tuple(dict.fromkeys(rule for part in own for rule in part.objective.rules))


@dataclass(frozen=True)
class Plan:
    """Stages by key, parents before their children."""

    stages: Mapping[str, Stage]
    children: Mapping[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        children: dict[str, list[str]] = defaultdict(list)
        for stage in self.stages.values():
            if stage.parent is not None:
                children[stage.parent].append(stage.key)
        object.__setattr__(self, "children", {k: tuple(v) for k, v in children.items()})

    @property
    def roots(self) -> tuple[str, ...]:
        """Keys of the stages that start a training."""
        return tuple(key for key, stage in self.stages.items() if stage.parent is None)

    @property
    def epochs(self) -> int:
        """Epochs to train; an upper bound where a training may end early."""
        return sum(stage.epochs for stage in self.stages.values())

    def below(self, key: str) -> list[Stage]:
        """A stage and everything that goes on from it, parents first."""
        found, queue = [], [key]
        while queue:
            current = queue.pop()
            found.append(self.stages[current])
            queue.extend(self.children.get(current, ()))
        return found


def plan(trials: Iterable[TrialSpec], share: bool = True) -> Plan:
    """Merges equal prefixes of the trials' schedules.

    Args:
        trials: what is missing; equal trials count once.
        share: False gives every trial a stage of its own, for comparison.

    Returns:
        The stages; the sum of their epochs is the number of distinct prefix-epochs.
    """
    distinct = list({spec.trial_id: spec for spec in trials}.values())
    if not share:
        return Plan(
            {
                spec.trial_id: Stage(spec.trial_id, None, 0, spec, True, 1)
                for spec in distinct
            }
        )  # fmt: skip
    groups: dict[str, list[TrialSpec]] = defaultdict(list)
    for spec in distinct:
        groups[spec.base].append(spec)
    stages: dict[str, Stage] = {}
    for base, group in groups.items():
        for stage in _tree(base, group):
            stages[stage.key] = stage
    return Plan(stages)


def _tree(base: str, group: list[TrialSpec]) -> list[Stage]:
    """The stages of trials that share a base, by recursion over where their schedules part."""
    found: list[Stage] = []

    def grow(members: list[TrialSpec], parent: str | None, start: int) -> None:
        branches: dict[str, list[TrialSpec]] = {}
        for spec in members:
            branches.setdefault(_objective_at(spec, start).key, []).append(spec)
        for branch in branches.values():
            stop = _common_length(branch, start)
            prefix = cut(branch[0].schedule, 0, stop)
            key = stage_key(base, prefix)
            ending = [spec for spec in branch if spec.epochs == stop]
            going_on = [spec for spec in branch if spec.epochs > stop]
            found.append(
                Stage(
                    key=key,
                    parent=parent,
                    start=start,
                    spec=replace(branch[0], schedule=prefix),
                    ends_trial=bool(ending),
                    trials=len(branch),
                )
            )
            if going_on:
                grow(going_on, key, stop)

    grow([spec for spec in group if spec.epochs > 0], None, 0)
    return found


def _common_length(branch: list[TrialSpec], start: int) -> int:
    """The epoch up to which all schedules of a branch agree and none has ended."""
    shortest = min(spec.epochs for spec in branch)
    first = branch[0].schedule
    agreed = shortest
    for spec in branch[1:]:
        agreed = min(agreed, _agreement(first, spec.schedule))
    return max(agreed, start + 1)


def _objective_at(spec: TrialSpec, epoch: int) -> Objective:
    for segment in spec.schedule:
        if epoch < segment.epochs:
            return segment.objective
        epoch -= segment.epochs
    raise IndexError("the epoch is past the end of the schedule")


def _agreement(one: tuple[Segment, ...], other: tuple[Segment, ...]) -> int:
    """Epochs from the start in which two schedules have equal objectives."""
    epoch = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine.objective.key != theirs.objective.key:
            return epoch
        if mine.epochs != theirs.epochs:
            return epoch + min(mine.epochs, theirs.epochs)
        epoch += mine.epochs
    return epoch
