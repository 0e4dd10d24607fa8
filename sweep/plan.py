"""The plan: a forest of stages in which every distinct piece of training stands once.

Trials with the same base (seed, data, recipe) are paths in a prefix tree over their schedules. A
stage is an edge of that tree: it begins where its parent ends and ends where schedules part, or
where a trial ends. Its key is that of the state it reaches, so a trial's id is the key of its last
stage.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from trials.spec import Schedule, TeacherRule, TrialSpec, cut, stage_key


@dataclass(frozen=True, slots=True)
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
        """The teachers it needs, as outputs or as networks."""
        return _once((*self.output_rules, *self.network_rules))

    @property
    def output_rules(self) -> tuple[TeacherRule, ...]:
        """The teachers whose outputs for the training rows it needs."""
        guides = (rule for part in self._own for rule in part.objective.guide_rules)
        return () if self.spec.recipe.augment.is_on else _once(guides)

    @property
    def network_rules(self) -> tuple[TeacherRule, ...]:
        """The teachers whose weights it needs: to begin with, to stay near, or to ask every step."""
        begins = self.spec.start_rules if self.start == 0 else ()
        anchors = (rule for part in self._own for rule in part.objective.anchor_rules)
        guides = (rule for part in self._own for rule in part.objective.guide_rules)
        return _once((*begins, *anchors, *(guides if self.spec.recipe.augment.is_on else ())))

    @property
    def _own(self) -> Schedule:
        return cut(self.spec.schedule, self.start, self.stop)


def _once(rules: Iterable[TeacherRule]) -> tuple[TeacherRule, ...]:
    return tuple({rule.key: rule for rule in rules}.values())


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


class _Walker(NamedTuple):
    """A trial on its way through the tree: the segment it is in, and the epoch where that ends."""

    spec: TrialSpec
    segment: int
    end: int

    @property
    def objective(self) -> str:
        """Key of the objective of the segment."""
        return self.spec.schedule[self.segment].objective.key

    @property
    def ends(self) -> bool:
        """Whether its segment is the last one."""
        return self.segment + 1 == len(self.spec.schedule)

    def next(self) -> "_Walker":
        """The trial in its next segment."""
        position = self.segment + 1
        return _Walker(self.spec, position, self.end + self.spec.schedule[position].epochs)

    def last(self) -> "_Walker":
        """The trial in its last segment."""
        rest = self.spec.schedule[self.segment + 1 :]
        return _Walker(
            self.spec, self.segment + len(rest), self.end + sum(part.epochs for part in rest)
        )


def _tree(base: str, group: Iterable[TrialSpec]) -> list[Stage]:
    """The stages of trials that share a base, parents first.

    Trials in one branch are in segments with equal objectives, so they part no sooner than where
    the shortest of these segments ends; a branch is used up as its trials leave it. The stack keeps the depth of a tree (one fork for every
    switch epoch) off Python's own.
    """
    found: list[Stage] = []
    started = [_Walker(spec, 0, spec.schedule[0].epochs) for spec in group if spec.schedule]
    branches: list[tuple[str | None, int, list[_Walker]]] = [
        (None, 0, branch) for branch in reversed(_branches(started))
    ]
    while branches:
        parent, start, branch = branches.pop()
        if len(branch) == 1:  # it has no other to part from
            branch = [branch[0].last()]
        while True:
            through, stop = len(branch), branch[-1].end
            leaving = []
            while branch and branch[-1].end == stop:
                leaving.append(branch.pop())
            ending = [walker for walker in leaving if walker.ends]
            onward = _branches([walker.next() for walker in reversed(leaving) if not walker.ends])
            if branch or ending or len(onward) > 1:
                break
            branch = onward[0]  # all turn to the same next objective: the stage goes on
        if ending:
            spec = ending[0].spec
            key = spec.trial_id
        else:
            spec = leaving[0].spec.shortened(stop)
            key = stage_key(base, spec.schedule)
        stage = Stage(
            key=key,
            parent=parent,
            start=start,
            spec=spec,
            ends_trial=bool(ending),
            trials=through,
        )
        found.append(stage)
        if branch:
            onward.append(branch)
        branches += [(stage.key, stop, onwards) for onwards in reversed(onward)]
    return found


def _branches(walkers: Iterable[_Walker]) -> list[list[_Walker]]:
    """Trials by the objective they are in, those whose segment ends first at the back."""
    found: dict[str, list[_Walker]] = defaultdict(list)
    for walker in walkers:
        found[walker.objective].append(walker)
    for branch in found.values():
        branch.sort(key=lambda walker: walker.end, reverse=True)
    return list(found.values())
