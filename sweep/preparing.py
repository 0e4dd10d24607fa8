"""What stages share besides snapshots: datasets and teacher outputs, made once and handed to all."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import data
from sweep.execution.base import Executor, Finished, Handle, Inputs
from sweep.plan import Stage
from trials.identity import digest
from trials.task import ChosenTeacher, LoadTask, TeachTask


@dataclass(frozen=True)
class Need:
    """Something that must be there before a stage can start.

    Attributes:
        data: a dataset, which is to be loaded;
        teacher: with a teacher's id, that teacher's outputs for its training rows.
    """

    data: data.DataSpec
    teacher: str | None = None

    @property
    def task_id(self) -> str:
        """A name for the task that makes it."""
        what = "load" if self.teacher is None else f"ask {self.teacher}"
        return f"{what} {digest(self.data)}"

    def __str__(self) -> str:
        if self.teacher is None:
            return f"dataset {self.data.name}"
        return f"outputs of teacher {self.teacher} on {self.data.name}"


@dataclass
class Preparing:
    """Has workers make what stages need, each thing once.

    Attributes:
        executor: where.
        teachers: the chosen teachers by trial id; filled by whoever chooses them.
        failed: what could not be made, with how that ended.
        timeout_s: seconds that a worker may take for one thing; None for no limit.
        class_of: the numerics class of a stage, by its key; None for any. A teacher is asked in that
            of its students; a dataset is the same in all.
    """

    executor: Executor
    teachers: dict[str, ChosenTeacher] = field(default_factory=dict)
    failed: dict[Need, Finished] = field(default_factory=dict)
    timeout_s: float | None = None
    class_of: Callable[[str], str | None] = lambda _: None
    _asker: dict[str, str] = field(default_factory=dict)
    _made: dict[Need, Handle] = field(default_factory=dict)
    _networks: dict[str, Handle] = field(default_factory=dict)
    _asked: dict[str, Need] = field(default_factory=dict)
    _queue: deque[Need] = field(default_factory=deque)

    def first_missing(self, stage: Stage, chosen: Mapping[str, str]) -> Need | None:
        """The first thing that a stage lacks, asked for by now; None where all is there.

        Args:
            stage: whose teacher rules are resolved.
            chosen: the teacher of each rule, by the rule's key.
        """
        for need in self._needs(stage, chosen):
            if need not in self._made:
                if need.task_id not in self._asked and need not in self.failed:
                    self._asked[need.task_id] = need
                    self._asker[need.task_id] = stage.key
                    self._queue.append(need)
                return need
        return None

    def inputs(self, stage: Stage, chosen: Mapping[str, str], start: Handle | None) -> Inputs:
        """Handles of what a stage needs, all of which is there."""
        dataset, *outputs = (self._made[need] for need in self._needs(stage, chosen))
        networks = (self._network(chosen[rule.key]) for rule in stage.network_rules)
        return Inputs(start, dataset, (*outputs, *networks))

    def _network(self, trial_id: str) -> Handle:
        """A handle on a teacher itself, put where all workers reach it once."""
        if trial_id not in self._networks:
            self._networks[trial_id] = self.executor.put(self.teachers[trial_id])
        return self._networks[trial_id]

    @property
    def waiting(self) -> bool:
        """Whether something is to be given to a worker."""
        return bool(self._queue)

    def next_for(self, numerics: str | None) -> Need | None:
        """The next thing to make that a worker of a class may make; None where there is none."""
        for need in self._queue:
            if need.teacher is None or numerics in (None, self.class_of(self.asker(need))):
                return need
        return None

    def asker(self, need: Need) -> str:
        """The stage that was the first to ask for something."""
        return self._asker[need.task_id]

    def submit(self, need: Need, numerics: str | None = None) -> None:
        """Gives what `next_for` found to a worker of a class; the task has the id of the need."""
        self._queue.remove(need)
        if need.teacher is None:
            task: LoadTask | TeachTask = LoadTask(need.data)
            inputs = Inputs()
        else:
            task = TeachTask(self.teachers[need.teacher], need.data)
            inputs = Inputs(dataset=self._made[Need(need.data)])
        self.executor.submit(need.task_id, task, inputs, self.timeout_s, numerics)

    def forget_outputs(self, keys: Iterable[str]) -> None:
        """Lets go of what teachers said to stages: it is to be made anew, in their class of now."""
        stages = set(keys)
        for need in list(self._made):
            if need.teacher is not None and self.asker(need) in stages:
                del self._made[need]

    def is_ours(self, task_id: str) -> bool:
        """Whether a task was given by `submit`."""
        return task_id in self._asked

    def again(self, task_id: str) -> None:
        """Has a task that was lost done again."""
        self._queue.append(self._asked[task_id])

    def collect(self, finished: Finished) -> Need:
        """Takes in the end of a task, for better or worse.

        Returns:
            What it was to make; it stands in `failed` where it could not.

        Raises:
            ProductLostError: where what it made is gone already.
        """
        need = self._asked[finished.task_id]
        if finished.failure is None:
            self._made[need] = self.executor.keep(finished.product)
        else:
            self.failed[need] = finished
        del self._asked[finished.task_id]
        return need

    def _needs(self, stage: Stage, chosen: Mapping[str, str]) -> list[Need]:
        rows = stage.spec.data
        teachers = dict.fromkeys(chosen[rule.key] for rule in stage.output_rules)
        return [Need(rows), *(Need(rows, teacher) for teacher in teachers)]
