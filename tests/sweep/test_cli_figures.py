"""`sweep figures` and `sweep figure`, on results that nothing was trained for."""

import json
from pathlib import Path

import pytest

import analysis
from sweep.cells import demand
from sweep.execution.base import WorkerSetup
from sweep.execution.local import LocalExecutor
from sweep.records import cell_row
from sweep.results import Results
from sweep.run import run
from sweep.store import Store
from sweep.study import Study
from tests.sweep.test_cli import Sweep, _refused
from tests.sweep.tiny import FakeTraining, tiny_study


@pytest.fixture
def sweep(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sweep:
    return Sweep(capsys, monkeypatch)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of digits: a teacher, two alphas (one of them 1), three switch epochs, FGSM."""
    folder = tmp_path_factory.mktemp("figures")
    store = Store(folder)
    study = tiny_study()
    executor = LocalExecutor(WorkerSetup(runner=FakeTraining()))
    with store.writing():
        wanted = demand(study, store)
        store.write_cells("tiny", [cell_row(cell) for cell in wanted.chosen], study.to_json())
        run(wanted, store, executor)
    executor.stop()
    return folder


@pytest.mark.parametrize("name", ["", "ü", "A b", "x" * 70])
def test_a_name_that_no_study_can_have_was_never_run(
    sweep: Sweep, results: Path, tmp_path: Path, name: str
) -> None:
    for command in (["report"], ["status"], ["trials"], ["export", tmp_path / "x.csv"]):
        command.insert(1, name)
        if name or command[0] in ("report", "export"):
            said = _refused(sweep, *command, "--results", results)
            assert f"study {name!r} was never run" in said


def test_a_reference_that_is_none_is_named(sweep: Sweep, results: Path, tmp_path: Path) -> None:
    header = "role,dataset,model,seed,test_metric,train_loss\n"
    for text, message in (
        ("", "No columns"),
        (header + "student,digits,x,1,abc,\n", "abc"),
        (header + "student,digits,x,1,5,7\n", "no list of losses"),
        (header.replace("train_loss", "robustness") + "student,digits,x,1,5,[{]\n", "robustness"),
    ):
        file = tmp_path / "odd.csv"
        file.write_text(text)
        said = _refused(sweep, "compare", "tiny", file, "--results", results)
        assert str(file) in said
        assert message in said


def test_a_dataset_of_any_name_stays_in_the_folder(sweep: Sweep, tmp_path: Path) -> None:
    rows = ["role,dataset,model,teacher,alpha,switch_epoch,seed,metric_name,test_metric"]
    for seed in (1, 2):
        rows.append(f"baseline,../../out/x,net,,,,{seed},accuracy,{50 + seed}")
        rows.append(f"student,../../out/x,net,small,0.1,1,{seed},accuracy,{55 + seed}")
    table = tmp_path / "old.csv"
    table.write_text("\n".join(rows) + "\n")
    store = tmp_path / "results"
    sweep("import", table, "--study", "old", "--results", store)
    folder = tmp_path / "a" / "b" / "figures"
    made = sweep.json(
        "figure", "old", "all", "-o", folder, "--format", "json", "--results", store
    )  # fmt: skip
    assert {Path(row["file"]).parent for row in made["written"]} == {folder}
    assert all(Path(row["file"]).is_file() for row in made["written"])
    assert {path.name for path in folder.parent.iterdir()} == {"figures"}


def test_the_figures_are_listed(sweep: Sweep) -> None:
    rows = {row["name"]: row for row in sweep.json("figures")}
    assert len(rows) >= 12
    assert rows["seed-boxplots"]["arguments"] == ["dataset", "teacher", "alpha"]
    assert "guidance-heatmaps" in sweep("figures")


def test_one_figure_is_written_as_named(
    sweep: Sweep,
    results: Path,
    tmp_path: Path,
) -> None:
    page = tmp_path / "made" / "heat.html"
    out = sweep("figure", "tiny", "guidance-heatmaps", "-o", page, "--results", results)
    assert str(page) in out
    text = page.read_text()
    assert "<script src" not in text
    assert "too few seeds" in text
    file = tmp_path / "seeds.json"
    done = sweep.json(
        "figure", "tiny", "seed-boxplots", "-o", file, "--results", results, "--alpha", 0.1,
        "--teacher", "small", "--width", 480,
    )  # fmt: skip
    assert [row["file"] for row in done["written"]] == [str(file)]
    layout = json.loads(file.read_text())["layout"]
    assert layout["width"] == 480
    assert layout["title"]["text"].startswith("Digits, small teacher, alpha 0.1: ")
    assert done["written"][0]["bytes"] == file.stat().st_size


def test_all_figures_say_what_is_left_out(
    sweep: Sweep,
    results: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "all"
    done = sweep.json(
        "figure", "tiny", "all", "-o", folder, "--format", "json", "--results", results
    )
    names = {Path(row["file"]).stem for row in done["written"]}
    assert names == {path.stem for path in folder.iterdir()}
    assert {"teacher-boxplots-digits", "attack-lines-digits-fgsm"} <= names
    out = sweep(
        "figure", "tiny", "all", "-o", folder, "--format", "json", "--results", results,
        "--only", "role=student|baseline", "--attack", "pgd",
    )  # fmt: skip
    assert "left out: teacher-boxplots-digits: cells: no teacher is finished" in out
    assert "left out: attack-lines-digits-pgd: attack: no student has a result" in out
    assert "there are results under fgsm" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch", "-o", "a.html"], "figure: 'nosuch' is not one of teacher-boxplots, "),
        (["summary-lines"], "--output: name the file"),
        (["summary-lines", "-o", "a.gif"], "must end in one of .html, .json, .png, .svg, .pdf"),
        (["summary-lines", "-o", "a.html", "--width", "5"], "width_px: 5 is not between 100"),
        (["summary-lines", "-o", "a.html", "--scale", "0"], "scale: 0.0 is not between"),
        (["summary-lines", "-o", "a.html", "--dataset", "mnist"], "'mnist' is not one of digits"),
        (["summary-lines", "-o", "a.html", "--alpha", "0.1"], "alpha: 0.1 is of no use to summary"),
        (["seed-boxplots", "-o", "a.html", "--alpha", "0.5"], "alpha: 0.5 is not one of 0.1, 1"),
        (
            ["seed-boxplots", "-o", "a.html", "--teacher", "tiny"],
            "teacher: tiny is not one of smal",
        ),
        (["fgsm-summary", "-o", "a.html", "--attack", "pgd"], "there are results under fgsm"),
        (["summary-lines", "-o", "a.html", "--format", "svg"], "--format: svg is for all figures"),
        (["all", "-o", "x", "--dataset", "mnist"], "dataset: 'mnist' is not one of digits"),
        (["summary-lines", "-o", "a.html", "--only", "alpha=7 role=student"], "no cell of tiny"),
    ],
)
def test_a_mistake_names_what_is_allowed(
    sweep: Sweep, results: Path, arguments: list[str], message: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    said = _refused(sweep, "figure", "tiny", *arguments, "--results", results)
    assert message in said
    assert list(tmp_path.iterdir()) == []


def test_without_a_browser_an_image_says_how_to_get_one(
    sweep: Sweep,
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("analysis.export.find_browser", lambda: None)
    file = tmp_path / "a.svg"
    said = _refused(sweep, "figure", "tiny", "summary-lines", "-o", file, "--results", results)
    assert "plotly_get_chrome" in said
    assert ".html and .json need no browser" in said
    assert not file.exists()


def test_results_are_a_table_and_a_figure_in_one_line_each(results: Path) -> None:
    assert len(analysis.summarise(Results(results).cells("tiny"))) == 8
    drawn = analysis.metric_over_switch_epoch(Results(results).cells("tiny"))
    assert "Digits" in drawn.layout.title.text


OWN = {"title": "Accuracy over alpha", "x": "alpha", "y": ["accuracy"], "lines": ["switch_epoch"],
       "baseline": True}  # fmt: skip


@pytest.fixture(scope="module")
def stating(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study with a figure, a table and a published value of its own."""
    folder = tmp_path_factory.mktemp("stating")
    store = Store(folder)
    study = Study.model_validate(
        tiny_study().model_dump()
        | {
            "figures": [OWN, {**OWN, "title": "Nothing", "where": {"epochs": 77}}],
            "tables": [{"title": "By alpha", "rows": ["alpha"], "measures": ["accuracy", "f1"]}],
            "published": [{"where": {"role": "baseline"}, "measure": "accuracy", "value": 12.5}],
        }
    )
    executor = LocalExecutor(WorkerSetup(runner=FakeTraining()))
    with store.writing():
        wanted = demand(study, store)
        store.write_cells("tiny", [cell_row(cell) for cell in wanted.chosen], study.to_json())
        run(wanted, store, executor)
    executor.stop()
    return folder


def test_a_study_has_figures_of_its_own(sweep: Sweep, stating: Path, tmp_path: Path) -> None:
    rows = {row["name"]: row for row in sweep.json("figures", "tiny", "--results", stating)}
    assert rows["accuracy-over-alpha"]["description"] == "the study's own: Accuracy over alpha"
    assert "summary-lines" in rows
    file = tmp_path / "own.json"
    sweep("figure", "tiny", "accuracy-over-alpha", "-o", file, "--results", stating)
    drawn = json.loads(file.read_text())
    assert drawn["layout"]["title"]["text"] == "Accuracy over alpha"
    assert drawn["layout"]["xaxis"]["title"]["text"] == "alpha"
    done = sweep.json(
        "figure", "tiny", "all", "-o", tmp_path / "all", "--format", "json", "--results", stating
    )
    assert "accuracy-over-alpha" in {Path(row["file"]).stem for row in done["written"]}
    assert {
        "figure": "nothing",
        "reason": "figure 'Nothing': no cell that it is about has a result",
    } in (done["left_out"])
    said = _refused(sweep, "figure", "tiny", "nosuch", "-o", file, "--results", stating)
    assert "this study's own: accuracy-over-alpha, nothing" in said
    said = _refused(
        sweep, "figure", "tiny", "accuracy-over-alpha", "-o", file, "--results", stating, "--alpha", "0.1"
    )  # fmt: skip
    assert "alpha: 0.1 is of no use to accuracy-over-alpha" in said


def test_the_report_shows_what_the_study_states(sweep: Sweep, stating: Path) -> None:
    sweep("report", "tiny", "--results", stating)
    text = (stating / "reports" / "tiny.html").read_text()
    for said in ("Accuracy over alpha", "By alpha (mean ± sample deviation", "Published and found",
                 "12.50", "Nothing to show yet: Nothing."):  # fmt: skip
        assert said in text, said
