"""Old results become results, whole or not at all, and are never taken for our own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import analysis
from analysis import reference
from sweep import importing, reporting
from sweep.errors import StoreError, StudyError, SweepError, TableError
from sweep.garbage import free, survey
from sweep.imported import Origin, refuse_to_run
from sweep.importing import import_table
from sweep.merge import merge
from sweep.query import query
from sweep.results import Results
from sweep.service import run_study
from sweep.store import Store
from tests.sweep.test_query_cells import MOMENTS, PAIRED, agree
from tests.sweep.test_results import Asked
from tests.sweep.tiny import tiny_study


def row(
    role: str = "student", seed: int = 1, metric: float | None = 60.0, **more: Any
) -> dict[str, Any]:
    """A row of a table; a student of the small teacher unless it is something else."""
    student = role == "student"
    return {
        "role": role, "dataset": "digits", "model": "small" if role == "teacher" else "student",
        "teacher": "small" if student else None, "alpha": 0.1 if student else None,
        "switch_epoch": 2 if student else None, "seed": seed, "test_metric": metric,
        "fgsm_0.05": None if metric is None else metric / 2, "train_loss": [1.0, 0.5], **more,
    }  # fmt: skip


ROWS = [
    row("teacher", 1, 50.0), row("teacher", 2, 55.0), row("teacher", 3, 55.0),
    row("baseline", 1, 60.0), row("baseline", 2, 62.0),
    row(seed=1, metric=61.0), row(seed=2, metric=64.0), row(seed=3, metric=None),
]  # fmt: skip


def parquet(
    folder: Path, rows: list[dict[str, Any]] | pd.DataFrame = ROWS, name: str = "old"
) -> Path:
    path = folder / f"{name}.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


def text(folder: Path, content: str | bytes, name: str = "old") -> Path:
    path = folder / f"{name}.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def imported(store: Store, path: Path, study: str = "old", **options: Any) -> Results:
    import_table(path, study, str(store), **options)
    return Results(str(store))


# What comes in


def test_rows_become_cells_and_trials(tmp_path: Path, store: Store) -> None:
    results = imported(store, parquet(tmp_path), teachers_selected_on="test", title="Old")
    cells = results.cells("old")
    assert results.counts("old") == {
        "total": 8, "done": 7, "failed": 0, "blocked": 0, "missing": 1,
    }  # fmt: skip
    assert cells["test_metric"].tolist()[:7] == [50, 55, 55, 60, 62, 61, 64]
    first = cells.iloc[5]
    assert (first["teacher"], first["alpha"], first["switch_epoch"], first["seed"]) == (
        "small",
        0.1,
        2,
        1,
    )
    assert (first["metric_name"], first["numerics_class"], first["device_name"]) == (
        "accuracy", "imported", "imported",
    )  # fmt: skip
    assert first["code_version"].startswith("imported from old.parquet (SHA-256 ")
    assert [dict(p) for p in first["robustness"]] == [
        {"attack": "fgsm", "epsilon": 0.05, "value": 30.5}
    ]
    assert first["train_loss"].tolist() == [1.0, 0.5]
    # Seeds 2 and 3 are equally good teachers: the lower one guided all.
    chosen = cells.loc[(cells.role == "teacher") & (cells.seed == 2), "trial_id"].item()
    assert [list(ids) for ids in cells["teacher_trial_ids"][5:7]] == [[chosen]] * 2
    assert set(cells["selected_on"][5:7]) == {"test"}
    assert cells["trial_id"].str.fullmatch(r"imp-[0-9a-f]{24}").all()
    assert cells["trial_id"].is_unique


def test_csv_gives_the_same_trials(tmp_path: Path, store: Store) -> None:
    frame = pd.DataFrame(ROWS)
    frame["train_loss"] = frame["train_loss"].map(json.dumps)
    frame["alpha"] = frame["alpha"].map(lambda a: "" if np.isnan(a) else " +0.10 ")
    path = text(tmp_path, "\ufeff" + frame.to_csv(index=False, lineterminator="\r\n"))
    results = imported(store, path)
    other = Store(tmp_path / "other")
    import_table(parquet(tmp_path), "old", str(other))
    ours, theirs = results.cells("old"), Results(str(other)).cells("old")
    assert ours["trial_id"].tolist() == theirs["trial_id"].tolist()
    assert ours["switch_epoch"].tolist() == theirs["switch_epoch"].tolist()


def test_numbers_of_other_types(tmp_path: Path, store: Store) -> None:
    table = pa.table(
        {
            "role": pa.array(["baseline", "student"]).dictionary_encode(),
            "dataset": pa.array(["wine"] * 2, pa.large_string()),
            "model": ["student"] * 2,
            "teacher": [None, "small"],
            "alpha": pa.array([None, 0.1], pa.float32()),
            "switch_epoch": pa.array([0.0, 2.0]),
            "temperature": pa.array([None, 4], pa.int8()),
            "seed": pa.array([1, 1], pa.uint64()),
            "metric_name": ["mse"] * 2,
            "test_metric": pa.array([0.25, 0.5], pa.float32()),
            "train_loss": pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2)),
            "train_loss_step": [[7, 9], [5, 6]],
            "learning_rate": [0.1 + 0.2, 0.3],
        }
    )
    pq.write_table(table, tmp_path / "old.parquet")
    cells = imported(store, tmp_path / "old.parquet").cells("old")
    assert cells["alpha"].tolist()[1] == 0.1  # as it was written, not as 32 bits hold it
    assert cells["temperature"].tolist()[1] == 4.0
    assert cells["learning_rate"].tolist() == [0.3, 0.3]
    assert cells["switch_epoch"].tolist() == [pd.NA, 2]  # a baseline has none
    assert cells["train_loss"][1].tolist() == [3.0, 4.0]
    assert cells["train_loss_step"][1].tolist() == [5, 6]


def test_our_own_export_comes_back(tmp_path: Path, store: Store) -> None:
    first = imported(store, parquet(tmp_path))
    reporting.export(first, "old", tmp_path / "export.parquet")
    done = import_table(tmp_path / "export.parquet", "again", str(store))
    assert {"trial_id", "status", "code_version", "schedule"} <= set(done.left_out)
    again = Results(str(store)).cells("again")
    assert again["test_metric"].tolist()[:7] == [50, 55, 55, 60, 62, 61, 64]
    assert done.added == 0  # they say the same, so they are the same trials


def test_published_curves_have_steps(tmp_path: Path, store: Store) -> None:
    rows = [row("baseline", seed, 70.0, dataset="cifar10", train_loss=[1.0] * points)
            for seed, points in ((1, 14), (2, 15), (3, 7))]  # fmt: skip
    cells = imported(store, parquet(tmp_path, rows)).cells("old")
    assert cells["train_loss_step"][0].tolist() == [*range(100, 800, 100), *range(882, 1582, 100)]
    assert cells["train_loss_step"][1] is None
    assert cells["steps_per_epoch"].tolist() == [782, pd.NA, 782]


def test_a_parameter_of_guidance_alone_does_not_part_students_from_baselines(
    tmp_path: Path, store: Store
) -> None:
    """No baseline has a soft loss and every student has; of batch sizes both have their own."""
    rows = [
        row(role, seed, 60.0 + seed * (role == "student") + size / 32, batch_size=size,
            soft_loss=soft, **({"alpha": 0.5} if role == "student" else {}))
        for role, kinds in (("baseline", [None]), ("student", ["kl", "mse"]))
        for soft in kinds for size in (32, 64) for seed in (1, 2)
    ]  # fmt: skip
    cells = imported(store, parquet(tmp_path, rows)).cells("old")
    view = query(str(store), "SELECT * FROM cells").to_pandas()
    students = view[view.role == "student"]
    assert students["n_pairs"].tolist() == [2] * 4
    assert students["difference"].tolist() == [1.5] * 4
    agree(view, analysis.paired(cells), PAIRED)


# Once, and never mixed


def files(store: Store) -> dict[str, bytes]:
    root = Path(str(store))
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_the_same_file_twice_changes_nothing(tmp_path: Path, store: Store) -> None:
    path = parquet(tmp_path)
    imported(store, path, title="First")
    before = files(store)
    done = import_table(path, "old", str(store))
    assert (done.added, done.changed) == (0, False)
    assert files(store) == before
    imported(store, path, title="Second", note="n")
    origin = Results(str(store)).origin("old")
    assert origin is not None
    assert (origin.title, origin.note, origin.rows, origin.results) == ("Second", "n", 8, 7)


def test_another_content_needs_another_name(tmp_path: Path, store: Store) -> None:
    imported(store, parquet(tmp_path))
    other = parquet(tmp_path, [*ROWS[:-1], row(seed=3, metric=1.5)], "other")
    before = files(store)
    with pytest.raises(TableError, match=r"old.parquet .* other content .* another name"):
        import_table(other, "old", str(store))
    with pytest.raises(
        TableError, match="another name"
    ):  # the same rows, said to mean something else
        import_table(tmp_path / "old.parquet", "old", str(store), teachers_selected_on="test")
    assert files(store) == before
    assert import_table(other, "other", str(store)).added == 1  # the others are those of "old"


def test_two_imports_at_once_do_not_write_over_each_other(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = parquet(tmp_path), parquet(tmp_path, ROWS[:4], "other")

    def meanwhile(*arguments: Any) -> Any:
        monkeypatch.undo()
        import_table(other, "old", str(store))
        return importing._known(*arguments)

    monkeypatch.setattr(importing, "_known", meanwhile)
    with pytest.raises(StoreError, match="has just been imported by another"):
        import_table(path, "old", str(store))
    assert Results(str(store)).counts("old")["total"] == 4


def test_no_import_under_the_name_of_a_study_that_was_run(tmp_path: Path) -> None:
    asked = Asked(tmp_path / "results")
    with pytest.raises(TableError, match="'tiny': a study of that name was run"):
        import_table(parquet(tmp_path), "tiny", str(asked.store))
    assert asked.store.trials.files() == []


def test_imported_results_cannot_be_run(tmp_path: Path, store: Store) -> None:
    imported(store, parquet(tmp_path), "tiny")
    with pytest.raises(
        StudyError, match=r"'tiny' .* was imported from old.parquet .* another name"
    ):
        run_study(tiny_study(), str(store))
    assert Results(str(store)).counts("tiny")["total"] == 8


def test_a_damaged_study_file_keeps_nobody_from_running_or_importing(
    tmp_path: Path, store: Store
) -> None:
    imported(store, parquet(tmp_path))
    Path(store.layout.study("old")).write_bytes(b"PAR1")
    refuse_to_run(store, "old")
    import_table(tmp_path / "old.parquet", "old", str(store))
    with pytest.raises(StudyError):
        refuse_to_run(store, "old")


@pytest.mark.parametrize("text", ["{}", "no JSON", "[]", '{"imported": 1}', '{"name": "x"}'])
def test_studies_that_were_run_have_no_origin(text: str) -> None:
    assert Origin.of(text) is None


def test_an_origin_of_a_later_version_is_read(tmp_path: Path, store: Store) -> None:
    origin = imported(store, parquet(tmp_path)).origin("old")
    assert origin is not None
    about = json.loads(origin.text("old"))
    about["imported"]["of a later version"] = 1
    assert Origin.of(json.dumps(about)) == origin


def test_an_interrupted_import_is_done_again(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = parquet(tmp_path)
    monkeypatch.setattr(Store, "put_cells", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        import_table(path, "old", str(store))
    assert store.studies() == []
    monkeypatch.undo()
    assert import_table(path, "old", str(store)).added == 0
    assert Results(str(store)).counts("old")["done"] == 7


def test_damage_is_mended_by_importing_again(tmp_path: Path, store: Store) -> None:
    path = parquet(tmp_path)
    imported(store, path)
    (segment,) = store.trials.files()
    for damaged in (Path(segment), Path(store.layout.study("old"))):
        damaged.write_bytes(b"PAR1" + damaged.read_bytes()[4:-9])
    import_table(path, "old", str(store))
    store.set_aside_damaged()
    assert Results(str(store)).counts("old")["done"] == 7


# With the rest


def test_the_whole_record_says_where_it_came_from(tmp_path: Path, store: Store) -> None:
    results = imported(store, parquet(tmp_path))
    (origin,) = {str(results.origin("old"))}
    record = results.trial(results.cells("old")["trial_id"][0])
    assert record["imported"] == {"old": origin}
    assert origin.startswith("imported from old.parquet (SHA-256 ")
    (Path(str(store)) / "studies" / "other.parquet").write_bytes(b"damaged")
    assert results.trial(record["trial_id"])["imported"] == {"old": origin}
    assert record["attempts"] == []


def test_the_report_of_imported_results(tmp_path: Path, store: Store) -> None:
    results = imported(store, parquet(tmp_path), title="Results of old", note="By others.")
    reporting.write(results, "old", tmp_path / "old.html")
    page = (tmp_path / "old.html").read_text("utf-8")
    assert "Results of old" in page
    assert "By others. Imported from old.parquet (SHA-256" in page
    assert "saved by sharing" not in page


def test_merging_joins_the_same_import_and_refuses_to_mix(tmp_path: Path, store: Store) -> None:
    path = parquet(tmp_path)
    imported(store, path)
    same, other, run = (Store(tmp_path / name) for name in ("same", "other", "run"))
    import_table(path, "old", str(same))
    found = merge([same], store)
    assert (found.conflicts, found.studies, found.added) == ([], [], {})
    import_table(parquet(tmp_path, ROWS[:4], "less"), "old", str(other))
    Asked(tmp_path / "run", tiny_study(name="old"))
    for source in (other, run):
        found = merge([source], store)
        assert [(c.what, c.columns) for c in found.conflicts] == [("study old", ("imported",))]
        assert Results(str(store)).counts("old")["total"] == 8
    fresh = Store(tmp_path / "fresh")
    assert merge([store], fresh).added == {"trials": 7, "cells": 8}
    assert Results(str(fresh)).origin("old") == Results(str(store)).origin("old")


def test_nothing_of_an_import_is_garbage_and_it_hinders_no_survey(
    tmp_path: Path, store: Store
) -> None:
    results = imported(store, parquet(tmp_path))
    content = b"x"
    store.on.put(store.layout.checkpoint("abc", 3, "0" * 64), content)
    assert [item.kind for item in survey(store).garbage] == ["checkpoint"]
    assert free(store).unclear == ()
    assert results.counts("old")["done"] == 7


# What is wrong is said, and nothing is imported


def change(position: int, **more: Any) -> list[dict[str, Any]]:
    return [r | more if n == position else r for n, r in enumerate(ROWS)]


WRONG = {
    "role": (change(2, role="pupil"), r"row 3, column role: 'pupil'; must be one of teacher, "),
    "no role": (change(0, role=None), "row 1, column role: empty; every row needs one"),
    "no teacher": (
        change(5, teacher=None),
        "row 6, column teacher: empty; a student has a teacher",
    ),
    "alpha": (change(5, alpha=1.5), r"row 6, column alpha: 1\.5; must be a number, 0 to 1"),
    "switch": (change(6, switch_epoch=2.5), r"row 7, column switch_epoch: 2\.5; must be a whole"),
    "negative": (change(1, seed=-1), "row 2, column seed: -1; must be a whole number, 0 or more"),
    "infinite": (change(3, test_metric=np.inf), "row 4, column test_metric: inf; must be finite"),
    "percent": (change(3, test_metric=101.0), r"row 4, column test_metric: 101\.0; an accuracy is"),
    "attack": ([r | {"fgsm_0.05": -3.0} for r in ROWS], r"row 1, column fgsm_0\.05: -3\.0; an acc"),
    "twice": (
        [*ROWS, ROWS[5]],
        r"rows 6, 9 are one configuration and seed \(role student, dataset ",
    ),
    "dataset": ([r | {"dataset": "wine"} for r in ROWS], "the metric of wine is not known; add a "),
    "name": ([r | {"metric_name": "error"} for r in ROWS], "'error'; must be one of accuracy, mse"),
    "unknown": ([r | {"colour": 1} for r in ROWS], "column 'colour' has no place .*--drop colour"),
    "epsilons": (
        [r | {"fgsm_5e-2": 1.0} for r in ROWS],
        r"fgsm_0\.05 and fgsm_5e-2 are one attack",
    ),
    "lists": ([r | {"seed": [1]} for r in ROWS], "column seed holds list.*; must hold numbers"),
    "deep": ([r | {"train_loss": [[1.0]]} for r in ROWS], "must hold lists of numbers"),
    "steps": (
        [r | {"train_loss_step": [1]} for r in ROWS],
        "row 1, column train_loss_step: 1; val",
    ),
    "falling": (
        [r | {"train_loss_step": [2, 2]} for r in ROWS],
        r"step: \[2, 2\]; must rise from 1 or more",
    ),
    "from zero": ([r | {"train_loss_step": [0, 1]} for r in ROWS], "must rise from 1 or more"),
    "long": (change(0, model="m" * 201), "must be at most 200 printable characters"),
    "markup": (
        change(0, dataset="<a href=x>"),
        "must be at most 200 printable characters other than < and >",
    ),
    "control": (change(0, model="a\nb"), r"row 1, column model: 'a\\nb'; must be at most"),
    "bool": ([r | {"alpha": True} for r in ROWS], "column alpha holds bool; must hold numbers"),
    "nothing": ([], "missing columns role"),
}
WRONG |= {
    "text": (
        [{**r, "test_metric": "good" if n == 4 else str(r["test_metric"] or "")}
         for n, r in enumerate(ROWS)],
        "row 5, column test_metric: 'good'; must be a number, with a point",
    ),
    "names": (
        [{**r, "metric_name": "mse" if n == 1 else "accuracy"} for n, r in enumerate(ROWS)],
        "column metric_name: digits has accuracy, mse; one is allowed",
    ),
    "fractions": (
        [{**r, "fgsm_0.05": None, "test_metric": r["test_metric"] and r["test_metric"] / 100} for r in ROWS],
        r"no accuracy of digits is above 0\.64; it must be in percent",
    ),
    "loss": (
        [{**r, "train_loss": [1.0, np.inf] if n == 2 else [1.0]} for n, r in enumerate(ROWS)],
        r"row 3, column train_loss: \[1\.0, inf\]; every entry must be a finite number",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_table_is_refused(tmp_path: Path, store: Store, what: str) -> None:
    rows, message = WRONG[what]
    with pytest.raises(TableError, match=message):
        import_table(parquet(tmp_path, rows), "old", str(store))
    assert not store.is_there()


HEAD = "role,dataset,model,teacher,seed,test_metric\n"
WRONG_TEXT: dict[str, tuple[str | bytes, str]] = {
    "not utf-8": (HEAD.encode() + b"baseline,digits,student,,1,60\nbaseline,caf\xe9,s,,1,1\n",
                  r"is not UTF-8 text: byte 0xe9 in line 3"),
    "nan": (HEAD + "baseline,digits,student,,1,nan\n", "row 1, column test_metric: 'nan'; must be a"),
    "comma": (HEAD + 'baseline,digits,student,,1,"60,5"\n', "'60,5'; must be a number, with a point"),
    "underscore": (HEAD + "baseline,digits,student,,1_0,60\n", "column seed: '1_0'; must be a whole"),
    "huge": (HEAD + "baseline,digits,student,,1,1e999\n", "'1e999'; must be finite"),
    "large": (HEAD + "baseline,digits,student,,99999999999999999999,60\n", "column seed: '9+'; must"),
    "semicolons": (HEAD.replace(",", ";") + "baseline;digits;student;;1;60\n", "missing columns role"),
    "ragged": (HEAD + "baseline,digits,student,,1\n", "is no table: CSV parse error: "),
    "header": (HEAD, "has no rows"),
    "nothing": ("", "missing columns role"),
    "two": (HEAD.replace("teacher", "model") + "baseline,digits,s,,1,60\n", "two columns 'model'"),
    "spaces": (HEAD + "baseline ,digits,student,,1,60\n", "column role: 'baseline '; must be at most"),
    "json": (HEAD.replace("teacher", "train_loss") + 'baseline,digits,student,"[1, x]",1,60\n',
             r"row 1, column train_loss: '\[1, x\]'; must be a JSON list of finite numbers"),
    "no list": (HEAD.replace("teacher", "train_loss") + "baseline,digits,student,3,1,60\n",
                "must be a JSON list"),
    "deep": (HEAD.replace("teacher", "train_loss") + f"baseline,digits,student,{'[' * 100_000},1,60\n",
             r"column train_loss: '\[\[\[.*must be a JSON list"),
    "json nan": (HEAD.replace("teacher", "train_loss") + 'baseline,digits,student,"[NaN]",1,60\n',
                 "every entry must be a finite number"),
    "nul": (HEAD + "baseline,digits,stu\0dent,,1,60\n", r"'stu\\x00dent'; must be at most"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG_TEXT)
def test_a_wrong_csv_is_refused(tmp_path: Path, store: Store, what: str) -> None:
    content, message = WRONG_TEXT[what]
    with pytest.raises(TableError, match=message):
        import_table(text(tmp_path, content), "old", str(store))
    assert not store.is_there()


@pytest.mark.parametrize("name", ["", "Old", "a b", "../x", "x" * 65, "é"])
def test_a_wrong_name_is_refused(tmp_path: Path, store: Store, name: str) -> None:
    with pytest.raises(TableError, match=r"--study .*: must be 1 to 64 lower-case letters"):
        import_table(parquet(tmp_path), name, str(store))
    assert not store.is_there()


def test_other_mistakes(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path)
    for other, message in (
        (tmp_path / "none.csv", "there is no such file"),
        (tmp_path, "must end in"),
    ):
        with pytest.raises(TableError, match=message):
            import_table(other, "old", str(store))
    with pytest.raises(TableError, match="has no column 'colour' to leave out"):
        import_table(path, "old", str(store), drop=["colour"])
    with pytest.raises(TableError, match="missing columns seed"):
        import_table(path, "old", str(store), drop=["seed"])
    with pytest.raises(TableError, match="--title: must be at most 1,000 printable"):
        import_table(path, "old", str(store), title="a\nb")
    students = parquet(tmp_path, ROWS[3:], "students")
    with pytest.raises(
        TableError, match=r"row 3, column teacher: 'small'; .* no teacher 'small' of d"
    ):
        import_table(students, "old", str(store), teachers_selected_on="test")
    (tmp_path / "bad.parquet").write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TableError, match=r"bad\.parquet: is no Parquet file that can be read"):
        import_table(tmp_path / "bad.parquet", "old", str(store))
    monkeypatch.setattr("sweep.plain.MAX_ROWS", 7)
    with pytest.raises(TableError, match="has 8 rows; at most 7 are allowed"):
        import_table(path, "old", str(store))
    monkeypatch.setattr("sweep.plain.MAX_BYTES", 100)
    with pytest.raises(TableError, match="is larger than 100 bytes"):
        import_table(path, "old", str(store))
    assert issubclass(TableError, SweepError)
    assert not store.is_there()


def test_what_has_no_place_is_left_out_on_request(tmp_path: Path, store: Store) -> None:
    path = parquet(tmp_path, [r | {"colour": "red"} for r in ROWS])
    done = import_table(path, "old", str(store), drop=["colour"])
    assert (done.left_out, done.results) == (("colour",), 7)


# The published trials


def test_the_published_trials(reference_dir: Path, tmp_path: Path) -> None:
    path = reference_dir / "thesis-trials.parquet"
    if not path.is_file():
        pytest.skip(f"published trials not found: {path}")
    done = import_table(path, "published", tmp_path, teachers_selected_on="test")
    assert (done.rows, done.results, done.added) == (4170, 4170, 4170)
    cells = Results(tmp_path).cells("published")
    theirs = reference.read(path, teachers_selected_on="test")
    assert (
        analysis.teacher_table(cells)["chosen"].tolist()
        == analysis.teacher_table(theirs)["chosen"].tolist()
    )
    everything = query(tmp_path, "SELECT * FROM cells").to_pandas()
    assert len(everything) == 278
    agree(everything, analysis.summarise(theirs), {moment: moment for moment in MOMENTS})
    agree(everything, analysis.paired(theirs), PAIRED)
    means = everything[everything.role == "baseline"].set_index("dataset")["mean"]
    assert means["cifar10"] == pytest.approx(76.93, abs=0.005)
    assert means["california_housing"] == pytest.approx(0.1972, abs=0.00005)
    (best,) = query(
        tmp_path,
        "SELECT teacher, alpha, switch_epoch, difference FROM cells "
        "WHERE dataset = 'cifar10' AND role = 'student' ORDER BY mean DESC LIMIT 1",
    ).to_pylist()
    assert best == {"teacher": "small", "alpha": 0.9, "switch_epoch": 15,
                    "difference": pytest.approx(0.75, abs=0.005)}  # fmt: skip
    assert cells.loc[0, "train_loss_step"].tolist() == list(range(1, 1501))
