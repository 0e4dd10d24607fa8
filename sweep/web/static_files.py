"""The page itself: the files of `static/`, and plotly's script, which is that of the installed package.

A file that is asked for with the name of its content (`?v=`, as the page does) may be kept for ever.
"""

import importlib.metadata
import re
import threading
from collections.abc import Mapping
from pathlib import Path

from sweep.web.answers import Made, made

FOLDER = Path(__file__).parent / "static"
PLOTLY = "plotly.min.js"
TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)+")
_LINK = re.compile(r"""(["'])/static/([A-Za-z0-9_.-]+)\1""")
INDEX = "index.html"


class StaticFiles:
    """The files of the page, read and compressed when they are first asked for."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._kept: dict[str, tuple[object, Made]] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> tuple[Made, str] | None:
        """A file and its media type; None where there is none."""
        kind = TYPES.get(Path(name).suffix)
        if kind is None or not _NAME.fullmatch(name):
            return None
        path = _plotly() if name == PLOTLY else self._folder / name
        try:
            status = path.stat()
        except OSError:
            return None
        stamp = (status.st_mtime_ns, status.st_size)
        with self._lock:
            if name not in self._kept or self._kept[name][0] != stamp:
                self._kept[name] = (stamp, made(path.read_bytes()))
            return self._kept[name][1], kind

    def page(self) -> Made | None:
        """The page, whose links name the content of what they lead to; None where it is missing."""
        found = self.get(INDEX)
        if found is None:
            return None

        def named(match: re.Match[str]) -> str:
            quote, name = match.groups()
            linked = self.get(name)
            version = f"?v={linked[0].tag}" if linked else ""
            return f"{quote}/static/{name}{version}{quote}"

        return made(_LINK.sub(named, found[0].content.decode()).encode())


def _plotly() -> Path:
    files = importlib.metadata.distribution("plotly")
    return Path(str(files.locate_file("plotly/package_data/plotly.min.js")))
