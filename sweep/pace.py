"""What is left of a run, and how long it will take."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, MutableSet
from typing import NamedTuple

from sweep.plan import Stage


class Work(NamedTuple):
    """What a stage's time depends on."""

    dataset: str
    model: str
    epochs: int


def work_of(stage: Stage) -> Work:
    """What the time of a stage depends on."""
    return Work(stage.spec.data.name, stage.spec.recipe.model, stage.epochs)


class Settled(MutableSet[str]):
    """Keys of the stages of a plan that are not to be run (any more).

    Attributes:
        left: how many stages of each kind of work are not among them.
    """

    def __init__(self, stages: Mapping[str, Stage], keys: Iterable[str]) -> None:
        self._stages = stages
        self._keys: set[str] = set()
        self.left = Counter(map(work_of, stages.values()))
        self.update(keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str) -> None:
        """Adds a stage."""
        if key not in self._keys:
            self._keys.add(key)
            self.left[work_of(self._stages[key])] -= 1

    def update(self, keys: Iterable[str]) -> None:
        """Adds stages."""
        for key in keys:
            self.add(key)

    def discard(self, key: str) -> None:
        """Takes a stage out: it is to be run again."""
        if key in self._keys:
            self._keys.discard(key)
            self.left[work_of(self._stages[key])] += 1


class Pace:
    """Learns what an epoch costs, by dataset and network, and estimates what is left."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], float] = defaultdict(float)
        self._epochs: dict[tuple[str, str], int] = defaultdict(int)
        self.last_s: float | None = None

    def learn(self, stage: Stage, seconds: float) -> None:
        """Takes in a stage that ended."""
        work = work_of(stage)
        self._seconds[work[:2]] += seconds
        self._epochs[work[:2]] += max(1, work.epochs)

    def expected(self, stage: Stage) -> float:
        """What a stage takes, against others: seconds, once any are known; before that, epochs."""
        work = work_of(stage)
        known = [self._seconds[kind] / self._epochs[kind] for kind in self._epochs]
        if not known:
            return float(work.epochs)
        seen = self._epochs.get(work[:2])
        return work.epochs * (self._seconds[work[:2]] / seen if seen else max(known))

    def remaining_s(
        self, left: Mapping[Work, int], spent_s: Iterable[tuple[Work, float]], slots: int
    ) -> float | None:
        """Seconds for the stages that are left, on a number of workers.

        Args:
            left: how many stages of each kind of work have not ended.
            spent_s: for each of them that runs, how long it has.
            slots: workers.
        """
        pace = {kind: self._seconds[kind] / self._epochs[kind] for kind in self._epochs}
        if not pace:
            return None
        dearest = max(pace.values())  # a network not seen yet is taken to cost what this one does
        waiting = Counter(left)
        total = longest = 0.0
        for work, spent in spent_s:
            waiting[work] -= 1
            whole = work.epochs * pace.get(work[:2], dearest)
            rest = whole - spent if spent < whole else spent  # overdue: taken to be half way
            total, longest = total + rest, max(longest, rest)
        for work in +waiting:
            whole = work.epochs * pace.get(work[:2], dearest)
            total, longest = total + waiting[work] * whole, max(longest, whole)
        self.last_s = max(longest, total / slots)
        return self.last_s
