"""What is known of results that were not trained here, but imported from a table.

Their study is no grid that can be planned: in place of one, its file holds where the results came from.
Their trials have ids of their own kind, which no planned trial can have.
"""

import dataclasses
import json
from dataclasses import dataclass

from sweep.errors import DamagedError, StudyError
from sweep.store import Store

PREFIX = "imp-"
"""Begins the ids of imported trials; those of planned trials are hexadecimal."""


@dataclass(frozen=True)
class Origin:
    """Where imported results came from.

    Attributes:
        file: the name of the table's file.
        sha256: of its content.
        at: when it was imported, ISO format, UTC.
        rows: in it.
        results: rows with a result.
        title: one line; may be empty.
        note: what else the importer said; may be empty.
        teachers_selected_on: the split on which the best teacher was chosen, as the importer stated.
        left_out: its columns that were not taken.
    """

    file: str
    sha256: str
    at: str
    rows: int
    results: int
    title: str = ""
    note: str = ""
    teachers_selected_on: str | None = None
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> "Origin | None":
        """The origin that the text of a study holds; None where it is a study that was run."""
        try:
            about = json.loads(text)["imported"]
            known = {field.name for field in dataclasses.fields(cls)}
            said = {name: value for name, value in about.items() if name in known}
            return cls(**{**said, "left_out": tuple(said["left_out"])})
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def text(self, study: str) -> str:
        """The text of its study, as JSON."""
        return json.dumps({"name": study, "imported": dataclasses.asdict(self)})

    def __str__(self) -> str:
        return f"imported from {self.file} (SHA-256 {self.sha256}) on {self.at[:16]}, not run here"

    @property
    def content(self) -> tuple[str, str | None]:
        """What two imports of the same have in common."""
        return self.sha256, self.teachers_selected_on


def origin_of(store: Store, study: str) -> Origin | None:
    """Where the results of a study came from; None where it was run here, or is not here.

    Raises:
        DamagedError: where its file is damaged.
    """
    found = store.read_cells(study)
    return None if found is None else Origin.of(found[1])


def refuse_to_run(store: Store, study: str) -> None:
    """Sees to it that nothing is trained under the name of imported results.

    Raises:
        StudyError: where the study was imported.
    """
    try:
        origin = origin_of(store, study) if study in store.studies() else None
    except DamagedError:
        return  # a run sets it aside
    if origin is not None:
        raise StudyError(
            f"study {study!r} in {store} was {origin}: it is no study that can be run, planned or "
            "evaluated; give a study of your own another name"
        )
