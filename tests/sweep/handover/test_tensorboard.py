"""What TensorBoard's own readers find: scalars, text, and the hyperparameters panel."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.hparams import (
    api_pb2,
    backend_context,
    get_experiment,
    list_session_groups,
)

from sweep.handover.handing import hand_over
from sweep.results import Results
from tests.sweep.handover.made import BEGAN, STUDY


@pytest.fixture
def folder(results: Results, tmp_path: Path) -> Path:
    hand_over(results, STUDY, "tensorboard", tmp_path / "out")
    return tmp_path / "out" / STUDY


def read(folder: Path, trial_id: str) -> EventAccumulator:
    (own,) = folder.glob(f"*-{trial_id[:12]}")
    found = EventAccumulator(str(own))
    found.Reload()
    return found


def test_scalars_are_those_of_the_store(results: Results, folder: Path) -> None:
    trials = results.trials()
    assert len(list(folder.iterdir())) == len(trials) + 1  # and the one that failed
    for _, row in trials[trials["status"] == "done"].iterrows():
        found = read(folder, row["trial_id"])
        losses = found.Scalars("train/loss")
        assert [event.step for event in losses] == [10, 20, 40]
        assert [event.value for event in losses] == [np.float32(v) for v in row["train_loss"]]
        assert losses[-1].wall_time == BEGAN.timestamp() + 20
        (final,) = found.Scalars("test/accuracy_percent")
        assert (final.step, final.value) == (40, np.float32(row["test_metric"]))
        (attacked,) = found.Scalars("robustness/fgsm_0.05/accuracy_percent")
        assert attacked.value == np.float32(row["test_metric"] / 2)
        epochs = found.Scalars("epochs/validation/loss")
        assert [(e.step, e.value) for e in epochs] == [
            (1, 2.0), (2, 1.0), (3, np.float32(2 / 3)),
        ]  # fmt: skip


def test_a_loss_that_is_not_finite_stays_so(results: Results, folder: Path) -> None:
    trials = results.trials()
    (trial_id,) = trials[trials["status"] == "diverged"]["trial_id"]
    one, infinite, nan = (event.value for event in read(folder, trial_id).Scalars("train/loss"))
    assert (one, infinite) == (1.0, math.inf)
    assert math.isnan(nan)


def test_the_hyperparameters_panel_has_a_row_for_each_trial(results: Results, folder: Path) -> None:
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    context = backend_context.Context(
        type("Context", (), {"data_provider": MultiplexerDataProvider(multiplexer, str(folder))})()
    )
    request = RequestContext()
    experiment = get_experiment.Handler(
        request, context, "", api_pb2.GetExperimentRequest(hparams_limit=0)
    ).run()
    assert {"alpha", "seed", "learning_rate"} <= {info.name for info in experiment.hparam_infos}
    assert "test/accuracy_percent" in {info.name.tag for info in experiment.metric_infos}
    wanted = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=1000,
        allowed_statuses=[api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE],
    )
    metric = wanted.col_params.add()
    metric.metric.tag = "test/loss"
    groups = list_session_groups.Handler(request, context, "", wanted).run().session_groups
    told: dict[str, Any] = {group.name: group for group in groups}
    trials = results.trials().set_index("trial_id")
    assert told.keys() > set(trials.index)
    assert len(told) == len(trials) + 1
    for trial_id, row in trials.iterrows():
        group = told[str(trial_id)]
        assert group.hparams["seed"].number_value == row["seed"]
        assert group.hparams["role"].string_value == row["role"]
        (session,) = group.sessions
        done = row["status"] == "done"
        assert session.status == (api_pb2.STATUS_SUCCESS if done else api_pb2.STATUS_FAILURE)
        assert session.start_time_secs == BEGAN.timestamp()
        assert session.end_time_secs == BEGAN.timestamp() + 20
        if done:
            values = {value.name.tag: value.value for value in session.metric_values}
            assert values["test/loss"] == np.float32(row["test_loss"])


def test_what_failed_says_why(results: Results, folder: Path) -> None:
    (trial_id,) = set(results.attempts()["trial_id"]) - set(results.trials()["trial_id"])
    found = read(folder, trial_id)
    assert found.Tags()["scalars"] == []
    (event,) = found.Tensors("about")
    assert b"bug: went wrong in attempt 2" in event.tensor_proto.string_val[0]
