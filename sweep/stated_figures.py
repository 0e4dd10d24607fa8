"""The figures that a study states, as it was run last, by their names on the command line."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweep.presentation import figure_name
from sweep.results import Results


@dataclass(frozen=True)
class StatedFigures:
    """Figures of a study, and the published values that stand in them.

    Attributes:
        figures: What `analysis.stated_figure` takes, by name.
        published: What `analysis.published` takes.
    """

    figures: Mapping[str, Mapping[str, Any]]
    published: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, results: Results, study: str) -> "StatedFigures":
        """Those of a study; none where it was never run there."""
        described: dict[str, Any] = json.loads(results.study_text(study))
        named = {
            one.get("name") or figure_name(one["title"]): one
            for one in described.get("figures", ())
        }
        return cls(named, tuple(described.get("published", ())))
