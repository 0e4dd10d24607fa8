import re
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

from analysis import tables
from analysis.effects import factor_effects
from analysis.findings import study_findings
from analysis.report import ReportInfo, render_report, write_report
from tests.analysis.tables import SEEDS, cell, grid, small_study, table

FEW = {"teachers": ("small",), "alphas": (0.1,), "epochs": (1, 2)}
INFO = ReportInfo(study="quickstart", title="A title", question="Does it help?", study_toml="a = 1")


class Page(HTMLParser):
    """Collects what a page would load, its ids, its text and its script texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.tags: list[str] = []
        self._inside = ""
        # The plotting library is megabytes, and not ours to parse.
        self.feed(text.replace(get_plotlyjs(), ""))

    def handle_starttag(self, tag, attrs):
        self._inside = tag
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.add(value)
            elif name in ("src", "srcset", "poster", "data", "action", "background") or (
                name == "href" and not value.startswith("#")
            ):
                self.loads.append(value)

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "style":
            self.loads += re.findall(r"url\(|@import", data)
        elif self._inside != "script":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def published_report(published, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(published, None, INFO, path)
    return path


def test_published_report_is_whole_and_loads_nothing(published_report):
    assert published_report.stat().st_size < 15e6
    page = Page(published_report.read_text(encoding="utf-8"))
    assert page.loads == []
    assert "link" not in page.tags
    assert {"summary", "dataset-1", "dataset-2", "missing", "method", "provenance"} <= page.ids
    drawn = ("switch", "heat", "seeds", "loss", "convergence", "attack1", "attack1-lines")
    assert {f"f{d}-0-{name}" for d in "01" for name in drawn} <= page.ids
    assert {"f0-teachers", "f1-teachers", "f0-effects", "f1-effects", "questions"} <= page.ids
    assert "default-src 'none'" in published_report.read_text(encoding="utf-8")


def test_what_was_expected_is_held_against_what_was_found():
    expected = ({"dataset": None, "teacher": "small", "alpha": [0.9], "switch_epoch": []},)
    info = ReportInfo(study="quickstart", expected=expected)
    text = Page(render_report(grid(seeds=range(1, 8)), None, info)).text
    assert "Expected and found" in text
    assert "small teacher, alpha 0.9" in text
    assert "Expected and found" not in Page(render_report(grid(**FEW), None, INFO)).text


def test_published_report_states_the_known_facts(published_report):
    text = Page(published_report.read_text(encoding="utf-8")).text
    assert "Best: small teacher, alpha 0.9, switch 15 with 77.69 %" in text
    assert "+0.75 points against the baseline's 76.93 %" in text
    assert "Teachers were chosen on the test split (California Housing and CIFAR-10)" in text
    assert (
        "Of 135 configurations none came out better and 11 worse than the baseline of the same seeds "
        "(paired t test, 5 % level, corrected after Holm for all configurations of the study)"
    ) in text
    # counts that statsmodels' corrections give as well (tests/analysis/test_pairs.py)
    assert "4 count as better and 25 as worse; without any correction 4 and 46" in text
    assert "With other seeds it would be the best again in 68 % of cases" in text
    assert "CIFAR-10: both losses to the end are worse, on average" in text
    assert "4,170 of 4,170" in text
    assert "Every requested cell has a result." in text


def test_names_from_users_are_escaped():
    hostile = '<script>alert("x")</script>'
    frame = grid(**FEW).replace({"dataset": {"digits": "</script><img src=x onerror=alert(1)>"}})
    info = ReportInfo(
        study=hostile, title=hostile, question=hostile, study_toml=hostile, command=hostile
    )
    html = render_report(frame, None, info)
    page = Page(html)
    assert page.loads == []
    assert "img" not in page.tags
    assert page.tags.count("script") == 3
    assert hostile not in html
    assert hostile in page.text


def test_missing_and_failed_cells_are_listed():
    frame = small_study()
    failed = (frame["switch_epoch"] == 3).fillna(False) & (frame["seed"] == 38)
    frame.loc[failed, ["status", "test_metric"]] = ["failed", None]
    trial = frame.loc[failed, "trial_id"].iloc[0]
    attempts = pd.DataFrame(
        {
            "trial_id": [trial, trial],
            "kind": ["worker_lost", "diverged"],
            "message": ["node gone", "loss is not finite"],
            "traceback": [None, "Traceback\n  <module>\nFloatingPointError"],
            "finished_at": pd.to_datetime(["2025-01-01", "2025-01-02"]),
        }
    )
    page = Page(render_report(frame, attempts, INFO))
    assert "failed Digits small teacher, alpha 0.1, switch 3 38 diverged loss is not finite" in (
        page.text
    )
    assert "missing Digits small teacher, alpha 0.1, switch 3 2056" in page.text
    assert "FloatingPointError" in page.text
    assert "7 of 9" in page.text


def test_failed_attempts_are_counted_by_kind():
    attempts = pd.DataFrame(
        [
            ("a", "timed_out", "failed", "n1"),
            ("a", "worker_lost", "retried", "n2"),
            ("a", "worker_lost", "retried", "n1"),
            ("b", "worker_lost", "failed", "n1"),
            ("b", None, "done", "n3"),
        ],
        columns=["trial_id", "kind", "status", "node"],
    )
    table = tables.failed_attempts(attempts)
    assert [tuple(entry.text for entry in row) for row in table.rows] == [
        ("timed_out", "1", "0", "1", "n1"),
        ("worker_lost", "1", "2", "2", "n1, n2"),
    ]
    assert tables.failed_attempts(attempts[attempts["kind"].isna()]) is None
    assert tables.failed_attempts(None) is None
    page = Page(render_report(small_study(), attempts, INFO))
    assert "Attempts that failed, by what went wrong" in page.text
    assert "worker_lost 1 2 2 n1, n2" in page.text


def test_choosing_on_validation_is_not_warned_about():
    text = Page(render_report(grid(**FEW), None, INFO)).text
    assert "chosen on the test split" not in text
    assert "chosen on validation" in text


def without_alpha(cells: pd.DataFrame) -> pd.DataFrame:
    """Students of which nobody wrote down alpha and switch epoch, one per seed and teacher."""
    cells.loc[cells["role"] == "student", ["alpha", "switch_epoch"]] = None
    return cells.drop_duplicates(["role", "model", "teacher", "seed"])


@pytest.mark.parametrize(
    "frame",
    [
        grid(**FEW)[lambda f: f["role"] != "student"],
        grid(**FEW)[lambda f: f["role"] == "teacher"],
        grid(**FEW)[lambda f: f["role"] != "baseline"],
        grid(**FEW, seeds=(1,)),
        grid(**FEW, attacked=False),
        without_alpha(grid(**FEW)),
        table([cell("baseline", 1, None), cell("student", 1, None), cell("teacher", 1, None)]),
    ],
    ids=[
        "no student",
        "teachers only",
        "no baseline",
        "one seed",
        "no attack",
        "no alpha",
        "nothing done",
    ],
)
def test_reports_of_odd_studies(frame):
    page = Page(render_report(frame, None, INFO))
    assert {"summary", "dataset-1", "missing", "method", "provenance"} <= page.ids


def test_two_datasets_and_variants_get_their_own_figures():
    warm = [grid(**FEW).assign(temperature=t) for t in (1.0, 4.0)]
    frame = pd.concat([*warm, grid("california_housing", "mse", **FEW)])
    frame["trial_id"] += frame["temperature"].astype(str).where(frame["role"] == "student", "")
    page = Page(render_report(frame, None, INFO))
    assert {"f0-0-heat", "f1-0-heat", "f1-1-heat"} <= page.ids
    assert "temperature 4" in page.text


def test_every_configuration_under_attack_by_hand():
    def attacked(role, seed, value, **more):
        point = {"attack": "fgsm", "epsilon": 0.01, "value": value}
        return cell(role, seed, 80.0, robustness=[point], **more)

    under = dict(zip(SEEDS, (60.0, 62.0, 64.0), strict=True))
    rows = [attacked("baseline", seed, value) for seed, value in under.items()]
    for switch, gain in ((10, 1.0), (9, -2.0)):
        rows += [attacked("student", s, v + gain, switch_epoch=switch) for s, v in under.items()]
    rows += [cell("student", seed, 80.0, switch_epoch=8) for seed in SEEDS]  # not attacked
    found = tables.attacks_full(table(rows), "digits")
    assert found is not None
    assert found.columns == (
        "teacher", "alpha", "switch epoch", "epsilon 0.01", "± deviation", "n", "difference",
    )  # fmt: skip
    assert [[entry.text for entry in row] for row in found.rows] == [
        ["baseline", "–", "–", "62.00", "2.00", "3", "–"],
        ["small", "0.1", "9", "60.00", "2.00", "3", "−2.00"],
        ["small", "0.1", "10", "63.00", "2.00", "3", "+1.00"],
    ]
    assert [row[2].sort for row in found.rows] == [None, 9.0, 10.0]  # as numbers, not as text


def test_an_empty_table_is_refused():
    with pytest.raises(ValueError, match="nothing to report"):
        render_report(grid()[:0], None, INFO)


def test_the_page_says_where_it_comes_from():
    info = ReportInfo(
        study="s",
        generated_at=datetime(2025, 3, 4, 5, 6),
        code_version="1.2.3",
        command="sweep report s",
        saved_epochs=(200, 150),
    )
    text = Page(render_report(grid(), None, info)).text
    for expected in (
        "2025-03-04 05:06",
        "1.2.3",
        "sweep report s",
        "25%",
        "cpu (45 trials)",
        "f00",
    ):
        assert expected in text
    # 45 trials of 2 s and 1.5 s each.
    assert "90 s" in text or "2 min" in text
    assert "68 s" in text


def test_findings_by_hand():
    found = study_findings(small_study())[0]
    assert found.best is not None
    assert found.best.label == "small teacher, alpha 0.1, switch 2"
    assert (found.best.mean, found.best.difference, found.best.n_pairs) == (82.0, 2.0, 3)
    assert (found.counts["worse"], found.counts["cannot say"]) == (0, 2)  # two and three pairs
    assert found.unfinished == 1
    text = " ".join(found.sentences())
    assert "+2.00 points against the baseline's 80.00 %" in text
    assert "1 requested cell of this dataset has no result; all numbers here lack it." in text


def test_findings_count_the_published_shares(published):
    found = {f.dataset: f for f in study_findings(published)}
    assert found["cifar10"].configurations == 135
    assert sum(found["cifar10"].counts.values()) == 135
    assert (found["cifar10"].counts["better"], found["cifar10"].counts["worse"]) == (0, 11)
    uncorrected = found["cifar10"].counts_uncorrected
    assert (uncorrected["better"], uncorrected["worse"]) == (4, 46)
    assert found["cifar10"].worst is not None
    assert round(found["cifar10"].worst.mean, 2) == 59.90
    assert found["cifar10"].seeds == (15, 15)


def test_an_attack_may_have_the_name_of_a_figure():
    frame = grid(**FEW)
    frame["robustness"] = [
        [dict(point, attack=name) for point in points for name in ("fgsm", "heat", "fgsm-lines")]
        for points in frame["robustness"]
    ]
    text = render_report(frame, None, INFO)
    names = re.findall(r'<div class="canvas" id="([^"]*)"', text)
    assert len(names) == len(set(names))
    assert sum("attack" in name for name in names) == 9


def test_no_figure_is_drawn_of_attacked_values_that_are_none():
    frame = grid(**FEW)
    for value in (float("nan"), float("inf")):
        frame["robustness"] = [
            [dict(point, value=value) for point in points] for points in frame["robustness"]
        ]
        assert "No attack was run on this dataset" in Page(render_report(frame, None, INFO)).text


@pytest.mark.slow
def test_few_seeds_do_not_say_who_wins_again():
    few, enough = range(1, 6), range(1, 7)
    assert "be the best again" not in Page(render_report(grid(**FEW, seeds=few), None, INFO)).text
    cells = grid(**FEW, seeds=enough)
    assert "be the best again" in Page(render_report(cells, None, INFO)).text
    last = (cells["role"] == "student") & (cells["seed"] == 6)
    cells.loc[last, ["test_metric", "status"]] = [None, "missing"]
    assert "be the best again" not in Page(render_report(cells, None, INFO)).text


def test_cells_that_are_left_out_of_the_variance_are_not_said_to_be_missing():
    cells = grid(teachers=("small",), epochs=(0, 1), seeds=range(3))
    base = cells[cells["role"] == "baseline"].set_index("seed")
    never = (cells["role"] == "student") & (cells["switch_epoch"] == 0)
    for column in ("trial_id", "test_metric"):
        cells.loc[never, column] = cells.loc[never, "seed"].map(base[column])
    shown = tables.effects(factor_effects(cells))
    assert shown is not None
    assert "of 6 students; 6 cells left out, without a result or another cell's trial" in (
        shown.caption
    )


@pytest.mark.slow
def test_a_single_step_is_called_weak_whatever_its_settings():
    frame = grid(**FEW)
    for name, weak in (("fgsm", 1), ("fgsm-all", 1), ("pgd", 0)):
        frame["robustness"] = [
            [dict(point, attack=name) for point in points] for points in frame["robustness"]
        ]
        text = Page(render_report(frame, None, INFO)).text
        assert text.count("A single gradient step is a weak attack") == weak


def test_attacks_without_a_figure_are_named():
    frame = grid(**FEW)
    names = ("fgsm", "input_noise", "pgd", "pgd-20", "weight_noise")
    frame["robustness"] = [
        [dict(point, attack=name) for point in points for name in names]
        for points in frame["robustness"]
    ]
    page = Page(render_report(frame, None, INFO))
    assert page.text.count("Not drawn, but in the tables: weight noise.") == 1
    assert "f0-0-attack4" in page.ids
    assert "f0-0-attack5" not in page.ids
