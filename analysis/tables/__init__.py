"""The report's tables as values: columns and rows of written cells that know how they sort."""

from analysis.tables.attacks import attacks_full, attacks_summary
from analysis.tables.attribution import attribution
from analysis.tables.certainty import effects, spread, winners
from analysis.tables.classes import class_scores, error_reduction
from analysis.tables.configurations import configurations
from analysis.tables.convergence import convergence
from analysis.tables.entries import Entry, Table
from analysis.tables.failures import failed_attempts, runs, unfinished
from analysis.tables.questions import contrasts, expected
from analysis.tables.robustness import checks, equal_accuracy
from analysis.tables.search import search
from analysis.tables.stated import published, stated, stated_points
from analysis.tables.teachers import teachers

__all__ = [
    "Entry",
    "Table",
    "attacks_full",
    "attacks_summary",
    "attribution",
    "checks",
    "class_scores",
    "configurations",
    "contrasts",
    "convergence",
    "effects",
    "equal_accuracy",
    "error_reduction",
    "expected",
    "failed_attempts",
    "published",
    "runs",
    "search",
    "spread",
    "stated",
    "stated_points",
    "teachers",
    "unfinished",
    "winners",
]
