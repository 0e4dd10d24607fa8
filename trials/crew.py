"""The stages that a worker trains side by side, each with its own answer.

One thread does all of it: whoever has a stage here calls `step` until that has ended, which trains
an epoch of every stage.
"""

from collections.abc import Sequence

from trials.course import Course
from trials.device import reset_peak_memory
from trials.engine import LANES, LaneGroup, lane_group
from trials.lanes import Lane, Lanes
from trials.stage import BegunStage, Workshop
from trials.task import EvaluateTask, LoadTask, StageOutcome, StageTask, Teaching, TeachTask


class Member:
    """A stage in a lane."""

    def __init__(self, stage: BegunStage, lane: Lane) -> None:
        """Pairs a stage with its training."""
        self._stage, self._lane = stage, lane

    @property
    def ended(self) -> bool:
        """Whether its training has, well or not."""
        return self._lane.ended

    def outcome(self) -> StageOutcome:
        """What the stage leaves; evaluates the trial that ends with it.

        Raises:
            Exception: what went wrong, in this stage or in the products of all.
        """
        return self._stage.end(self._lane.result(), self._lane.shared_s)


class Crew:
    """Who is in the lanes of a worker.

    The lanes of a group are kept while they are empty, until another group comes: on a GPU they
    have a captured graph.
    """

    def __init__(self, workshop: Workshop) -> None:
        """Starts without lanes; they are made for the first who joins."""
        self._workshop = workshop
        self._lanes: dict[LaneGroup, Lanes] = {}

    def takes(self, task: StageTask | EvaluateTask | LoadTask | TeachTask) -> bool:
        """Whether a task is one for a lane."""
        return isinstance(task, StageTask) and self._workshop.engine_of(task.spec) == "lanes"

    def join(self, task: StageTask, start: bytes | None, teachers: Sequence[Teaching]) -> Member:
        """Begins a stage in a lane; the arguments are those of `trials.stage.run_stage`.

        Raises:
            Exception: what is wrong with the stage.
        """
        stage = BegunStage(task, start, teachers, self._workshop)
        course = Course(
            task.spec,
            stage.loaded.task,
            stage.start,
            observe_every=task.measures.every_epochs,
            observer=stage.observe,
            pause_after_s=task.pause_after_s,
        )
        lanes = self._lanes_for(task, stage)
        return Member(stage, lanes.join(course, stage.teachers, stage.start))

    def step(self) -> None:
        """Trains an epoch of every stage; what goes wrong is the end of those that it is about."""
        for group, lanes in list(self._lanes.items()):
            try:
                lanes.step()
            except Exception:  # each stage raises it; what lanes hold now is of no use
                del self._lanes[group]

    def _lanes_for(self, task: StageTask, stage: BegunStage) -> Lanes:
        group = lane_group(task.spec)
        if group is None:
            raise ValueError(f"trial {task.key} cannot be in a lane")
        if group not in self._lanes:
            self._lanes = {g: lanes for g, lanes in self._lanes.items() if lanes.free < LANES}
            if not self._lanes:
                reset_peak_memory(self._workshop.device)
            self._lanes[group] = Lanes(task.spec, stage.loaded)
        return self._lanes[group]
