"""Every command on results in an object store: an emulated S3."""

import json
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from sweep import cli, lease
from sweep.results import Results
from sweep.store import Store

STUDY = """
name = "tiny"
seeds = [1]
[grid]
teacher = ["small"]
alpha = [0.1]
switch_epoch = [1]
[recipe]
epochs = 2
batch_size = 32
[split]
train_size = 64
validation = 0.1
[evaluation]
fgsm_epsilons = [0.05]
keep = "snapshot"
[datasets.digits]
student = "medium"
"""


class Sweep:
    """Calls the command line with results in one place."""

    def __init__(self, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch, url: str):
        self._capsys, self._patch, self.url = capsys, patch, url

    def __call__(self, *arguments: object, status: int = 0) -> str:
        command = ["sweep", *map(str, arguments), "--results", self.url]
        self._patch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = self._capsys.readouterr()
        assert (ended.value.code or 0) == status, out + err
        return err if status else out


@pytest.fixture
def sweep(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, s3_bucket: str
) -> Sweep:
    return Sweep(capsys, monkeypatch, f"s3://{s3_bucket}/{uuid4().hex}/results")


def test_a_study_from_start_to_report(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "tiny.toml"
    study.write_text(STUDY)
    assert "does not exist" in sweep("status", status=2)
    assert "3 trained" in sweep("run", study, "--local")
    assert "0 trained, 3 were done" in sweep("run", study, "--local")
    assert "0 trained, 3 were done" in sweep("retry", study, "--local")
    (row,) = json.loads(sweep("status", "--json"))["studies"]
    assert (row["study"], row["done"], row["missing"]) == ("tiny", 3, 0)
    assert json.loads(sweep("query", "SELECT count(*) AS n FROM cells", "--json")) == [{"n": 3}]
    trials = json.loads(sweep("trials", "tiny", "--json"))
    assert len(trials) == 3
    shown = json.loads(sweep("show", trials[0]["trial_id"], "--json"))
    weights = f"{sweep.url}/weights/{trials[0]['trial_id']}.safetensors"
    assert shown["weights"] == weights
    assert f"report: {sweep.url}/reports/tiny.html" in sweep("report", "tiny")
    assert json.loads(sweep("evaluate", study, "--local", "--fgsm-epsilons", "0.2", "--json"))[
        "evaluated"
    ] == len(trials)
    store = Store(sweep.url)
    page = store.on.read(store.layout.report("tiny"))
    assert page is not None
    assert b"</html>" in page
    assert not Results(sweep.url).model(trials[0]["trial_id"]).training
    assert store.trials.on.entries(store.layout.incoming) == []
    # Teacher and baseline go on from their snapshots; the student has another teacher from the start.
    longer = study.with_name("longer.toml")
    longer.write_text(STUDY.replace("epochs = 2", "epochs = 3"))
    run = json.loads(sweep("run", longer, "--local", "--json"))
    assert (run["done"], run["epochs"]) == (3, 1 + 1 + 3)
    # A second writer is refused while one is at work.
    monkeypatch.setattr(lease, "LEASE_S", 2.0)
    with Store(sweep.url).writing():
        assert f"{sweep.url} is being written by process" in sweep("run", study, status=2)
        assert "3" in sweep("status")
