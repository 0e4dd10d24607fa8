"""The command line, in this process: what it prints, its exit status, its messages."""

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest

from sweep import cli
from sweep.results import Results

STUDY = """
name = "tiny"
title = "A tiny study"
question = "Does it work?"
seeds = [1, 2]

[grid]
teacher = ["small"]
alpha = [0.1, 1.0]
switch_epoch = [0, 1, 2]

[recipe]
epochs = 2
batch_size = 32

[split]
train_size = 128
validation = 0.1

[evaluation]
fgsm_epsilons = [0.05]
keep = "weights"

[datasets.digits]
student = "medium"
"""

CELLS = 2 + 2 + 2 * 6
TRIALS = 2 + 2 + 2 * 2


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "tiny.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def results(study: Path) -> Path:
    """The tiny study, run through the command line."""
    folder = study.parent / "results"
    command = [sys.executable, "-c", "from sweep.cli import main; main()", "run", str(study)]
    done = subprocess.run(
        [*command, "--local", "--results", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{TRIALS} trained" in done.stdout
    assert f"{TRIALS}/{TRIALS} trials done" in done.stdout
    return folder


class Sweep:
    """Calls the command line and keeps what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._capsys, self._patch = capsys, patch

    def __call__(self, *arguments: object, status: int = 0) -> str:
        self._patch.setattr(sys, "argv", ["sweep", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, self.err = self._capsys.readouterr()
        assert (ended.value.code or 0) == status, out + self.err
        return out

    def json(self, *arguments: object) -> object:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def sweep(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sweep:
    return Sweep(capsys, monkeypatch)


def test_plan_counts(sweep: Sweep, study: Path, tmp_path: Path) -> None:
    plan = sweep.json("plan", study, "--results", tmp_path / "none")
    assert (plan["cells"], plan["trials"], plan["todo"], plan["done"]) == (CELLS, TRIALS, TRIALS, 0)
    assert plan["by_role"] == {"student": 4, "baseline": 2, "teacher": 2}
    assert plan["epochs_naive"] == 16
    assert plan["epochs_planned"] == 4 * 2 + 2 * 3
    assert plan["epochs_planned_by_role"] == {"student": 6, "baseline": 4, "teacher": 4}
    assert plan["epochs_naive_by_dataset"] == {"digits": 16}
    assert not (tmp_path / "none").exists()


def test_plan_after_the_run_estimates_what_more_would_take(
    sweep: Sweep, study: Path, results: Path
) -> None:
    plan = sweep.json("plan", study, "--results", results, "--set", "seeds=[1,2,3]", "--workers", 2)
    assert (plan["done"], plan["todo"]) == (4, 8)  # a third teacher is a new rule
    assert plan["estimate"]["seconds"] > 0
    text = sweep("plan", study, "--results", results)
    assert "at most" not in text
    stop = sweep("plan", study, "--results", results, "--set", "recipe.early_stop.patience=1")
    assert f"at most: {TRIALS} trials may stop early" in stop
    assert f"{TRIALS} done, 0 to do" in text


def test_run_again_trains_nothing(sweep: Sweep, study: Path, results: Path) -> None:
    out = sweep("run", study, "--results", results)
    assert f"0 trained, {TRIALS} were done" in out


def test_status_and_trials(sweep: Sweep, study: Path, results: Path) -> None:
    (row,) = sweep.json("status", study, "--results", results)["studies"]
    assert row == {
        "study": "tiny", "total": TRIALS, "done": TRIALS, "failed": 0, "blocked": 0, "missing": 0,
        "running": 0,
    }  # fmt: skip
    assert "tiny" in sweep("status", "--results", results)
    origins = sweep.json("status", "--results", results)["origins"]
    assert [sum(found.values()) for found in origins.values()] == [TRIALS] * 3
    every = sweep.json("trials", "tiny", "--results", results, "--limit", 0)
    assert len(every) == CELLS
    chosen = sweep.json(
        "trials", "tiny", "--results", results, "--only", "role=student alpha=0.1 switch_epoch>=1"
    )
    assert {(r["alpha"], r["switch_epoch"]) for r in chosen} == {(0.1, 1), (0.1, 2)}
    assert len(sweep.json("trials", "--results", results)) == TRIALS


def test_show_gives_the_whole_record_by_prefix(sweep: Sweep, results: Path) -> None:
    first = sweep.json("trials", "tiny", "--results", results, "--only", "role=baseline")[0]
    record = sweep.json("show", first["trial_id"][:10], "--results", results)
    assert record["trial_id"] == first["trial_id"]
    assert record["attempts"][0]["status"] == "done"
    assert len(record["per_class"]) == 10
    assert sum(map(sum, record["confusion"])) == 360  # the test rows of digits
    assert "confusion" in sweep("show", first["trial_id"], "--results", results)
    assert "no trial" in _refused(sweep, "show", "zzz", "--results", results)


def test_query(sweep: Sweep, results: Path) -> None:
    rows = sweep.json("query", "SELECT count(*) AS n FROM trials", "--results", results)
    assert rows == [{"n": TRIALS}]
    rows = sweep.json("query", "SELECT count(*) AS n FROM requested", "--results", results)
    assert rows == [{"n": CELLS}]
    rows = sweep.json("query", "SELECT count(*) AS n FROM robustness", "--results", results)
    assert rows == [{"n": TRIALS}]
    rows = sweep.json(
        "query", "SELECT max(epoch) AS last, count(*) AS n FROM curves", "--results", results
    )
    assert rows == [{"last": 2.0, "n": 2 * TRIALS}]  # 4 steps an epoch: one point each
    out = sweep("query", "SELECT role FROM trials", "--results", results, "--format", "csv")
    assert out.splitlines()[0] == "role"


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE trials",
        "SELECT 1; SELECT 2",
        "COPY trials TO '/tmp/x.csv'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "ATTACH 'x.db'",
        "SELECT nonsense FROM trials",
        "not sql",
        "",
    ],
)
def test_query_refuses_anything_but_a_select_on_the_views(
    sweep: Sweep, results: Path, sql: str
) -> None:
    assert _refused(sweep, "query", sql, "--results", results)


def test_evaluate_adds_points_to_kept_weights(sweep: Sweep, study: Path, results: Path) -> None:
    options = ("--results", results, "--local", "--fgsm-epsilons", "0.05,0.3")
    done = sweep.json("evaluate", study, *options)
    assert (done["evaluated"], done["without_weights"]) == (TRIALS, 0)
    sql = "SELECT trial_id, epsilon, value FROM robustness ORDER BY trial_id, epsilon"
    rows = sweep.json("query", sql, "--results", results)
    assert len(rows) == 2 * TRIALS
    for weak, strong in zip(rows[::2], rows[1::2], strict=True):
        assert (weak["epsilon"], strong["epsilon"]) == (0.05, 0.3)
        assert strong["value"] <= weak["value"]
    again = sweep.json("evaluate", study, *options)
    assert (again["evaluated"], again["complete"]) == (0, TRIALS)
    sql = "SELECT count(*) AS n FROM robustness WHERE epsilon = 0.3"
    # one that was measured in training, measured again from the weights, is the same
    (results / "evaluations").rename(results / "evaluations-aside")
    assert sweep.json("query", sql, "--results", results) == [{"n": 0}]
    (results / "evaluations-aside").rename(results / "evaluations")
    assert sweep.json("query", sql, "--results", results) == [{"n": TRIALS}]


def test_evaluate_takes_the_settings_of_attacks_as_options(
    sweep: Sweep, study: Path, results: Path, tmp_path: Path
) -> None:
    results = shutil.copytree(results, tmp_path / "results")
    options = (
        "--results", results, "--local", "--only", "role=student", "--seeds", "1",
        "--fgsm-epsilons", "0.2", "--fgsm-samples", "all", "--no-fgsm-clip",
        "--weight-noise", "0.1", "--weight-noise-redraw", "batch", "--noise-repeats", "1",
    )  # fmt: skip
    assert sweep.json("evaluate", study, *options)["evaluated"] == 3
    sql = (
        "SELECT attack, epsilon, count(*) AS n FROM robustness "
        "WHERE attack LIKE '%all%' OR attack LIKE '%batch%' GROUP BY ALL ORDER BY attack"
    )
    assert sweep.json("query", sql, "--results", results) == [
        {"attack": "fgsm-all-unclipped", "epsilon": 0.2, "n": 3},
        {"attack": "weight_noise-batch-mean1", "epsilon": 0.1, "n": 3},
    ]
    assert sweep.json("evaluate", study, *options)["complete"] == 3


def test_evaluate_measures_the_validation_rows_where_the_study_asks_for_it(
    sweep: Sweep, study: Path, results: Path, tmp_path: Path
) -> None:
    results = shutil.copytree(results, tmp_path / "results")
    options = (
        "--results", results, "--local", "--only", "role=student", "--seeds", "1",
        "--set", "evaluation.validation=true", "--fgsm-epsilons", "0.05,0.2",
    )  # fmt: skip
    assert sweep.json("evaluate", study, *options)["evaluated"] == 3
    rows = Results(results).trial_table().to_pylist()
    found = [row for row in rows if row["validation_robustness"] is not None]
    assert len(found) == 3
    for row in found:
        points = {p["epsilon"]: p["value"] for p in row["validation_robustness"]}
        tested = {p["epsilon"]: p["value"] for p in row["robustness"]}
        assert set(points) == {0.05, 0.2} == set(tested) - {0.3}  # which a test above measured
        # Percent of the validation rows, whose number is another than that of the test rows.
        assert points[0.2] <= points[0.05] <= row["validation_metric"]
        assert points[0.2] != tested[0.2]
    assert not [
        p for row in rows if row not in found for p in row["robustness"] if p["epsilon"] == 0.2
    ]
    sql = (
        "SELECT count(*) AS n, count(DISTINCT trial_id) AS trials FROM "
        "(SELECT trial_id, unnest(validation_robustness) FROM trials)"
    )
    assert sweep.json("query", sql, "--results", results) == [{"n": 6, "trials": 3}]
    assert sweep.json("evaluate", study, *options)["complete"] == 3


ATTACKS = (
    "--pgd-epsilons", "0.05", "--input-noise", "0.5", "--weight-noise", "0.1,0.2",
    "--noise-repeats", "2",
)  # fmt: skip


def test_evaluate_measures_each_attack_once_and_only_what_is_chosen(
    sweep: Sweep, study: Path, results: Path
) -> None:
    def evaluate(*more: str) -> tuple[int, int]:
        done = sweep.json("evaluate", study, "--results", results, "--local", *more)
        assert (done["without_weights"], done["failures"]) == (0, [])
        return done["evaluated"], done["complete"]

    def points(**trials: object) -> dict[tuple[str, float], list[float]]:
        found = defaultdict(list)
        for row in Results(results).trial_table().to_pylist():
            if all(row[key] == value for key, value in trials.items()):
                for point in row["robustness"]:
                    found[point["attack"], point["epsilon"]].append(point["value"])
        return found

    def counts(**trials: object) -> dict[tuple[str, float], int]:
        return {key: len(v) for key, v in points(**trials).items() if key[0] != "fgsm"}

    student = ("--only", "role=student", "--seeds", "1")
    # Students of seed 1: two that are guided, and the baseline, which is the student at alpha 1.
    assert evaluate(*ATTACKS, *student) == (3, 0)
    noise = {("input_noise-mean2", 0.5): 3, ("weight_noise-mean2", 0.1): 3,
             ("weight_noise-mean2", 0.2): 3}  # fmt: skip
    assert counts() == counts(seed=1) == {("pgd", 0.05): 3, **noise}
    assert counts(role="teacher") == {}
    assert evaluate(*ATTACKS, *student) == (0, 3)
    # Other settings are another attack, and do not stand in for the default ones.
    assert evaluate("--pgd-epsilons", "0.05", "--pgd-steps", "3", *student) == (3, 0)
    assert counts() == {("pgd", 0.05): 3, ("pgd-3", 0.05): 3, **noise}
    assert evaluate(*ATTACKS) == (TRIALS - 3, 3)
    found = points()
    assert len(found["pgd", 0.05]) == TRIALS
    assert all(p <= f for p, f in zip(found["pgd", 0.05], found["fgsm", 0.05], strict=True))


def test_evaluate_without_strengths_measures_those_of_the_study(
    sweep: Sweep, study: Path, results: Path
) -> None:
    options = ("--results", results, "--local", "--set", "evaluation.fgsm_epsilons=[0.05, 0.4]")
    done = sweep.json("evaluate", study, *options, "--only", "role=teacher")
    assert (done["evaluated"], done["complete"]) == (2, 0)
    done = sweep.json("evaluate", study, "--results", results, "--local")
    assert (done["evaluated"], done["complete"]) == (0, TRIALS)


def test_a_trial_records_its_zero_gradients(results: Path) -> None:
    zero = Results(results).trial_table()["zero_gradients_percent"].to_pylist()
    assert len(zero) == TRIALS
    assert all(0 <= share < 5 for share in zero)


def test_export_compare_and_report(
    sweep: Sweep, study: Path, results: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tidy.parquet"
    sweep("export", "tiny", file, "--results", results)
    frame = pd.read_parquet(file)
    assert len(frame) == CELLS
    assert {"test_metric", "fgsm_0.05", "alpha", "seed", "train_loss"} <= set(frame.columns)
    sweep("export", "tiny", tmp_path / "tidy.csv", "--results", results)
    assert len(pd.read_csv(tmp_path / "tidy.csv")) == CELLS
    assert "must end with" in _refused(
        sweep, "export", "tiny", tmp_path / "tidy.xls", "--results", results
    )
    rows = sweep.json("compare", "tiny", file, "--results", results)
    assert rows
    assert all(row["difference"] == 0 for row in rows)
    assert "does not exist" in _refused(
        sweep, "compare", "tiny", "no.parquet", "--results", results
    )
    _compare_with_margin_and_figure(sweep, results, frame, tmp_path)
    done = sweep.json("report", "tiny", "--results", results)
    page = Path(done["report"]).read_text()
    assert "A tiny study" in page
    assert "<script src" not in page


def _compare_with_margin_and_figure(
    sweep: Sweep, results: Path, frame: pd.DataFrame, folder: Path
) -> None:
    # The reference has every cell, moved by 30 points, and one configuration more.
    moved = frame.assign(test_metric=frame["test_metric"] + 30.0)
    more = frame[frame["role"] == "baseline"].assign(role="teacher", model="other")
    reference = folder / "reference.parquet"
    pd.concat([moved, more]).drop(columns="trial_id").to_parquet(reference)
    options = ("--results", results, "--margin", "accuracy=31")
    rows = sweep.json("compare", "tiny", reference, *options)
    assert {row["margin"] for row in rows} == {31.0}
    assert {round(row["difference"], 6) for row in rows} == {-30.0}
    assert {"p_equivalent", "p_equivalent_holm", "differs", "verdict"} <= set(rows[0])
    everything = sweep.json("compare", "tiny", reference, *options, "--reference-only")
    assert len(everything) == len(rows) + 1
    assert [row["verdict"] for row in everything if row["n_ours"] == 0] == ["cannot say"]
    page = folder / "figures" / "compared.html"
    said = sweep("compare", "tiny", reference, *options, "--figure", page)
    assert "31.00 points on Digits" in said
    assert f"figure: {page}" in said
    text = page.read_text(encoding="utf-8")
    assert "ours − reference" in text or r"ours \u2212 reference" in text
    assert 'src="http' not in text
    assert page.stat().st_size > 1e6  # the plotting library is inside
    for option, message in (
        (("--margin", "accuracy"), "--margin 'accuracy' is not METRIC=VALUE"),
        (("--margin", "mse=0.1"), "margin: 'mse' is not a metric of these results (accuracy)"),
        (("--margin", "accuracy=0"), "must be above zero"),
        (("--figure", "x.gif"), "x.gif"),
    ):
        assert message in _refused(
            sweep, "compare", "tiny", reference, "--results", results, *option
        )


def _refused(sweep: Sweep, *arguments: object) -> str:
    assert sweep(*arguments, status=2) == ""
    assert "Traceback" not in sweep.err
    return sweep.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "nosuch"], "unknown study 'nosuch'"),
        (["plan", "quickstart", "--set", "recipe.epoch=3"], "unknown key 'recipe.epoch'"),
        (["plan", "quickstart", "--set", "grid.alpha=[2]"], "grid.alpha[0] = 2"),
        (["plan", "quickstart", "--only", "nosuch=1"], "'nosuch'"),
        (["plan", "quickstart", "--seeds", "0"], "--seeds 0"),
        (["run", "quickstart", "--local", "--address", "x"], "--local and --address"),
        (["run", "quickstart", "--gpus-per-trial", "2"], "--gpus-per-trial 2"),
        (["run", "quickstart", "--workers", "0"], "--workers 0"),
        (["retry", "quickstart", "--kind", "bad"], "--kind 'bad'"),
        (["status", "--results", "no/such/folder"], "does not exist"),
        (["data", "fetch", "nosuch"], "nosuch"),
        (["evaluate", "quickstart", "--fgsm-epsilons", "a"], "--fgsm-epsilons 'a'"),
        (["evaluate", "quickstart", "--weight-noise", "1,-2"], "--weight-noise -2.0: must be 0"),
        (["evaluate", "quickstart", "--pgd-steps", "0"], "evaluation.pgd_steps = 0"),
        (
            ["evaluate", "quickstart", "--input-noise-kind", "pink"],
            "evaluation.input_noise_kind = 'pink'",
        ),
        (["evaluate", "quickstart", "--pgd-step-size", "nan"], "evaluation.pgd_step_size = NaN"),
        (["evaluate", "quickstart", "--seeds", "0"], "--seeds 0"),
        (["evaluate", "quickstart", "--only", "nosuch=1"], "--only 'nosuch'"),
    ],
)
def test_a_mistake_is_one_message_and_status_2(
    sweep: Sweep, arguments: list[str], message: str
) -> None:
    assert message in _refused(sweep, *arguments)


def test_a_study_that_was_never_run_is_named(sweep: Sweep, results: Path) -> None:
    message = _refused(sweep, "report", "quickstart", "--results", results)
    assert "'quickstart' was never run" in message
    assert "tiny" in message


def test_smoke_only_tries_every_configuration(sweep: Sweep, study: Path, tmp_path: Path) -> None:
    out = sweep("run", study, "--smoke-only", "--local", "--results", tmp_path / "r")
    # a teacher, the baseline, and alpha 0.1 switching or not
    assert "smoke run: 4 trained" in out
    assert not (tmp_path / "r").exists()


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['sweep', '--help']\n"
        "from sweep.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'pandas', 'pyarrow', 'plotly', 'duckdb'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "report" in done.stdout


def test_studies_lists_all_with_sizes_and_keys(sweep: Sweep) -> None:
    rows = {row["study"]: row for row in sweep.json("studies")}
    assert rows["thesis"]["trials"] == 6255
    assert {"quickstart", "thesis-cifar10", "thesis-fashion-mnist", "thesis-california"} <= set(
        rows
    )
    keys = {row["key"] for row in sweep.json("studies", "--keys")}
    assert {"seeds", "grid.alpha", "recipe.epochs", "datasets.NAME.student"} <= keys


def test_data_list_and_verify(sweep: Sweep, tmp_path: Path) -> None:
    rows = {row["name"]: row for row in sweep.json("data", "list", "--data", tmp_path)}
    assert rows["digits"]["present"]
    assert not rows["cifar10"]["present"]
    assert "is as it should be" in sweep("data", "verify", "digits", "--data", tmp_path)


def test_status_counts_failed_attempts_of_the_study_alone(sweep: Sweep, tmp_path: Path) -> None:
    from sweep.cells import demand
    from sweep.execution.base import WorkerSetup
    from sweep.execution.local import LocalExecutor
    from sweep.records import cell_row
    from sweep.run import run
    from sweep.store import Store
    from tests.sweep.tiny import FakeTraining, tiny_study

    store = Store(tmp_path)
    for name, fails in (("good", None), ("bad", ValueError("boom"))):
        study = tiny_study(name=name, **{"recipe.epochs": 3 if fails is None else 4})
        executor = LocalExecutor(WorkerSetup(runner=FakeTraining(lambda _, error=fails: error)))
        with store.writing():
            wanted = demand(study, store)
            store.write_cells(name, [cell_row(cell) for cell in wanted.chosen], study.to_json())
            run(wanted, store, executor)
        executor.stop()
    assert sweep.json("status", "good", "--results", tmp_path)["failed_attempts"] == {}
    # two teachers and two baselines; the students are blocked and never tried
    assert sweep.json("status", "bad", "--results", tmp_path)["failed_attempts"] == {"bug": 4}
    assert "failed attempts: 4 bug" in sweep("status", "--results", tmp_path)


def test_attribute_asks_kept_networks_where_they_look(
    sweep: Sweep, study: Path, results: Path, tmp_path: Path
) -> None:
    results = shutil.copytree(results, tmp_path / "results")
    options = (study, "--results", results, "--local", "--images", "4", "--background", "8")
    done = sweep.json("attribute", *options, "--only", "role=baseline")
    assert done == {
        "attributed": 2, "complete": 0, "without_weights": 0, "without_images": 0,
        "segmentation": "border-otsu", "failures": [],
    }  # fmt: skip
    out = sweep("attribute", *options)
    assert f"{TRIALS - 2}/{TRIALS - 2} networks asked where they look" in out
    assert "(objects: border-otsu), 2 had been asked, 0 without kept weights, 0 failed" in out
    sql = "SELECT count(*) AS n, min(share) >= 0 AND max(share) <= 1 AS fits FROM attributions"
    assert sweep.json("query", sql, "--results", results) == [{"n": 4 * TRIALS, "fits": True}]
    assert sweep.json("trials", study, "--results", results)  # says nothing of it, and works

    for wrong, said in (
        (("--images", "0"), "--images = 0: must be an integer from 1"),
        (("--explains", "loss"), "--explains = 'loss': must be one of label, predicted"),
        (("--masks", tmp_path / "no.npz"), "no.npz': No such file"),
        (("--only", "role=student", "--seeds", "0"), "--seeds 0"),
    ):
        sweep("attribute", *options, *wrong, status=2)
        assert said in sweep.err
