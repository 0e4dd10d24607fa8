import json
import struct
from pathlib import Path

import plotly.graph_objects as go
import pytest

import analysis
from analysis import export
from analysis.export import NO_BROWSER, Size, export_figures, for_print
from tests.analysis.tables import small_study


@pytest.fixture(scope="module")
def figure() -> go.Figure:
    return analysis.metric_over_switch_epoch(small_study())


@pytest.fixture(scope="module")
def images(figure: go.Figure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The figure in every image format, all drawn by one browser."""
    if export.find_browser() is None:
        pytest.skip("no Chrome or Chromium on this machine to draw images")
    folder = tmp_path_factory.mktemp("images")
    files = [(figure, folder / f"figure.{ending}") for ending in export.IMAGES]
    export_figures(files, Size(width_px=640, height_px=400, scale=2))
    return folder


def test_a_page_needs_nothing_else(figure, tmp_path):
    path = tmp_path / "made" / "figure.html"
    analysis.export_figure(figure, path)
    page = path.read_text()
    assert "Plotly.newPlot" in page
    assert "<script src" not in page
    assert "2 means are better" in page
    assert [p.name for p in path.parent.iterdir()] == ["figure.html"]


def test_json_is_the_figure(figure, tmp_path):
    analysis.export_figure(figure, tmp_path / "a.json", width_px=640)
    layout = json.loads((tmp_path / "a.json").read_text())["layout"]
    assert layout["width"] == 640
    assert layout["title"]["text"] == figure.layout.title.text
    assert figure.layout.width is None


def test_png_has_the_size_that_was_asked_for(images):
    content = (images / "figure.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    # Width and height are the first two numbers of the header; scale 2 doubles them.
    assert struct.unpack(">II", content[16:24]) == (1280, 800)


def test_svg_holds_the_headline_as_text(images):
    text = (images / "figure.svg").read_text()
    assert text.startswith("<svg")
    assert "Digits: 1 of 2 means are better than the baseline" in text
    assert "alpha 0.1" in text
    assert 'width="640" height="400"' in text


def test_pdf_is_one(images):
    content = (images / "figure.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert len(content) > 5000
    assert {path.suffix for path in images.iterdir()} == {".png", ".svg", ".pdf"}


def test_paper_is_white_and_ink_dark(figure):
    drawn = for_print(figure).layout
    assert (drawn.paper_bgcolor, drawn.plot_bgcolor, drawn.font.color) == (
        "#ffffff",
        "#ffffff",
        "#222222",
    )
    assert drawn.width == export.WIDTH_PX
    # On a page it stays transparent.
    assert figure.layout.paper_bgcolor == "rgba(0,0,0,0)"


def test_a_long_headline_is_broken_and_gets_room(figure):
    narrow, wide = for_print(figure, Size(width_px=300)), for_print(figure)
    lines = narrow.layout.title.text.split("<br>")
    assert len(lines) > 2
    assert " ".join(lines) == figure.layout.title.text
    assert narrow.layout.height - wide.layout.height >= 20 * (len(lines) - 3)
    assert (
        narrow.layout.margin.t - wide.layout.margin.t == narrow.layout.height - wide.layout.height
    )


def test_a_figure_without_a_headline_can_be_printed():
    assert for_print(go.Figure()).layout.title.text is None


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("a.gif", {}, "must end in one of .html, .json, .png, .svg, .pdf"),
        ("a", {}, "must end in one of"),
        ("a.html", {"width_px": 20}, "width_px: 20 is not between 100 and 10000"),
        ("a.html", {"height_px": 20_000}, "height_px: 20000"),
        ("a.html", {"scale": 0}, "scale: 0 is not between"),
    ],
)
def test_what_cannot_be_drawn_is_refused(figure, tmp_path, name, size, message):
    with pytest.raises(ValueError, match=message):
        analysis.export_figure(figure, tmp_path / name, **size)
    assert list(tmp_path.iterdir()) == []


def test_without_a_browser_the_message_says_what_to_do(figure, tmp_path, monkeypatch):
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    monkeypatch.setattr(
        "choreographer.browsers.chromium.get_chrome_download_path", lambda **_: None
    )
    monkeypatch.setattr(
        "choreographer.browsers.chromium.get_old_chrome_download_path", lambda: None
    )
    assert export.find_browser() is None
    with pytest.raises(analysis.ExportError) as refused:
        analysis.export_figure(figure, tmp_path / "a.png")
    assert str(refused.value) == NO_BROWSER
    assert "plotly_get_chrome" in NO_BROWSER
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_browser_that_breaks_leaves_no_file(figure, tmp_path, monkeypatch):
    fake = tmp_path / "browser"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(export, "find_browser", lambda: str(fake))
    monkeypatch.setenv("BROWSER_PATH", str(fake))
    with pytest.raises(analysis.ExportError, match="failed"):
        analysis.export_figure(figure, tmp_path / "a.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["browser"]


def test_a_file_that_cannot_be_replaced_keeps_its_content(figure, tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text("old")

    def broken(self, target):
        raise OSError("no space")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="no space"):
        analysis.export_figure(figure, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
