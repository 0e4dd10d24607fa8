"""Runs the search of a study: begins it, sees to its time, and keeps its table as it goes."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from sweep.begun import Begun, begin, begun_of
from sweep.errors import StudyError
from sweep.findings import known_to
from sweep.search_table import search_table
from sweep.store import Store, to_parquet
from sweep.study import Study
from sweep.tune import Tune

if TYPE_CHECKING:
    from sweep.cells import Demand

MINUTE_S = 60.0


def require_tune(study: Study) -> Tune:
    """The section `[tune]` of a study.

    Raises:
        StudyError: where there is none.
    """
    if study.tune is None:
        raise StudyError(
            f"study {study.name} has no section [tune]: it says what to search, by which figure, and "
            "when to end"
        )
    return study.tune


class Tuning:
    """The search of one run.

    A search that goes on has its minutes anew.
    """

    def __init__(
        self, study: Study, store: Store, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Looks at nothing yet.

        Args:
            study: with a section `[tune]`.
            store: of the results; held for writing when the methods are called.
            clock: seconds that go by.

        Raises:
            StudyError: where the study has no such section.
        """
        self._study, self._store, self._clock, self._tune = study, store, clock, require_tune(study)
        self._began_s = clock()

    def begin(self) -> None:
        """Goes on with the search, or begins it."""
        begin(self._study, self._store)

    def seen(self, look: "Callable[[], Demand]", stopped: bool = False) -> "Demand":
        """What is wanted by now, after `looked`; where no search has begun, there is nothing to see to.

        Args:
            look: finds it.
            stopped: whether the run was stopped, so that what was begun may not be done: the table is
                kept, and the search stays open, whatever its time.
        """
        wanted = look()
        if wanted.courses and stopped:
            self._tell(wanted)
        elif wanted.courses and self.looked(wanted):
            wanted = look()
            self.looked(wanted)
        return wanted

    def looked(self, wanted: "Demand") -> bool:
        """Keeps the table of what is known; closes the search where its time is up.

        Returns:
            Whether it was closed just now, so that what is wanted is something else.
        """
        self._tell(wanted)
        minutes = self._tune.minutes
        if minutes is None or self._clock() - self._began_s < MINUTE_S * minutes:
            return False
        begun = begun_of(self._study, self._store)
        if begun is None or begun.closed:
            return False
        # What was suggested in this moment is not done: it is not begun any more.
        self._close(begun, wanted)
        return True

    def _tell(self, wanted: "Demand") -> None:
        """Keeps the table of what is known."""
        findings = known_to(self._study, self._store)
        table = search_table(self._tune, wanted.courses, findings)
        self._store.write_search_table(self._study.name, to_parquet(table))

    def _close(self, begun: Begun, wanted: "Demand") -> None:
        done = {
            name: course.begun - sum(p.steps[-1].scores is None and len(p.steps) == 1 for p in course.points)
            for name, course in wanted.courses.items()
        }  # fmt: skip
        self._store.write_search(self._study.name, replace(begun, closed=done).to_json())
