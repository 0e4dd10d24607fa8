"""Which numerics class each part of a plan is trained in, where a cluster has several.

Equal bits are promised within a class, so the stages of one tree stay in one, and so do a teacher's
candidates and all trials that may learn from it: trees that a teacher's rule joins are one component.
Components are shared out by what the classes can do, the longest first; what was begun stays, also in
a later run, and what was not may move when nodes come or go.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from sweep.plan import Plan, Stage
from trials.spec import TrialSpec

UNBEGUN_PATIENCE_S = 30.0
"""How long a class may be gone before what has not begun there goes elsewhere."""

BEGUN_PATIENCE_S = 300.0
"""How long before what has begun there is started again elsewhere."""

K = TypeVar("K", bound=Hashable)


def joined(links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The component of everything that is linked, by the name of one of its members.

    Args:
        links: pairs that belong together; one of a thing with itself mentions it.
    """
    above: dict[str, str] = {}

    def top(name: str) -> str:
        while above.setdefault(name, name) != name:
            above[name] = name = above[above[name]]
        return name

    for one, other in links:
        above[top(one)] = top(other)
    return {name: top(name) for name in list(above)}


def shared_out(
    work: Mapping[K, float], capacity: Mapping[str, float], fixed: Mapping[K, str]
) -> dict[K, str]:
    """Gives pieces of work to classes in proportion to what these can do at a time.

    The longest piece comes first, each goes where it would be done soonest (Graham's rule for
    machines of different speed).

    Args:
        work: of each piece, 0 or more.
        capacity: of each class, above 0.
        fixed: pieces that have a class already, which may be none of `capacity`.

    Returns:
        A class for every piece; none where there is no capacity.
    """
    found = dict(fixed)
    load: dict[str, float] = dict.fromkeys(capacity, 0.0)
    for piece, numerics in fixed.items():
        if numerics in load:
            load[numerics] += work.get(piece, 0.0)
    left = sorted((p for p in work if p not in fixed), key=lambda piece: -work[piece])
    for piece in left if capacity else ():
        best = min(load, key=lambda c: ((load[c] + work[piece]) / capacity[c], c))
        load[best] += work[piece]
        found[piece] = best
    return found


class Moved(NamedTuple):
    """A component that changes its class after it has begun."""

    component: str
    before: str
    after: str


@dataclass
class Binding:
    """The class of every stage of a plan. Used by one run, from one thread.

    Attributes:
        plan: the stages.
        earlier: of trials that are done already, and of what is kept of others, the class they were
            trained in.
        done: those trials.
        kept: trials whose state the store keeps, from which stages go on.
        work: what is left of a stage, in any unit; 0 where it is done.
    """

    plan: Plan
    earlier: Mapping[str, str]
    done: Iterable[TrialSpec]
    kept: Iterable[str]
    work: Callable[[Stage], float]
    _root: dict[str, str] = field(default_factory=dict)
    _component: dict[str, str] = field(default_factory=dict)
    _members: dict[str, list[Stage]] = field(default_factory=dict)
    _bound: dict[str, str] = field(default_factory=dict)
    _begun: set[str] = field(default_factory=set)
    _wished: dict[str, str] = field(default_factory=dict)
    _capacity: dict[str, int] = field(default_factory=dict)
    _gone_since: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Finds the components, and what earlier results say of them."""
        for key, stage in self.plan.stages.items():
            within = stage.parent is not None and stage.parent in self._root
            self._root[key] = self._root[str(stage.parent)] if within else key
        self._component = joined(self._links())
        members: dict[str, list[Stage]] = defaultdict(list)
        for key, stage in self.plan.stages.items():
            members[self.component(key)].append(stage)
        self._members = dict(members)
        votes: dict[str, Counter[str]] = defaultdict(Counter)
        for trial_id, numerics in self.earlier.items():
            component = self._component.get(_trial(trial_id))
            if component in self._members:
                votes[component][numerics] += 1
        self._wished = {name: found.most_common(1)[0][0] for name, found in votes.items()}

    def _links(self) -> Iterable[tuple[str, str]]:
        """Trees, rules and trials that belong together."""
        kept = set(self.kept)
        rules = {}
        for key, stage in self.plan.stages.items():
            tree = _tree(self._root[key])
            yield tree, tree
            if stage.ends_trial or key in kept:
                yield _trial(key), tree
            for rule in stage.spec.rules:
                rules[rule.key] = rule
                yield _rule(rule.key), tree
        for spec in self.done:
            for rule in spec.rules:
                rules[rule.key] = rule
                yield _rule(rule.key), _trial(spec.trial_id)
        for rule in rules.values():
            for trial_id in rule.pool:
                yield _trial(trial_id), _rule(rule.key)

    def component(self, key: str) -> str:
        """The component of a stage."""
        return self._component[_tree(self._root[key])]

    @property
    def components(self) -> frozenset[str]:
        """All that have a stage."""
        return frozenset(self._members)

    def stages(self, component: str) -> list[Stage]:
        """The stages of a component, parents first."""
        return self._members[component]

    def of(self, key: str) -> str | None:
        """The class of a stage; None while there is none."""
        return self._bound.get(self.component(key))

    def begin(self, key: str) -> None:
        """A stage is given to a worker of its class."""
        self._begun.add(self.component(key))

    def wishes_missed(self) -> Counter[str]:
        """How many components go on from trials of a class that is not here, by that class."""
        return Counter(
            wished
            for component, wished in self._wished.items()
            if component in self._bound and self._bound[component] != wished
        )

    def follow(self, capacity: Mapping[str, int], now: float) -> tuple[bool, list[Moved]]:
        """Takes in which classes there are.

        Args:
            capacity: workers of each class.
            now: seconds, of a clock that never jumps.

        Returns:
            Whether any stage has another class than before, and what of it had begun.
        """
        present = {numerics: count for numerics, count in capacity.items() if count > 0}
        if present == self._capacity and not self._gone_since:
            return False, []
        gone = {*self._bound.values()} - set(present)
        self._gone_since = {one: self._gone_since.get(one, now) for one in gone}
        overdue = {
            component
            for component, numerics in self._bound.items()
            if numerics in gone and now - self._gone_since[numerics] > self._patience_s(component)
        }
        if not present or (present == self._capacity and not overdue):
            return False, []
        self._capacity = present
        return self._share_out(overdue)

    def _patience_s(self, component: str) -> float:
        return BEGUN_PATIENCE_S if component in self._begun else UNBEGUN_PATIENCE_S

    def balance(self) -> bool:
        """Shares out again what has not begun, by what is left of all.

        Returns:
            Whether any stage has another class than before.
        """
        return bool(self._capacity) and self._share_out(set())[0]

    def _share_out(self, overdue: set[str]) -> tuple[bool, list[Moved]]:
        before = dict(self._bound)
        fixed = {
            component: numerics
            for component, numerics in before.items()
            if component not in overdue
            and (component in self._begun or numerics not in self._capacity)
        }
        for component, wished in self._wished.items():
            if component not in fixed and wished in self._capacity:
                fixed[component] = wished
        work = {name: sum(map(self.work, stages)) for name, stages in self._members.items()}
        self._bound = shared_out(work, self._capacity, fixed)
        moved = [
            Moved(component, before[component], self._bound[component])
            for component in sorted(overdue & self._begun)
            if self._bound[component] != before[component]
        ]
        return before != self._bound, moved


def _tree(root: str) -> str:
    return f"tree {root}"


def _trial(trial_id: str) -> str:
    return f"trial {trial_id}"


def _rule(key: str) -> str:
    return f"rule {key}"
