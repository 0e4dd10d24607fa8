"""Figures as files: interactive HTML, JSON, and images for print (PNG, SVG, PDF).

Images are drawn by a browser without a window (kaleido drives any Chrome or Chromium); starting it
takes seconds, so many figures share one. On paper there is no page behind a figure, so images get
a white ground, dark text and a headline broken into lines that fit; HTML and JSON stay as they are
drawn. A file is written aside and renamed: a reader never sees half of one.
"""

import logging
import os
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

PAGES = ("html", "json")
IMAGES = ("png", "svg", "pdf")
FORMATS = (*PAGES, *IMAGES)
WIDTH_PX, HEIGHT_PX = 1000, 500
LONGEST_PX = 10_000
NO_BROWSER = (
    "images (.png, .svg, .pdf) are drawn by Chrome or Chromium, and none was found: run "
    "`plotly_get_chrome`, or install the package chromium, or name one in BROWSER_PATH; "
    ".html and .json need no browser"
)
_INK, _PAPER = "#222222", "#ffffff"
# Mean width of a letter of the headline as a share of its size, and its line height.
_LETTER, _LINE = 0.53, 1.3
_EDGE_PX, _PANEL_TITLE_PX = 10, 24


class ExportError(RuntimeError):
    """A figure that cannot be written as an image on this machine."""


@dataclass(frozen=True)
class Size:
    """How large a figure is written; None is as it was drawn (`WIDTH_PX` where that is open).

    Attributes:
        width_px: Width in layout pixels.
        height_px: Height in layout pixels.
        scale: Pixels of a PNG per layout pixel; 2 or 3 for print.
    """

    width_px: int | None = None
    height_px: int | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Refuses what cannot be drawn.

        Raises:
            ValueError: A side or the scale is out of range.
        """
        for name, side in (("width_px", self.width_px), ("height_px", self.height_px)):
            if side is not None and not 100 <= side <= LONGEST_PX:
                raise ValueError(f"{name}: {side} is not between 100 and {LONGEST_PX}")
        if not 0.1 <= self.scale <= 10:
            raise ValueError(f"scale: {self.scale} is not between 0.1 and 10")


def export_figure(
    figure: "go.Figure",
    path: Path | str,
    width_px: int | None = None,
    height_px: int | None = None,
    scale: float = 1.0,
) -> None:
    """Writes a figure in the format its ending names.

    Args:
        figure: What any figure function of this package returns.
        path: Ends in one of `FORMATS`; its folder is made where it is missing.
        width_px: See `Size`.
        height_px: See `Size`.
        scale: See `Size`.

    Raises:
        ValueError: Another ending, or a size out of range.
        ExportError: An image is asked for and there is no browser to draw it, or it failed.
        OSError: The file cannot be written.
    """
    export_figures([(figure, path)], Size(width_px, height_px, scale))


def export_figures(figures: Sequence[tuple["go.Figure", Path | str]], size: Size = Size()) -> None:
    """Writes many figures; those that are images are drawn by one browser.

    Args:
        figures: Pairs of a figure and the file it becomes; see `export_figure`.
        size: Size of each.

    Raises:
        ValueError: See `export_figure`; nothing is written then.
        ExportError: See `export_figure`.
        OSError: See `export_figure`.
    """
    files = [(figure, Path(path), format_of(path)) for figure, path in figures]
    for _, path, _ in files:
        path.parent.mkdir(parents=True, exist_ok=True)
    for figure, path, ending in files:
        if ending in PAGES:
            _put(_page(figure, ending, size).encode(), path)
    images = [(figure, path, ending) for figure, path, ending in files if ending in IMAGES]
    if images:
        _draw(images, size)


def format_of(path: Path | str) -> str:
    """The format a file's ending names.

    Raises:
        ValueError: It is not one of `FORMATS`.
    """
    ending = Path(path).suffix.removeprefix(".").lower()
    if ending not in FORMATS:
        allowed = ", ".join(f".{name}" for name in FORMATS)
        raise ValueError(f"{str(path)!r}: must end in one of {allowed}")
    return ending


def find_browser() -> str | None:
    """The browser that would draw images; None where there is none."""
    from choreographer.browsers.chromium import Chromium

    found = Chromium.find_browser(skip_local=False)
    return found if found is not None and Path(found).is_file() else None


def for_print(figure: "go.Figure", size: Size = Size()) -> "go.Figure":
    """A copy for paper: white ground, dark text, a fixed size, the headline in lines that fit."""
    import plotly.graph_objects as go

    copy = go.Figure(figure)
    width = size.width_px or copy.layout.width or WIDTH_PX
    height = size.height_px or copy.layout.height or HEIGHT_PX
    title = copy.layout.title
    letter_px = (title.font.size or 17) * _LETTER
    margin = copy.layout.margin.to_plotly_json()
    room = width - (margin.get("l") or 0) - (margin.get("r") or 0)
    lines = textwrap.wrap(title.text or "", max(20, int(room / letter_px)))
    top = margin.get("t") or 60
    head = 3 * _EDGE_PX + len(lines) * (title.font.size or 17) * _LINE + _PANEL_TITLE_PX
    more = max(0, round(head) - top)
    tall = height if size.height_px else height + more
    changes: dict[str, Any] = {
        "paper_bgcolor": _PAPER,
        "plot_bgcolor": _PAPER,
        "font": {"color": _INK},
        "width": width,
        "height": tall,
        "margin": {"t": top + more, "l": (margin.get("l") or 0) + 8, "r": 16},
    }
    if lines:
        changes["title"] = {
            "text": "<br>".join(lines),
            "font": {"color": _INK},
            "pad": {"l": 10},
            "yref": "container",
            "y": 1 - 2 * _EDGE_PX / tall,
            "yanchor": "top",
        }
    copy.update_layout(changes)
    return copy


def _page(figure: "go.Figure", ending: str, size: Size) -> str:
    if size.width_px or size.height_px:
        import plotly.graph_objects as go

        figure = go.Figure(figure).update_layout(width=size.width_px, height=size.height_px)
    if ending == "json":
        return str(figure.to_json())
    return str(figure.to_html(include_plotlyjs=True, full_html=True))


def _draw(images: Sequence[tuple["go.Figure", Path, str]], size: Size) -> None:
    import kaleido
    from choreographer.errors import DevtoolsProtocolError
    from kaleido.errors import KaleidoError

    if find_browser() is None:
        raise ExportError(NO_BROWSER)
    with tempfile.TemporaryDirectory() as folder:
        drawn = [
            Path(folder) / f"{number}.{ending}" for number, (_, _, ending) in enumerate(images)
        ]
        jobs = [
            {
                "fig": for_print(figure, size).to_dict(),
                "path": aside,
                "opts": {"format": ending, "scale": size.scale},
            }
            for (figure, _, ending), aside in zip(images, drawn, strict=True)
        ]
        try:
            with _quiet():
                # Without MathJax no page is fetched from the network.
                kaleido.write_fig_from_object_sync(
                    jobs, kopts={"mathjax": False}, cancel_on_error=True
                )
        except (RuntimeError, OSError, KaleidoError, DevtoolsProtocolError) as error:
            raise ExportError(f"the browser {find_browser()} failed: {error}") from error
        for (_, path, _), aside in zip(images, drawn, strict=True):
            _put(aside.read_bytes(), path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the driver logs of a browser's last words, half a message, off the terminal."""
    log = logging.getLogger("choreographer")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def _put(content: bytes, path: Path) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
