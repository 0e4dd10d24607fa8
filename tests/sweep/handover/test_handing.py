"""Handing over: only what is new, whole again after an interruption, never into the results."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep import cli
from sweep.errors import HandoverError, StoreError
from sweep.handover import handing, targets
from sweep.handover.folders import NOTE
from sweep.handover.handed import HandedRun
from sweep.handover.handing import hand_over
from sweep.local_files import LocalFiles
from sweep.results import Results
from tests.sweep.handover.made import FAILED, MISSING, RESULTS, STUDY, done_after_all, measure_more

ENDED = RESULTS + FAILED
FOLDERS = ["tensorboard", "wandb-offline"]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != handing.LOCK
    }


@pytest.mark.parametrize("to", FOLDERS)
def test_again_nothing_is_written(results: Results, tmp_path: Path, to: str) -> None:
    first = hand_over(results, STUDY, to, tmp_path / "out")
    assert (first.added, first.changed, first.unchanged) == (ENDED, 0, 0)
    assert first.without_result == MISSING
    there = files(tmp_path / "out")
    again = hand_over(results, STUDY, to, tmp_path / "out")
    assert (again.added, again.changed, again.unchanged) == (0, 0, ENDED)
    assert files(tmp_path / "out") == there


@pytest.mark.parametrize("to", FOLDERS)
def test_an_interrupted_one_is_gone_on_with(
    results: Results, tmp_path: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over(results, STUDY, to, tmp_path / "whole")
    real = handing.handed_runs

    def some(*arguments: Any) -> Iterator[HandedRun]:
        for number, run in enumerate(real(*arguments)):
            if number == 3:
                raise KeyboardInterrupt
            yield run

    with monkeypatch.context() as patch:
        patch.setattr(handing, "handed_runs", some)
        with pytest.raises(KeyboardInterrupt):
            hand_over(results, STUDY, to, tmp_path / "out")
    # One of the three was put in place but for its note, and another is half there.
    torn, cut, _ = sorted((tmp_path / "out").rglob(NOTE))
    torn.unlink()
    (content,) = (p for p in cut.parent.iterdir() if p.is_file() and p.name != NOTE)
    content.write_bytes(content.read_bytes()[:-1])
    done = hand_over(results, STUDY, to, tmp_path / "out")
    assert (done.added + done.changed, done.unchanged) == (ENDED - 1, 1)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.parametrize("to", FOLDERS)
def test_what_has_changed_is_written_again_in_its_place(
    results: Results, tmp_path: Path, to: str
) -> None:
    hand_over(results, STUDY, to, tmp_path / "out")
    before = files(tmp_path / "out")
    trials = results.trials()
    chosen = trials[trials["status"] == "done"]["trial_id"].iloc[0]
    measure_more(results.store, chosen, 12.5)
    done = hand_over(results, STUDY, to, tmp_path / "out")
    assert (done.added, done.changed, done.unchanged) == (0, 1, ENDED - 1)
    after = files(tmp_path / "out")
    assert after.keys() == before.keys()
    assert len([name for name in after if after[name] != before[name]]) == 2  # a run and its note


@pytest.mark.parametrize("to", FOLDERS)
def test_a_trial_that_failed_and_is_done_later_is_one_run(
    results: Results, tmp_path: Path, to: str
) -> None:
    hand_over(results, STUDY, to, tmp_path / "out")
    done_after_all(results)
    done = hand_over(results, STUDY, to, tmp_path / "out")
    assert (done.added, done.changed, done.unchanged) == (0, 1, ENDED - 1)
    hand_over(results, STUDY, to, tmp_path / "anew")
    assert files(tmp_path / "out") == files(tmp_path / "anew")


@pytest.mark.parametrize(("first", "second"), [FOLDERS, FOLDERS[::-1]])
def test_what_another_tool_was_given_stays_beside(
    results: Results, tmp_path: Path, first: str, second: str
) -> None:
    hand_over(results, STUDY, first, tmp_path / "out")
    before = files(tmp_path / "out")
    beside = hand_over(results, STUDY, second, tmp_path / "out")
    assert (beside.added, beside.changed, beside.unchanged) == (ENDED, 0, 0)
    assert before.items() <= files(tmp_path / "out").items()
    for to in (first, second):
        again = hand_over(results, STUDY, to, tmp_path / "out")
        assert (again.added, again.changed, again.unchanged) == (0, 0, ENDED)


@pytest.mark.parametrize(
    "place", ["", "trials", "trials/deep/er", "weights", "../results", "x/../studies"]
)
def test_the_folders_of_the_results_are_refused(results: Results, place: str) -> None:
    root = Path(str(results.store))
    before = files(root)
    with pytest.raises(HandoverError, match="belongs to the results"):
        hand_over(results, STUDY, "tensorboard", root / place)
    assert files(root) == before


def test_a_link_into_the_results_is_refused(results: Results, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(Path(str(results.store)) / "trials")
    with pytest.raises(HandoverError, match="belongs to the results"):
        hand_over(results, STUDY, "tensorboard", tmp_path / "link" / "out")


def test_a_folder_beside_the_tables_is_allowed(results: Results) -> None:
    done = hand_over(results, STUDY, "tensorboard", Path(str(results.store)) / "tensorboard")
    assert done.added == ENDED


def test_a_file_is_refused(results: Results, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(HandoverError, match="is a file"):
        hand_over(results, STUDY, "tensorboard", tmp_path / "file")
    with pytest.raises(StoreError, match="cannot write to"):
        hand_over(results, STUDY, "tensorboard", tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"


def test_one_at_a_time(results: Results, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with (
        LocalFiles().lock(folder / handing.LOCK),
        pytest.raises(StoreError, match="is being written by process"),
    ):
        hand_over(results, STUDY, "tensorboard", folder)


def test_another_tool_and_one_that_is_not_installed_are_named(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HandoverError, match="must be one of mlflow, wandb-offline, tensorboard"):
        hand_over(results, STUDY, "excel", tmp_path / "out")
    monkeypatch.setattr(targets, "find_spec", lambda _: None)
    with pytest.raises(HandoverError) as raised:
        hand_over(results, STUDY, "wandb-offline", tmp_path / "out")
    assert "pip install 'distillation-sweep[wandb]'" in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_was_done_and_where_to_look(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def called(*more: str, status: int = 0) -> tuple[str, str]:
        command = ["sweep", "export", STUDY, str(tmp_path / "out"), *more]
        monkeypatch.setattr(sys, "argv", [*command, "--results", str(results.store)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == status
        return capsys.readouterr()

    out, _ = called("--to", "tensorboard")
    assert f"{ENDED} trials added, 0 changed, 0 unchanged, {MISSING} without a result" in out
    assert f"tensorboard --logdir {tmp_path / 'out'}" in out
    told = json.loads(called("--to", "tensorboard", "--json")[0])
    assert told == {
        "study": STUDY, "to": "tensorboard", "added": 0, "changed": 0, "unchanged": ENDED,
        "without_result": MISSING, "dest": str(tmp_path / "out"),
    }  # fmt: skip
    _, said = called("--to", "excel", status=2)
    assert said == "sweep: --to 'excel': must be one of mlflow, wandb-offline, tensorboard\n"
    _, said = called(status=2)  # a folder is no file of a table
    assert "must end with .parquet or .csv" in said


@pytest.mark.parametrize("to", FOLDERS)
def test_imported_results_are_handed_over_as_far_as_they_are_known(tmp_path: Path, to: str) -> None:
    from sweep.importing import import_table

    table = tmp_path / "old.csv"
    table.write_text(
        "role,dataset,model,teacher,alpha,switch_epoch,seed,test_metric,metric_name\n"
        "teacher,digits,small,,,,1,50.5,accuracy\n"
        "student,digits,large,small,0.5,3,1,60.25,accuracy\n"
        "student,digits,large,small,0.5,3,2,,accuracy\n"
    )
    import_table(table, "old", tmp_path / "results")
    found = Results(tmp_path / "results")
    done = hand_over(found, "old", to, tmp_path / "out")
    assert (done.added, done.without_result) == (2, 1)
    assert hand_over(found, "old", to, tmp_path / "out").unchanged == 2
