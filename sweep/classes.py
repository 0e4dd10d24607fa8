"""The numerics classes of a run: which there are, and in which of them each stage is trained.

Where all devices are of one kind there is one class for all, and nothing to keep apart. See
`sweep.binding` for what stays together.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from sweep.binding import Binding, Moved
from sweep.cells import Demand
from sweep.execution.base import Executor
from sweep.plan import Plan, Stage
from sweep.progress import Progress
from sweep.records import tuples
from sweep.store import Store
from trials.engine import machine_of
from trials.snapshot_header import numerics_of

BALANCE_S = 1.0
"""How often stages that have not begun are shared out again, where a class has nothing to do."""


@dataclass(frozen=True)
class Followed:
    """What has come of a look at the classes.

    Attributes:
        classes: that there are; None stands for all, where they are not told apart.
        changed: whether any stage has another class than before.
        moved: what had begun in a class that is gone, and begins again in another.
    """

    classes: Sequence[str | None]
    changed: bool = False
    moved: Sequence[Moved] = ()


class Classes:
    """Used by one run, from one thread."""

    def __init__(
        self,
        plan: Plan,
        demand: Demand,
        store: Store,
        executor: Executor,
        progress: Progress,
        kept: Collection[str],
        work: Callable[[Stage], float],
    ) -> None:
        """Looks at nothing yet.

        Args:
            plan: the stages.
            demand: what is wanted, and what of it is there.
            store: knows in which class that was trained.
            executor: has workers of the classes.
            progress: told what is shared out how.
            kept: trials whose state the store keeps, from which stages go on.
            work: what is left of a stage, in any unit; 0 where it is done.
        """
        self._plan, self._demand, self._store = plan, demand, store
        self._executor, self._progress = executor, progress
        self._kept, self._work = set(kept), work
        self._binding: Binding | None = None
        self._balanced_s = 0.0

    def of(self, key: str) -> str | None:
        """The class that a stage is to be trained in; None where there is one for all."""
        return None if self._binding is None else self._binding.of(key)

    def begin(self, key: str) -> None:
        """A stage is given to a worker of its class: what belongs to it stays there."""
        if self._binding is not None:
            self._binding.begin(key)

    def stages(self, moved: Moved) -> list[str]:
        """What belongs to something that moved."""
        assert self._binding is not None
        return [stage.key for stage in self._binding.stages(moved.component)]

    def follow(self, now: float) -> Followed:
        """Looks at the classes there are, and has every stage in one of them.

        Args:
            now: seconds, of a clock that never jumps.
        """
        classes = self._executor.classes
        if classes is None:
            return Followed((None,))
        first = self._binding is None
        if self._binding is None:
            self._binding = self._bind()
        changed, moved = self._binding.follow(classes, now)
        if first:
            self._tell(self._binding, classes)
        return Followed(tuple(classes), changed, moved)

    def balance(self, now: float, idle: Callable[[str], bool]) -> bool:
        """Where a class has nothing left to do, it takes of what others have not begun.

        Args:
            now: see `follow`.
            idle: whether a class has nothing left to do.

        Returns:
            Whether any stage has another class than before.
        """
        if self._binding is None or now - self._balanced_s < BALANCE_S:
            return False
        if not any(map(idle, self._executor.classes or {})):
            return False
        self._balanced_s = now
        return self._binding.balance()

    def _bind(self) -> Binding:
        """What belongs together, and what of it was trained in which class."""
        demand = self._demand
        done = [cell.spec for key, cell in demand.by_id.items() if key not in demand.todo]
        known = {spec.trial_id for spec in done} | self._kept
        records, _ = self._store.trials.read(["trial_id", "numerics_class"])
        earlier = {
            trial_id: machine_of(numerics)
            for trial_id, numerics in tuples(records)
            if trial_id in known and numerics is not None
        }
        for key in self._kept - set(earlier):  # of a training that was not ended
            content = self._store.read_state(key)
            numerics = None if content is None else numerics_of(content)
            if numerics is not None:
                earlier[key] = machine_of(numerics)
        return Binding(self._plan, earlier, done, self._kept, self._work)

    def _tell(self, binding: Binding, classes: Mapping[str, int]) -> None:
        if len(classes) > 1:
            count = Counter(binding.of(key) for key in self._demand.todo)
            parts = (f"{name}: {n} workers, {count[name]} trials" for name, n in classes.items())
            self._progress.say("numerics classes, each tree is trained in one: " + "; ".join(parts))
        for name, number in binding.wishes_missed().items():
            self._progress.say(
                f"{number} groups of trials that belong together were begun on a class that is not "
                f"here ({name}): they go on in another"
            )
