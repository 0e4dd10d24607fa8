"""The page in a real browser: a study from launch to report, and what must hold for every view."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sweep.service import Where, run_study
from sweep.study import load_study
from tests.sweep.browsing import (
    PATIENCE_S,
    Server,
    Watched,
    browser,
    chromium,
    study_text,
    with_faulty_networks,
)
from tests.sweep.tiny import tiny_study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

NAME_AS_MARKUP = "<img src=x onerror=alert(1)>"
DESKTOP = {"width": 1400, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def chrome() -> Iterator["Browser"]:
    with browser() as found:
        yield found


@pytest.fixture
def context(chrome: "Browser") -> Iterator["BrowserContext"]:
    made = chrome.new_context(viewport=DESKTOP, reduced_motion="reduce")
    yield made
    made.close()


@pytest.fixture
def watched(context: "BrowserContext") -> Iterator[Watched]:
    """A page that must have had nothing to complain of in the end."""
    found = Watched(context.new_page())
    yield found
    assert found.unexpected() == []


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a tiny study that is done."""
    chromium()  # skips before anything is trained
    folder = tmp_path_factory.mktemp("finished")
    study = tiny_study(title=NAME_AS_MARKUP, question="a < b & c > d?")
    run_study(study, folder / "results", Where(local=True))
    server = Server(folder / "results", "--local")
    try:
        yield server.start()
    finally:
        server.stop()


def _shown(page: "Page", text: str | re.Pattern[str]) -> None:
    """Waits until a text is on the page."""
    page.get_by_text(text).first.wait_for()


def _until(page: "Page", condition: str, argument: Any = None) -> None:
    """Waits until an expression of JavaScript holds."""
    page.wait_for_function(condition, arg=argument, timeout=PATIENCE_S * 1000)


def _rows(server: Server, study: str = "tiny") -> list[dict[str, Any]]:
    """What was measured: one row for each cell, read as any reader of Parquet would."""
    import pyarrow.parquet as pq

    trials = {
        row["trial_id"]: row
        for path in [*(server.results / "trials").glob("*.parquet")]
        for row in pq.read_table(path).to_pylist()
    }
    cells = pq.read_table(server.results / "studies" / f"{study}.parquet").to_pylist()
    return [{**cell, "test_metric": trials[cell["trial_id"]]["test_metric"]} for cell in cells]


def _mean_difference(rows: list[dict[str, Any]], alpha: float, switch: int) -> float:
    """Mean over seeds of a student's accuracy minus that of the baseline of its seed."""
    base = {row["seed"]: row["test_metric"] for row in rows if row["role"] == "baseline"}
    own = [
        row["test_metric"] - base[row["seed"]]
        for row in rows
        if row["role"] == "student" and (row["alpha"], row["switch_epoch"]) == (alpha, switch)
    ]
    assert len(own) == len(base) == 2
    return float(sum(own)) / len(own)


class TestStory:
    """One study from its file to its report, with a failure on the way."""

    def test_from_a_file_to_the_report(
        self, tmp_path: Path, context: "BrowserContext", watched: Watched
    ) -> None:
        with_faulty_networks(tmp_path / "extension")
        server = Server(tmp_path / "results", "--local", extensions=tmp_path / "extension")
        page = watched.page
        try:
            page.goto(server.start().url)
            self._upload(page)
            self._launch(page)
            self._see_it_fill(page)
            self._see_the_failure(page)
            self._retry(page)
            self._open_a_cell_and_a_trial(page)
            self._open_the_report(page, context)
        finally:
            server.stop()

    def _upload(self, page: "Page") -> None:
        text = study_text("story", title="A story", teachers=("small", "bug"))
        page.set_input_files(
            "input[type=file]",
            {"name": "story.toml", "mimeType": "text/plain", "buffer": text.encode()},
        )
        # 2 teachers x 2 alphas x 2 switch epochs x 2 seeds; 2 seeds; 2 teachers x 2 seeds.
        _shown(page, "22: 16 students, 2 baselines, 4 teachers")
        # Alone every trial takes 2 epochs. Students share what is the same: the first epoch of
        # switch 1 and 2 at one alpha and teacher, 8 times.
        _shown(page, re.compile("36 after sharing, 44 if each trial were alone"))
        page.get_by_role("button", name="Upload story").click()

    def _launch(self, page: "Page") -> None:
        page.get_by_role("heading", name="story", level=1).wait_for()
        page.get_by_role("button", name="Launch …").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("22: 16 students").wait_for()
        dialog.get_by_role("button", name="Launch", exact=True).click()
        dialog.wait_for(state="detached")

    def _see_it_fill(self, page: "Page") -> None:
        bar = "document.querySelector('[role=progressbar]')"
        _until(page, f"() => {bar} !== null")
        _until(page, f"() => Number({bar}.getAttribute('aria-valuenow')) > 0")
        page.get_by_text("stopped, with failures").wait_for()

    def _see_the_failure(self, page: "Page") -> None:
        page.get_by_role("link", name="Failures (1)").click()
        page.get_by_role("heading", name="bug").wait_for()
        _shown(page, "1 failed attempt of 1 trial; 1 trial still without a result")
        page.get_by_text("Traceback of the last one").click()
        assert "ValueError: this network is not finished" in page.locator("pre").inner_text()
        page.locator("section:has-text('failed attempt') a").first.click()
        page.get_by_role("heading", name="Attempts").wait_for()
        row = page.locator("section[aria-label=Attempts] tbody tr")
        assert "failed" in row.inner_text()
        assert "bug" in row.inner_text()
        assert "this network is not finished" in page.locator("pre").inner_text()
        page.go_back()

    def _retry(self, page: "Page") -> None:
        page.get_by_role("button", name="Retry bug").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Retry").click()
        page.get_by_text("22 of 22 done (100 %)").wait_for()
        page.get_by_text("finished", exact=True).wait_for()

    def _open_a_cell_and_a_trial(self, page: "Page") -> None:
        page.get_by_role("link", name="Overview").click()
        page.get_by_role("button", name="As tables").click()
        page.get_by_role("link", name=re.compile("small teacher, alpha 0.9, switch epoch 2")).click()
        trials = page.locator("section[aria-labelledby=chosen] tbody tr")
        _until(page, "() => document.querySelectorAll('[aria-labelledby=chosen] tbody tr').length === 2")
        trials.first.get_by_role("link").click()
        page.get_by_role("heading", name="Curves").wait_for()
        page.get_by_role("heading", name="Robustness").wait_for()
        page.locator(".plot .main-svg").first.wait_for()
        page.get_by_text("Teacher: ").get_by_role("link").click()
        page.get_by_role("heading", name=re.compile("teacher small", re.I)).wait_for()

    def _open_the_report(self, page: "Page", context: "BrowserContext") -> None:
        page.get_by_role("link", name="story").first.click()
        page.get_by_role("button", name="Make report").click()
        with context.expect_page() as opened:
            page.get_by_role("link", name="Open report").click()
        report = opened.value
        report.get_by_role("heading", name="A story", level=1).wait_for()
        report.close()
