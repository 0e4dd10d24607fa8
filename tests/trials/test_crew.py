"""Stages side by side in a worker: each has the answer it would have had alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import data
import models
from models.home import Dense
from trials.attack_settings import Attacks
from trials.crew import Crew
from trials.spec import Recipe, Segment, TrialSpec
from trials.stage import Workshop, run_stage
from trials.task import LoadTask, Measures, StageOutcome, StageTask

CPU = torch.device("cpu")


@pytest.fixture
def workshop(tmp_path: Path, _own_registries: None) -> Workshop:
    models.register(models.ModelEntry("dense", Dense((8, 6), dropouts=1)))
    return Workshop(CPU, tmp_path, engine="lanes")


def task_of(seed: int, epochs: int = 4, rate: float = 0.01, **settings: Any) -> StageTask:
    rows = data.DataSpec("table", validation=0.1)
    spec = TrialSpec(seed, rows, Recipe("dense", None, learning_rate=rate), (Segment(epochs),))
    settings = {"ends_trial": True, "keep_weights": True, "hand_over": True, **settings}
    return StageTask(spec, 0, measures=Measures(Attacks((0.1,)), every_epochs=3), **settings)


def science(outcome: StageOutcome) -> tuple[Any, ...]:
    """An outcome without times and what holds them."""
    result = outcome.result
    assert result is not None
    figures = replace(
        result, wall_s=0, train_s=0, evaluate_s=0, stage_s=0, device_s=0, peak_memory_bytes=0,
        finished_at=None,  # type: ignore[arg-type]
    )  # fmt: skip
    return figures, outcome.weights, outcome.epoch, outcome.paused


def test_answers_are_those_of_stages_alone(workshop: Workshop) -> None:
    tasks = [task_of(1), task_of(2, epochs=7), task_of(3, epochs=2), task_of(4, rate=1e9)]
    crew = Crew(workshop)
    members = [crew.join(task, None, []) for task in tasks]
    ends: list[int] = []
    for _ in range(8):
        crew.step()
        ends.append(sum(member.ended for member in members))
    assert ends[0] < ends[-1] == 4
    outcomes = [member.outcome() for member in members]
    for task, outcome in zip(tasks, outcomes, strict=True):
        assert science(outcome) == science(run_stage(task, None, [], workshop))
    statuses = [o.result.status for o in outcomes if o.result is not None]
    assert statuses == ["done", "done", "done", "diverged"]
    assert str(workshop.numerics_of(tasks[0].spec)).endswith("engine lanes")


def test_seconds_of_a_worker_are_shared(workshop: Workshop) -> None:
    crew = Crew(workshop)
    members = [crew.join(task_of(seed, epochs=30), None, []) for seed in range(8)]
    while not all(member.ended for member in members):
        crew.step()
    for member in members:
        outcome = member.outcome()
        assert outcome.result is not None
        assert outcome.worker_s is not None
        assert 0 < outcome.worker_s < outcome.result.stage_s
    assert run_stage(task_of(1), None, [], workshop).worker_s is None


def test_a_stage_goes_on_in_a_lane_where_another_left(workshop: Workshop) -> None:
    whole = run_stage(task_of(1, epochs=6), None, [], workshop)
    trunk = run_stage(task_of(1, epochs=2), None, [], workshop)
    crew = Crew(workshop)
    member = crew.join(replace(task_of(1, epochs=6), start_epoch=2), trunk.product, [])
    while not member.ended:
        crew.step()
    assert science(member.outcome()) == science(whole)


def test_what_cannot_be_in_a_lane_is_not_taken(workshop: Workshop) -> None:
    crew = Crew(workshop)
    task = task_of(1)
    assert crew.takes(task)
    minibatches = replace(task.spec, recipe=Recipe("dense", 32))
    assert not crew.takes(replace(task, spec=minibatches))
    assert not crew.takes(LoadTask(task.spec.data))
    with pytest.raises(ValueError, match="cannot be in a lane"):
        crew.join(replace(task, spec=minibatches), None, [])


def test_memory_that_runs_out_ends_all_and_the_next_start_anew(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = Crew(workshop)
    members = [crew.join(task_of(seed), None, []) for seed in (1, 2)]
    with monkeypatch.context() as patch:
        patch.setattr(next(iter(crew._lanes.values())), "_replay", lambda _: _raise(MemoryError()))
        crew.step()
    for member in members:
        assert member.ended
        with pytest.raises(MemoryError):
            member.outcome()
    again = crew.join(task_of(1), None, [])
    while not again.ended:
        crew.step()
    assert science(again.outcome()) == science(run_stage(task_of(1), None, [], workshop))


def _raise(error: Exception) -> Any:
    raise error


def test_two_groups_at_a_time_and_one_that_is_kept(workshop: Workshop) -> None:
    crew = Crew(workshop)
    other = replace(task_of(1), spec=replace(task_of(1).spec, recipe=Recipe("dense", None, "sgd")))
    members = [crew.join(task, None, []) for task in (task_of(1), other)]
    while not all(member.ended for member in members):
        crew.step()
    assert science(members[1].outcome()) == science(run_stage(other, None, [], workshop))
    assert len(crew._lanes) == 2
    kept = crew._lanes.copy()
    crew.join(task_of(5), None, [])
    assert crew._lanes == kept
    third = replace(other, spec=replace(other.spec, data=data.DataSpec("table")))
    crew.join(third, None, [])
    assert len(crew._lanes) == 2  # the empty one made room
