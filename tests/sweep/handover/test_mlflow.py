"""What MLflow's own client finds in the store."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from sweep.errors import HandoverError
from sweep.handover import handing, mlflow_store
from sweep.handover.handing import hand_over
from sweep.handover.targets import About
from sweep.results import Results
from tests.sweep.handover.made import BEGAN, FAILED, RESULTS, STUDY, done_after_all, measure_more

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow and what it imports warn of one another
ENDED = RESULTS + FAILED


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as MLflow makes it, which takes it seconds."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    mlflow_store._client()(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def folder(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where to export to; the program is somewhere else, which must stay empty."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "out").mkdir()
    shutil.copy(empty, tmp_path / "out" / "mlflow.db")
    return tmp_path / "out"


def found(folder: Path) -> tuple[Any, dict[str, Any]]:
    client = mlflow_store._client()(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name(STUDY)
    runs = client.search_runs([experiment.experiment_id])
    by_trial = {run.data.tags["sweep.trial_id"]: run for run in runs}
    assert len(by_trial) == len(runs)
    return client, by_trial


def test_mlflow_reads_what_the_store_holds_and_only_what_is_new_is_added(
    results: Results, folder: Path, tmp_path: Path
) -> None:
    first = hand_over(results, STUDY, "mlflow", folder)
    assert (first.added, first.changed, first.unchanged) == (ENDED, 0, 0)
    client, runs = found(folder)
    trials = results.trials().set_index("trial_id")
    assert runs.keys() > set(trials.index)
    for trial_id, row in trials.iterrows():
        run = runs[str(trial_id)]
        done = row["status"] == "done"
        assert run.info.status == ("FINISHED" if done else "FAILED")
        assert (run.info.start_time, run.info.end_time) == (
            BEGAN.timestamp() * 1000, BEGAN.timestamp() * 1000 + 20_000,
        )  # fmt: skip
        assert run.data.params["seed"] == str(row["seed"])
        assert run.data.params["learning_rate"] == str(row["learning_rate"])
        assert run.data.tags["code_version"] == row["code_version"]
        assert run.data.tags["role"] == row["role"]
        losses = client.get_metric_history(run.info.run_id, "train/loss")
        assert [point.step for point in losses] == [10, 20, 40]
        if not done:
            assert losses[0].value == 1.0
            assert math.isnan(losses[2].value)
            continue
        assert [point.value for point in losses] == list(row["train_loss"])
        assert run.data.metrics["test/accuracy_percent"] == row["test_metric"]
        assert run.data.metrics["robustness/fgsm_0.05/accuracy_percent"] == row["test_metric"] / 2
        epochs = client.get_metric_history(run.info.run_id, "epochs/validation/loss")
        assert {p.step: p.value for p in epochs} == {1: 2.0, 2: 1.0, 3: 2 / 3}
    (failed,) = runs.keys() - set(trials.index)
    assert runs[failed].info.status == "FAILED"
    assert runs[failed].data.tags["message"] == "bug: went wrong in attempt 2"
    assert runs[failed].info.run_name == "digits baseline medium seed 2"

    again = hand_over(results, STUDY, "mlflow", folder)
    assert (again.added, again.changed, again.unchanged) == (0, 0, ENDED)

    # More is measured of one trial: it is added to its run.
    chosen = str(trials[trials["status"] == "done"].index[0])
    measure_more(results.store, chosen, 12.5)
    more = hand_over(results, STUDY, "mlflow", folder)
    assert (more.added, more.changed, more.unchanged) == (0, 1, ENDED - 1)
    _, after = found(folder)
    assert {key: run.info.run_id for key, run in after.items()} == {
        key: run.info.run_id for key, run in runs.items()
    }
    assert after[chosen].data.metrics["robustness/pgd_0.1/accuracy_percent"] == 12.5
    history = client.get_metric_history(after[chosen].info.run_id, "train/loss")
    assert [point.step for point in history] == [10, 20, 40]
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not (folder / "mlflow.db-wal").exists()


def test_an_interrupted_one_is_gone_on_with(
    results: Results, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = mlflow_store.MlflowStore._tags
    calls = 0

    def broken(self: Any, run: Any) -> dict[str, str]:
        nonlocal calls
        calls += 1
        if calls == 3:  # the third run is begun, and has no figures yet
            raise KeyboardInterrupt
        return real(self, run)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow_store.MlflowStore, "_tags", broken)
        with pytest.raises(KeyboardInterrupt):
            hand_over(results, STUDY, "mlflow", folder)
    _, begun = found(folder)
    assert sorted(run.info.status for run in begun.values()).count("RUNNING") == 1
    done = hand_over(results, STUDY, "mlflow", folder)
    assert (done.added, done.changed, done.unchanged) == (ENDED - 3, 1, 2)
    _, runs = found(folder)
    assert len(runs) == ENDED
    assert {run.info.status for run in runs.values()} == {"FINISHED", "FAILED"}


def test_a_trial_that_failed_and_is_done_later_is_one_run(
    results: Results, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over(results, STUDY, "mlflow", folder)
    failed = done_after_all(results)
    done = hand_over(results, STUDY, "mlflow", folder)
    assert (done.added, done.changed) == (0, 1)
    _, runs = found(folder)
    assert len(runs) == ENDED
    assert runs[failed].info.status == "FINISHED"
    assert runs[failed].data.metrics["test/accuracy_percent"] == 77.25
    assert runs[failed].data.tags["attempts"] == "3"


def test_the_experiment_says_what_the_study_asks_by_now(results: Results, folder: Path) -> None:
    for title, question in (("First", "Why?"), ("Second", ""), ("", "How?")):
        told = About(STUDY, title, question)
        mlflow_store.MlflowStore(folder, told).close()
        client, _ = found(folder)
        tags = client.get_experiment_by_name(STUDY).tags
        assert (tags.get("title", ""), tags.get("mlflow.note.content", "")) == (title, question)


def test_a_folder_that_mlflow_cannot_address_is_refused(results: Results, tmp_path: Path) -> None:
    with pytest.raises(HandoverError, match="MLflow reads no store"):
        hand_over(results, STUDY, "mlflow", tmp_path / "50%")
    assert not (tmp_path / "50%" / "mlflow.db").exists()
    assert handing.LOCK  # the folder itself may be there, with the lock in it
