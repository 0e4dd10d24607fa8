"""The six questions of the home study, answered from any results of its form.

Each answer rests on contrasts of the whole grid (`analysis.contrasts`), not on a best cell that was
picked for being best. All contrasts of one question, over all datasets, are one family (Holm).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import words
from analysis.cells import tidy
from analysis.columns import direction
from analysis.contrasts import Grid, contrasts, guided_grids, judged
from analysis.pairs import MIN_PAIRS

Array = NDArray[np.float64]
Asked = dict[str, Array]


@dataclass(frozen=True)
class Said:
    """The answer for one dataset: in words, and the contrasts it rests on."""

    dataset: str
    lead: str
    detail: str

    def __str__(self) -> str:
        return f"{words.dataset_title(self.dataset)}: {self.lead}. {self.detail}"


@dataclass(frozen=True)
class Answer:
    """What the results say to one question.

    Attributes:
        key: Short name: guidance, switching, both_losses, task, teacher, alpha.
        question: The question.
        contrasts: `dataset`, `metric_name` ("relative_error" for percent of the baseline's error),
            `contrast`, `n` (seeds), `difference`, `deviation`, `ci_low`, `ci_high`, `p`, `p_holm`,
            `verdict`.
        said: The answer in words, per dataset.
        remark: What limits the answer; "" for nothing.
    """

    key: str
    question: str
    contrasts: pd.DataFrame
    said: tuple[Said, ...]
    remark: str = ""


def answers(cells: pd.DataFrame) -> tuple[Answer, ...]:
    """Answers the questions that the results can speak to, in the thesis's order.

    Args:
        cells: One row per requested cell.

    Returns:
        One answer per question that has a contrast; none where no student is finished.

    Raises:
        ValueError: See `analysis.cells.tidy`.
    """
    frame = tidy(cells)
    grids = guided_grids(frame)
    if not grids:
        return ()
    metrics = frame.dropna(subset=["metric_name"]).groupby("dataset")["metric_name"].first()
    found = (
        _answer(
            "guidance",
            "What does guidance by a teacher do to the student?",
            grids,
            metrics,
            lambda grid: {"all configurations against the baseline": grid.by_seed(grid.where())},
            _lead(
                "over the whole grid, guidance helped",
                "over the whole grid, guidance hurt",
                "over the whole grid, guidance changed nothing clearly",
            ),
        ),
        _answer(
            "switching",
            "When should the student go on alone?",
            grids,
            metrics,
            _switching,
            _lead(
                "the longer the teacher guides, the better",
                "the sooner the student goes on alone, the better",
                "there is no clear trend over the switch epoch",
            ),
            "Each contrast is the change over the whole range of switch epochs, from the straight "
            "line through the means of one seed.",
        ),
        _answer(
            "both_losses",
            "Are soft and hard loss together, to the end, better than the hard loss alone?",
            grids,
            metrics,
            _to_the_end,
            _end_lead,
        ),
        _task(grids, metrics),
        _answer(
            "teacher",
            "How large should the teacher be?",
            grids,
            metrics,
            lambda grid: _levels(grid, "teacher", words.by_size(grid.levels("teacher"))),
            _front,
            "One trained teacher of each size guided all students: what is said here holds for "
            "these teachers. Another teacher of the same size may guide otherwise.",
        ),
        _answer(
            "alpha",
            "How much should the hard loss weigh (alpha)?",
            grids,
            metrics,
            lambda grid: _levels(grid, "alpha", grid.levels("alpha")),
            _front,
        ),
    )
    return tuple(answer for answer in found if not answer.contrasts.empty)


def _answer(
    key: str,
    question: str,
    grids: dict[str, Grid],
    metrics: "pd.Series[str]",
    ask: Callable[[Grid], Asked],
    lead: Callable[[pd.DataFrame], str],
    remark: str = "",
) -> Answer:
    tables = []
    for dataset, grid in grids.items():
        table = contrasts(ask(grid))
        table.insert(0, "dataset", dataset)
        table.insert(1, "metric_name", metrics[dataset])
        tables.append(table)
    whole = pd.concat(tables, ignore_index=True)
    table = judged(whole, [direction(name) for name in whole["metric_name"]])
    said = [
        Said(str(dataset), lead(part), _detail(part)) for dataset, part in table.groupby("dataset")
    ]
    left = [
        f"{words.dataset_title(dataset)}: left out for want of results "
        f"{words.counted(grid.configurations_left_out, 'configuration')} and "
        f"{words.counted(grid.seeds_left_out, 'seed')}."
        for dataset, grid in grids.items()
        if grid.configurations_left_out or grid.seeds_left_out
    ]
    return Answer(
        key, question, table, tuple(said), " ".join([*([remark] if remark else []), *left])
    )


def _switching(grid: Grid) -> Asked:
    """Change of the metric from the first to the last switch epoch, per teacher and alpha."""
    epochs = grid.configurations["switch_epoch"].to_numpy(dtype=np.float64, na_value=np.nan)
    known = ~np.isnan(epochs)
    if len(np.unique(epochs[known])) < 2:
        return {}
    span = float(np.ptp(epochs[known]))
    asked = {"last against first switch epoch": _slope(grid, known, epochs) * span}
    for teacher in words.by_size(grid.levels("teacher")):
        for alpha in grid.levels("alpha"):
            chosen = grid.where(teacher=teacher, alpha=alpha) & known
            if len(np.unique(epochs[chosen])) > 1:
                name = f"{teacher} teacher, alpha {words.number(alpha)}"
                asked[name] = _slope(grid, chosen, epochs) * span
    return asked if len(asked) > 2 else dict(list(asked.items())[:1])


def _slope(grid: Grid, chosen: NDArray[np.bool_], epochs: Array) -> Array:
    """Least-squares slope of the metric on the switch epoch, shape (seeds,)."""
    centred = epochs[chosen] - epochs[chosen].mean()
    return np.asarray(centred @ grid.metric[chosen] / (centred @ centred), dtype=np.float64)


def _to_the_end(grid: Grid) -> Asked:
    """Students that both losses guide to the end against the baseline: all, and per alpha."""
    asked = grid.configurations
    switch = asked["switch_epoch"].astype("float64")
    # Where nobody says how long training was, the last switch epoch is taken for its end.
    end = asked["epochs"].astype("float64") if "epochs" in asked else pd.Series(np.nan, asked.index)
    chosen = ((switch >= end.fillna(switch.max())) & (asked["alpha"] > 0)).to_numpy(dtype=bool)
    if not chosen.any():
        return {}
    last = sorted(int(epoch) for epoch in switch[chosen].unique())
    named = f"switch {last[0]}" if len(last) == 1 else "guided to the end"
    found = {f"{named} against the baseline": grid.by_seed(chosen)}
    alphas = asked.loc[chosen, "alpha"].unique()
    if len(alphas) > 1:
        for alpha in sorted(alphas):
            name = f"{named}, alpha {words.number(alpha)} against the baseline"
            found[name] = grid.by_seed(chosen & grid.where(alpha=alpha))
    return found


def _levels(grid: Grid, column: str, levels: Sequence[Any]) -> Asked:
    """The values of a parameter against each other, over configurations that all of them have."""
    own = {level: grid.where(**{column: level}) for level in levels}
    rest = [c for c in grid.configurations.columns if c != column]
    there = {
        level: set(map(tuple, grid.configurations.loc[chosen, rest].astype(str).to_numpy()))
        for level, chosen in own.items()
    }
    shared = set.intersection(*there.values()) if there else set()
    row = [tuple(values) in shared for values in grid.configurations[rest].astype(str).to_numpy()]
    common = np.array(row, dtype=bool)
    if not common.any():
        return {}
    named = [_level_name(column, level) for level in levels]
    means = [grid.metric[own[level] & common].mean(axis=0) for level in levels]
    return {
        f"{named[b]} against {named[a]}": means[b] - means[a]
        for a, b in combinations(range(len(levels)), 2)
    }


def _level_name(column: str, level: object) -> str:
    return (
        f"{words.number(level)} teacher" if column == "teacher" else f"alpha {words.number(level)}"
    )


def _task(grids: dict[str, Grid], metrics: "pd.Series[str]") -> Answer:
    """Each dataset's error in percent of the baseline's, so that tasks have a common scale."""
    tables = []
    for dataset, grid in grids.items():
        base = (grid.metric - grid.values).mean(axis=0)
        error = {"accuracy": 100 - base, "r2": 1 - base}.get(metrics[dataset], base)
        sign = -direction(metrics[dataset])
        change = 100 * sign * grid.values.mean(axis=0) / np.where(error > 0, error, np.nan)
        table = contrasts({"change of the error, all configurations": change})
        table.insert(0, "dataset", dataset)
        table.insert(1, "metric_name", "relative_error")
        tables.append(table)
    table = judged(pd.concat(tables, ignore_index=True), -1)
    tasks = {d: "classification" if metrics[d] == "accuracy" else "regression" for d in grids}
    said = []
    for row in table.to_dict("records"):
        way = {"better": "fell", "worse": "grew"}.get(row["verdict"], "did not change clearly")
        lead = f"in this {tasks[row['dataset']]} the error {way}"
        if row["verdict"] == "cannot say":
            lead = _sure("cannot say", row["n"])
        said.append(Said(row["dataset"], lead, _detail(pd.DataFrame([row]))))
    remark = ""
    if len(set(tasks.values())) < 2:
        (only,) = set(tasks.values())
        remark = f"There are only results of {only}: nothing can be said of the other."
    return Answer(
        "task", "Does it depend on the task, classification or regression?", table, tuple(said),
        remark,
    )  # fmt: skip


def _lead(better: str, worse: str, unclear: str) -> Callable[[pd.DataFrame], str]:
    """The first contrast in words."""

    def lead(table: pd.DataFrame) -> str:
        first = table.iloc[0]
        said = {"better": better, "worse": worse, "no clear difference": unclear}
        return said.get(first["verdict"], _sure(first["verdict"], first["n"]))

    return lead


def _end_lead(table: pd.DataFrame) -> str:
    """The first contrast in words, and which alphas came out otherwise."""
    words_of = _lead(
        "both losses to the end are better, on average, than the hard loss alone",
        "both losses to the end are worse, on average, than the hard loss alone",
        "both losses to the end are, on average, not clearly different from the hard loss alone",
    )
    text, first = words_of(table), table["verdict"].iloc[0]
    for verdict in ("better", "worse"):
        own = table.iloc[1:]
        own = own[(own["verdict"] == verdict) & (verdict != first)]
        if len(own):
            names = [name.split(", ")[1].split(" against ")[0] for name in own["contrast"]]
            text += f"; {verdict} with {words.listed(names)}"
    return text


def _front(table: pd.DataFrame) -> str:
    """The levels that no other is clearly better than."""
    pairs = [tuple(name.split(" against ")) for name in table["contrast"]]
    behind = {
        pair[0 if verdict == "worse" else 1]
        for pair, verdict in zip(pairs, table["verdict"], strict=True)
        if verdict in ("better", "worse")
    }
    if (table["verdict"] == "cannot say").all():
        return _sure("cannot say", table["n"].iloc[0])
    levels = list(dict.fromkeys(level for pair in reversed(pairs) for level in reversed(pair)))
    front = [level for level in levels if level not in behind]
    if len(front) == 1:
        return f"{front[0]} did best"
    if len(front) == len(levels):
        return "there is no clear difference"
    return f"{words.listed(sorted(front))} did best, not clearly different from each other"


def _detail(table: pd.DataFrame) -> str:
    """The first contrast in full, and the others too or, where they are many, how they came out."""
    first, *others = table.to_dict("records")
    parts = [_contrast(first)]
    if len(others) <= 3:
        parts += [_contrast(row) for row in others]
    else:
        came = pd.Series([row["verdict"] for row in others]).value_counts()
        counts = [f"{words.none_or(int(came.get(v, 0)))} {v}" for v in ("better", "worse")]
        rest = [f"{came[v]} {v}" for v in ("no clear difference", "cannot say") if v in came]
        parts.append(f"of {len(others)} parts of the grid {words.listed([*counts, *rest])}")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def _contrast(row: Mapping[Any, Any]) -> str:
    metric = row["metric_name"]
    value = words.metric_difference(row["difference"], metric)
    around = words.interval(row["ci_low"], row["ci_high"], metric, True)
    within = f" ({around})" if around != "–" else ""
    verdict = "" if row["verdict"] in ("better", "worse") else f", {row['verdict']}"
    return f"{row['contrast']} {value}{within}{verdict}"


def _sure(verdict: str, n: int) -> str:
    if verdict == "cannot say":
        return f"cannot say with {words.counted(n, 'seed')} (at least {MIN_PAIRS} are needed)"
    return verdict
