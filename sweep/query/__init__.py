"""SQL over the results: one SELECT, read-only and confined.

Who asks (`asking`) never looks at the SQL. A process beside it (`reader`) holds the results, as the
store verified them, and forks a child for each question. The child makes the views (`views`), gives
up all that it could do harm with (`confined`), and only then reads the SQL; it has nothing but the data
and a pipe for the answer. Who asks keeps the time and the size of the answer.

Views: `trials` (one row per trial), `cells` (one row per study and configuration: its seeds in
numbers, and the paired difference to the baseline), `requested` (one row per requested cell, with
`study` and the measures of its trial), `curves` (one row per recorded training loss), `robustness`
(one row per trial, attack and epsilon), `attributions` (one row per trial, way of asking where its
network looks, and image), `attempts`, `runs`. Examples: `sweep.query.examples`.
"""

from sweep.query.asking import Asking, Limits, query

VIEWS = ("trials", "cells", "requested", "curves", "robustness", "attributions", "attempts", "runs")

__all__ = ["VIEWS", "Asking", "Limits", "query"]
