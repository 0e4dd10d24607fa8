"""The studies there are: built in, uploaded, and those with results."""

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from sweep.errors import StudyError
from sweep.layout import is_study_name
from sweep.study import Study, builtin_names, count_cells, load_study
from sweep.web.models import Source
from sweep.web.problems import ProblemError
from sweep.web.uploads import Uploads
from sweep.web.watch import Moment


@dataclass(frozen=True)
class About:
    """What is known of a study without its results.

    Attributes:
        name: of the study.
        title: one line.
        question: what it asks.
        source: where it is from.
        cells: that it asks for; None where it is known by its results alone.
        datasets: their names.
        seeds: repeats.
        text: as it was written, or as results keep it.
        text_format: of the text.
    """

    name: str
    title: str
    question: str
    source: Source
    cells: int | None
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    text: str
    text_format: str


@functools.cache
def builtin(name: str) -> About:
    """A study that ships inside the package."""
    path = resources.files("sweep") / "studies" / f"{name}.toml"
    return of_study(load_study(name), "builtin", path.read_text("utf-8"))


def read_builtin() -> None:
    """Reads all of them, so that nobody who asks has to wait for it."""
    for name in builtin_names():
        builtin(name)


def of_study(study: Study, source: Source, text: str) -> About:
    """What a validated study says."""
    return About(
        name=study.name,
        title=study.title,
        question=study.question,
        source=source,
        cells=count_cells(study),
        datasets=tuple(study.datasets),
        seeds=study.seeds,
        text=text,
        text_format="toml",
    )


class Studies:
    """The studies there are."""

    def __init__(self, uploads: Uploads) -> None:
        """Begins with those that ship inside the package, and those that were uploaded."""
        self._uploads = uploads
        self._uploaded: dict[str, tuple[object, About]] = {}

    def names(self, moment: Moment) -> list[str]:
        """All names: those with results, then uploaded ones, then those built in."""
        found = [*moment.studies, *self._uploads.names(), *builtin_names()]
        return list(dict.fromkeys(found))

    def about(self, name: str, moment: Moment) -> About:
        """What is known of a study.

        Raises:
            ProblemError: where there is none of that name.
        """
        if not is_study_name(name):
            raise ProblemError(404, "there is no such study")
        asked = moment.studies.get(name)
        if asked is not None and asked.origin is not None:
            return _of_results(name, asked.text, "imported")
        if name in builtin_names():
            return builtin(name)
        uploaded = self._of_upload(name)
        if uploaded is not None:
            return uploaded
        if asked is None:
            raise ProblemError(404, "there is no such study")
        return _of_results(name, asked.text, "results")

    def _of_upload(self, name: str) -> About | None:
        stamp = self._uploads.stamp(name)
        if stamp is None:
            self._uploaded.pop(name, None)  # it was deleted, perhaps by another server
            return None
        known = self._uploaded.get(name)
        if known is None or known[0] != stamp:
            text = self._uploads.text(name)
            if text is None:
                return None
            try:
                about = of_study(self._uploads.parse(text), "uploaded", text)
            except StudyError:  # of an earlier version of this package, or changed by hand
                about = About(name, "", "", "uploaded", None, (), (), text, "toml")
            known = self._uploaded[name] = (stamp, about)
        return known[1]


@functools.lru_cache(maxsize=64)
def _of_results(name: str, text: str, source: Source) -> About:
    described: dict[str, Any] = json.loads(text) if text else {}
    imported = described.get("imported") or {}
    return About(
        name=name,
        title=str(imported.get("title") or described.get("title") or ""),
        question=str(imported.get("note") or described.get("question") or ""),
        source=source,
        cells=None,
        datasets=tuple(described.get("datasets", ())),
        seeds=tuple(described.get("seeds", ())),
        text=json.dumps(described, indent=2),
        text_format="json",
    )
