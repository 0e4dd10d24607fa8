"""The page in a real browser: a study from launch to report, and what must hold for every view."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sweep.service import Where, run_study
from tests.sweep.tiny import tiny_study
from tests.sweep.web.browsing import (
    PATIENCE_S,
    Server,
    Watched,
    browser,
    chromium,
    study_text,
    with_faulty_networks,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

NAME_AS_MARKUP = "<img src=x onerror=alert(1)>"
DESKTOP = {"width": 1400, "height": 900}
CHOSEN = "[aria-label='Trials of the chosen cell']"
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def chrome() -> Iterator["Browser"]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def context(chrome: "Browser") -> Iterator["BrowserContext"]:
    """One for all, so that the plotting library is loaded once."""
    made = chrome.new_context(viewport=DESKTOP, reduced_motion="reduce")
    yield made
    made.close()


@pytest.fixture
def watched(context: "BrowserContext") -> Iterator[Watched]:
    """A page of somebody who was never here, which must have had nothing to complain of."""
    found = Watched(context.new_page())
    yield found
    complaints = found.unexpected()
    if found.page.url.startswith("http"):
        found.page.evaluate("() => localStorage.clear()")
    found.page.close()
    context.clear_cookies()
    assert complaints == []


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
    found = []
    for cell in cells:
        trial = trials[cell["trial_id"]]
        (point,) = trial["robustness"]
        assert (point["attack"], point["epsilon"]) == ("fgsm", 0.05)
        found.append({**cell, "test_metric": trial["test_metric"], "attacked": point["value"]})
    return found


def _mean_difference(
    rows: list[dict[str, Any]], alpha: float, switch: int, of: str = "test_metric"
) -> float:
    """Mean over seeds of a student's accuracy minus that of the baseline of its seed."""
    base = {row["seed"]: row[of] for row in rows if row["role"] == "baseline"}
    own = [
        row[of] - base[row["seed"]]
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
            page.goto("about:blank")  # it would miss the server
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
        page.get_by_role(
            "link", name=re.compile("small teacher, alpha 0.9, switch epoch 2")
        ).click()
        trials = page.locator(f"{CHOSEN} tbody tr")
        _until(page, "(rows) => document.querySelectorAll(rows).length === 2", f"{CHOSEN} tbody tr")
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


LONG = """
name = "long"
seeds = [1, 2, 3]
[recipe]
epochs = 400
batch_size = 64
[datasets.digits]
"""
"""Trains for minutes."""


@pytest.mark.slow
def test_a_run_is_stopped(tmp_path: Path, watched: Watched) -> None:
    server = Server(tmp_path / "results", "--local")
    page = watched.page
    try:
        page.goto(server.start().url)
        file = {"name": "long.toml", "mimeType": "text/plain", "buffer": LONG.encode()}
        page.set_input_files("input[type=file]", file)
        page.get_by_role("button", name="Upload long").click()
        page.get_by_role("button", name="Launch …").click()
        page.get_by_role("dialog").get_by_role("button", name="Launch", exact=True).click()
        page.get_by_role("progressbar").wait_for()
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        _shown(page, "running")
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("dialog").get_by_role("button", name="Stop the run").click()
        page.get_by_role("button", name="Launch …").wait_for()
        assert page.get_by_text("0 of 3 done").is_visible()
        assert page.get_by_role("region", name="Job").get_by_text("stopped").is_visible()
    finally:
        page.goto("about:blank")
        server.stop()


class TestNumbers:
    """What is shown is what was measured."""

    def test_cells_show_the_mean_difference_to_the_baseline(
        self, finished: Server, watched: Watched
    ) -> None:
        page, rows = watched.page, _rows(finished)
        page.goto(f"{finished.url}/#/studies/tiny?value=delta")
        page.get_by_role("button", name="As tables").click()
        for alpha, switch in ((0.1, 1), (0.1, 3)):
            expected = f"{_mean_difference(rows, alpha, switch):+.2f}".replace("-", "−")
            name = re.compile(f"alpha {alpha}, switch epoch {switch}, 2 of 2 seeds done")
            assert page.get_by_role("link", name=name).inner_text() == expected
        # Switch 0 and alpha 1 are the baseline itself.
        zero = re.compile("alpha 0.1, switch epoch 0")
        assert page.get_by_role("link", name=zero).inner_text() == "0.00"

    def test_the_figure_holds_the_same_numbers(self, finished: Server, watched: Watched) -> None:
        page, rows = watched.page, _rows(finished)
        page.goto(f"{finished.url}/#/studies/tiny?value=delta")
        page.locator(".plot .main-svg").first.wait_for()
        drawn = page.evaluate(
            "() => { const {x, y, z} = document.querySelector('.plot').data[1]; return {x, y, z}; }"
        )
        assert (drawn["x"], drawn["y"]) == (["0", "1", "3"], ["0.1", "1"])
        for column, switch in ((1, 1), (2, 3)):
            assert drawn["z"][0][column] == pytest.approx(_mean_difference(rows, 0.1, switch))

    def test_cells_by_what_is_left_under_an_attack(
        self, finished: Server, watched: Watched
    ) -> None:
        page, rows = watched.page, _rows(finished)
        page.goto(f"{finished.url}/#/studies/tiny?value=delta")
        page.get_by_role("button", name="As tables").click()
        page.get_by_label("Measured").select_option("under FGSM 0.05")
        caption = page.locator("figcaption")
        caption.get_by_text("difference in test accuracy (%) under FGSM 0.05").wait_for()
        assert "measure=fgsm+0.05" in page.url
        said = page.get_by_text("Blue is better than the baseline under FGSM 0.05, orange worse.")
        assert said.is_visible()
        expected = _mean_difference(rows, 0.1, 3, "attacked")
        assert f"{expected:.2f}" != f"{_mean_difference(rows, 0.1, 3):.2f}"
        cell = page.get_by_role(
            "link", name=re.compile("alpha 0.1, switch epoch 3.* under FGSM 0.05")
        )
        assert cell.inner_text() == f"{expected:+.2f}".replace("-", "−")
        page.get_by_label("Shown").select_option("seeds done")
        page.get_by_text("Colour: share of the seeds that are done. Grey: no result yet").wait_for()
        page.get_by_role("link", name="Configurations").click()
        page.get_by_role("heading", name="Configurations under FGSM 0.05").wait_for()
        page.reload()  # the address says it all
        row = page.get_by_role("row").filter(
            has=page.get_by_label(re.compile("alpha 0.1, switch 3$"))
        )
        row.get_by_text(f"{expected:+.2f} points".replace("-", "−")).wait_for()
        page.get_by_label("Measured").select_option("test accuracy (%), no attack")
        page.get_by_role("heading", name="Configurations", exact=True).wait_for()
        assert "measure" not in page.url

    def test_a_click_on_the_figure_opens_a_cell(self, finished: Server, watched: Watched) -> None:
        page = watched.page
        page.goto(f"{finished.url}/#/studies/tiny")
        plot = page.locator(".plot")
        plot.locator(".main-svg").first.wait_for()
        # The middle of the lower row's last column: alpha 0.1, switch 3.
        spot = page.evaluate(
            """() => { const plot = document.querySelector('.plot');
            const {_size: size} = plot._fullLayout; const box = plot.getBoundingClientRect();
            return [box.x + size.l + size.w * 5 / 6, box.y + size.t + size.h * 3 / 4]; }"""
        )
        heading = page.get_by_role("heading", name="Trials: teacher small, alpha 0.1, switch 3")
        for _ in range(PATIENCE_S):  # a figure hears of a click only where it saw the mouse come
            page.mouse.move(0, 0)
            page.mouse.move(*spot)
            page.mouse.click(*spot)
            page.wait_for_timeout(200)
            if heading.is_visible():
                break
        heading.wait_for()
        assert "cell=" in page.url
        page.go_back()
        heading.wait_for(state="detached")

    def test_compared_configurations_have_the_paired_difference(
        self, finished: Server, watched: Watched
    ) -> None:
        page, rows = watched.page, _rows(finished)
        page.goto(
            f"{finished.url}/#/studies/tiny/configurations?filter=role%3Dstudent%20alpha%3D0.1"
        )
        for switch in (1, 3):
            page.get_by_label(re.compile(f"^Compare .*alpha 0.1, switch {switch}$")).check()
        page.get_by_role("button", name="To the comparison").click()
        row = page.get_by_role("region", name="Paired differences").locator("tbody tr")
        row.wait_for()
        difference = _mean_difference(rows, 0.1, 1) - _mean_difference(rows, 0.1, 3)
        said = row.locator("td").all_inner_texts()
        assert said[1] == "2"
        assert said[2] == f"{difference:+.2f} points".replace("-", "−")
        assert page.get_by_role("region", name="Compared configurations").locator("tr").count() == 3

    def test_a_page_of_the_table_is_sorted_by_the_server(
        self, finished: Server, watched: Watched
    ) -> None:
        page, rows = watched.page, _rows(finished)
        page.goto(f"{finished.url}/#/studies/tiny/trials")
        page.get_by_role("button", name="test metric").click()
        page.get_by_role("columnheader", name="test metric").and_(
            page.locator("[aria-sort=ascending]")
        ).wait_for()
        page.get_by_role("button", name="test metric").click()
        _until(page, "() => document.querySelector('[aria-sort=descending]') !== null")
        best = f"{max(row['test_metric'] for row in rows):.2f} %"
        first = "(best) => document.querySelector('tbody tr')?.innerText.includes(best)"
        _until(page, first, best)
        page.reload()
        _until(page, first, best)

    def test_a_query_is_answered_and_a_wrong_one_is_explained(
        self, finished: Server, watched: Watched
    ) -> None:
        page = watched.page
        watched.expected = ("/api/query",)
        page.goto(f"{finished.url}/#/query")
        page.get_by_label("SQL").fill("SELECT count(*) AS n, 'a' || chr(60) AS s FROM trials")
        page.keyboard.press("Control+Enter")
        cells = page.get_by_role("region", name="Answer").locator("tbody td")
        cells.first.wait_for()
        distinct = len({row["trial_id"] for row in _rows(finished)})
        assert cells.all_inner_texts() == [str(distinct), "a<"]
        page.get_by_label("SQL").fill("SELECT * FROM read_csv('/etc/passwd')")
        page.get_by_role("button", name="Ask").click()
        page.get_by_role("alert").wait_for()
        assert "root:" not in page.content()


class TestTexts:
    """Nothing that comes from a study is markup."""

    def test_names_are_text(self, finished: Server, watched: Watched) -> None:
        page = watched.page
        for view in ("#/studies", "#/studies/tiny", "#/studies/tiny/file"):
            page.goto("about:blank")
            page.goto(f"{finished.url}/{view}")
            _shown(page, NAME_AS_MARKUP)
            assert page.locator("img").count() == 0

    def test_an_odd_address_is_answered_in_words(self, finished: Server, watched: Watched) -> None:
        page = watched.page
        watched.expected = ("404", "400")
        for view in ("#/nowhere", "#/studies/%3Cimg%3E", "#/trials/..%2f..%2fetc", "#/studies/%"):
            page.goto("about:blank")
            page.goto(f"{finished.url}/{view}")
            page.locator(".trouble, h1:text('Nothing here')").first.wait_for()
            assert page.locator("img").count() == 0

    def test_a_wrong_study_file_is_refused_as_the_command_line_does(
        self, finished: Server, watched: Watched
    ) -> None:
        page = watched.page
        watched.expected = ("/api/plan",)
        page.goto(finished.url)
        page.locator(".drop").wait_for()
        text = study_text("wrong").replace("alpha = [0.1, 0.9]", "alpha = [0.1, 1.9]")
        page.evaluate(
            """(text) => { const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([text], "wrong.toml"));
            document.querySelector(".drop").dispatchEvent(new DragEvent("drop", {dataTransfer})); }""",
            text,
        )
        said = page.get_by_role("alert")
        said.wait_for()
        assert "grid.alpha" in said.inner_text()
        assert "1.9" in said.inner_text()


VIEWS = (
    "#/studies",
    "#/studies/tiny",
    "#/studies/tiny/configurations",
    "#/studies/tiny/trials",
    "#/studies/tiny/failures",
    "#/studies/tiny/file",
    "#/studies/quickstart",
    "#/query?sql=SELECT%20*%20FROM%20trials",
    "#/trials/{trial}",
)

CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const read = (css) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = css;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => {
      const s = c / 255;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const layers = [];
    for (let at = element; at !== null; at = at.parentElement) {
      layers.push(read(getComputedStyle(at).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("svg, noscript, script, .unseen")) continue;
    if (!element.checkVisibility() || element.disabled) continue;
    const under = ground(element);
    const text = over(read(getComputedStyle(element).color), under);
    const [one, other] = [light(text), light(under)].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    found.push([ratio, walker.currentNode.data.trim().slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}"""

GROUND_IS = "(colour) => getComputedStyle(document.body).backgroundColor === colour"

TOO_SMALL_TO_TOUCH = """() => [...document.querySelectorAll(
    "button, summary, select, input:not([type=checkbox]), .tabs a, nav a, td a, td label")]
  .filter((element) => element.checkVisibility() && element.getBoundingClientRect().height < 43.5)
  .map((element) => element.outerHTML.slice(0, 80))"""


def _views(server: Server) -> Iterator[str]:
    trial = next(row["trial_id"] for row in _rows(server) if row["role"] == "student")
    for view in VIEWS:
        yield f"{server.url}/{view.format(trial=trial)}"


def _settled(page: "Page", address: str) -> None:
    """Opens a view and waits until nothing on it is being loaded."""
    page.goto("about:blank")
    page.goto(address)
    _until(
        page,
        """() => document.querySelector('main h1, main .card') !== null
        && document.querySelector('main .wait') === null
        && [...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('.main-svg'))""",
    )


class TestEverybody:
    """Every view, on a phone, in the dark, by keyboard."""

    def test_text_stands_out_and_a_phone_never_scrolls_sideways(
        self, finished: Server, watched: Watched
    ) -> None:
        page = watched.page
        grounds = {"light": "rgb(245, 246, 248)", "dark": "rgb(15, 18, 23)"}
        for address in _views(finished):
            page.set_viewport_size(DESKTOP)
            _settled(page, address)
            schemes: tuple[Any, ...] = ("light", "dark")
            for scheme in schemes:
                page.emulate_media(color_scheme=scheme)
                _until(page, GROUND_IS, grounds[scheme])
                ratios = page.evaluate(CONTRAST)
                assert len(ratios) > 10
                assert ratios[0][0] >= 4.5, (address, scheme, ratios[:5])
            page.set_viewport_size(PHONE)
            assert page.evaluate("() => document.documentElement.scrollWidth") == 390, address
            assert page.evaluate(TOO_SMALL_TO_TOUCH) == [], address

    def test_the_reader_chooses_the_colours(self, finished: Server, watched: Watched) -> None:
        page = watched.page
        page.emulate_media(color_scheme="light")
        page.goto(finished.url)
        button = page.get_by_role("button", name=re.compile("Colours"))
        button.click()
        button.click()
        _until(page, GROUND_IS, "rgb(15, 18, 23)")
        page.reload()
        _until(page, GROUND_IS, "rgb(15, 18, 23)")

    def test_from_the_studies_to_a_trial_by_keyboard(
        self, finished: Server, watched: Watched
    ) -> None:
        page = watched.page
        page.goto(finished.url)
        page.get_by_role("link", name="tiny", exact=True).wait_for()
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("() => document.activeElement.id") == "main"
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.textContent") == "tiny"
        page.keyboard.press("Enter")
        page.get_by_role("application").wait_for()
        self._tab_to(page, "role", "application")
        outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        # Begins at the upper left: alpha 1, switch 0; down and right twice is alpha 0.1, switch 3.
        for key in ("ArrowRight", "ArrowDown", "ArrowRight", "ArrowRight"):
            page.keyboard.press(key)
        said = page.locator("#announce")
        assert "alpha 0.1, switch epoch 3, 2 of 2 seeds done" in said.inner_text()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Trials: teacher small, alpha 0.1, switch 3").wait_for()
        _until(page, "() => document.activeElement.id === 'chosen'")
        page.locator(f"{CHOSEN} tbody a").first.wait_for()
        self._tab_to(page, "tagName", "A", within=f"{CHOSEN} tbody")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Attempts").wait_for()

    def _tab_to(self, page: "Page", name: str, value: str, within: str = "body") -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(
                "([name, value, within]) => { const at = document.activeElement;"
                "return (at[name] ?? at.getAttribute(name)) === value && at.closest(within) !== null; }",
                [name, value, within],
            ):
                return
        raise AssertionError(f"no {name} {value} is reached by Tab")

    def test_a_dialog_keeps_the_focus_and_gives_it_back(
        self, finished: Server, watched: Watched
    ) -> None:
        page = watched.page
        page.goto(f"{finished.url}/#/studies/quickstart")
        page.get_by_role("button", name="Launch …").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("147: 135 students, 3 baselines, 9 teachers").wait_for()
        for _ in range(12):
            page.keyboard.press("Tab")
            # What is not in the dialog is the browser's own.
            assert page.evaluate(
                "() => document.activeElement === document.body"
                "|| document.activeElement.closest('dialog') !== null"
            )
        page.keyboard.press("Escape")
        dialog.wait_for(state="detached")
        assert page.evaluate("() => document.activeElement.textContent") == "Launch …"


class TestDeleting:
    """An uploaded study goes, asked about first; its results do not."""

    def test_by_keyboard(self, finished: Server, watched: Watched) -> None:
        page = watched.page
        sent = page.request.post(
            f"{finished.url}/api/studies", data={"text": study_text("brief", title="Soon gone")}
        )
        assert sent.status == 201
        page.goto(f"{finished.url}/#/studies/tiny")
        page.get_by_role("button", name="Make report").wait_for()
        assert page.get_by_role("button", name="Delete …").count() == 0  # it was never sent
        page.goto(f"{finished.url}/#/studies/brief")
        button = page.get_by_role("button", name="Delete …")
        button.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Delete brief?")
        assert "Nothing was trained of it" in dialog.inner_text()
        page.keyboard.press("Escape")
        dialog.wait_for(state="detached")
        assert page.evaluate("() => document.activeElement.textContent") == "Delete …"
        page.keyboard.press("Enter")
        dialog.wait_for()
        page.keyboard.press("Tab")  # from Cancel, which is first
        page.keyboard.press("Enter")
        page.get_by_role("link", name="tiny", exact=True).wait_for()
        assert page.url == f"{finished.url}/#/studies"
        assert page.get_by_role("link", name="brief", exact=True).count() == 0
        assert page.request.get(f"{finished.url}/api/studies/brief").status == 404


class TestAsTimeGoesBy:
    """The page goes with the results, and asks for no more than it needs."""

    def test_an_update_leaves_focus_scroll_and_details_alone(
        self, finished: Server, watched: Watched
    ) -> None:
        page = watched.page
        version = 1000

        def newer(route: Any) -> None:
            nonlocal version
            version += 1
            state = route.fetch(headers={}).json()
            state["version"], state["active"] = version, True
            state["counts"]["done"] = version
            route.fulfill(body=json.dumps(state), content_type="application/json")

        page.route("**/api/studies/tiny/state", newer)
        page.set_viewport_size({"width": 1000, "height": 400})
        page.goto(f"{finished.url}/#/studies/tiny/trials")
        link = page.locator("tbody a").nth(5)
        link.wait_for()
        link.focus()
        page.locator("tbody tr").nth(9).scroll_into_view_if_needed()
        link.evaluate("(element) => { element.mine = true; }")
        before = page.evaluate("() => scrollY")
        assert before > 0
        seen = page.locator("[role=progressbar]").get_attribute("aria-valuenow")
        _until(
            page,
            "(seen) => document.querySelector('[role=progressbar]').getAttribute('aria-valuenow') !== seen",
            seen,
        )
        assert page.evaluate("() => document.activeElement.mine") is True
        assert page.evaluate("() => scrollY") == before

    def test_what_did_not_change_is_neither_sent_nor_drawn(
        self, finished: Server, watched: Watched
    ) -> None:
        page = watched.page
        _settled(page, f"{finished.url}/#/studies/tiny")
        page.evaluate(
            """() => { window.changes = 0; new MutationObserver((found) => { changes += found.length; })
            .observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true}); }"""
        )
        # What plotly still adjusts after the first drawing is no update.
        page.wait_for_function(
            "() => { const quiet = window.seen === changes; window.seen = changes; return quiet; }",
            polling=1000,
        )
        page.evaluate("() => { changes = 0; }")
        with page.expect_response(re.compile("tiny/state")) as answered:
            pass
        assert answered.value.status == 304
        assert page.evaluate("() => changes") == 0

    def test_a_hidden_page_asks_for_nothing(self, finished: Server, watched: Watched) -> None:
        page = watched.page
        asked: list[str] = []
        page.clock.install()
        page.goto(f"{finished.url}/#/studies/tiny")
        page.locator(".plot .main-svg").first.wait_for()
        page.on("request", lambda request: asked.append(request.url))
        hide = """(hidden) => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
            document.dispatchEvent(new Event('visibilitychange')); }"""
        page.evaluate(hide, True)
        page.wait_for_load_state("networkidle")
        asked.clear()
        page.clock.run_for(60_000)
        assert asked == []
        with page.expect_request(re.compile("tiny/state")):
            page.evaluate(hide, False)

    def test_a_server_that_ends_is_missed_and_found_again(
        self, finished: Server, watched: Watched
    ) -> None:
        page = watched.page
        watched.expected = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")
        _settled(page, f"{finished.url}/#/studies/tiny")
        finished.stop()
        try:
            _shown(page, "No connection to the server.")
            # What was known stays.
            assert page.get_by_role("heading", name="tiny", level=1).is_visible()
        finally:
            finished.start()
        _until(page, "() => document.getElementById('connection').textContent === ''")
        assert page.locator("#announce").inner_text() == "The server answers again."


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a token."""
    chromium()
    server = Server(tmp_path_factory.mktemp("guarded") / "results", "--local")
    server.token = "a-token-of-sufficient-length"
    try:
        yield server.start()
    finally:
        server.stop()


class TestSignIn:
    """A server with a token."""

    def test_a_form_asks_for_the_token(self, guarded: Server, watched: Watched) -> None:
        page = watched.page
        watched.expected = ("401",)
        page.goto(f"{guarded.url}/#/studies/thesis")
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_role("alert").wait_for()
        page.get_by_label("Token").fill(guarded.token or "")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="thesis", level=1).wait_for()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Token").wait_for()

    def test_a_token_in_the_address_is_taken_out_of_it(
        self, guarded: Server, watched: Watched
    ) -> None:
        page = watched.page
        page.goto(f"{guarded.url}/#token={guarded.token}")
        page.get_by_role("heading", name="To begin with").wait_for()
        assert page.url == f"{guarded.url}/#/studies"
        assert "token" not in page.evaluate("() => JSON.stringify(localStorage)")
        assert page.evaluate("() => document.cookie") == ""
