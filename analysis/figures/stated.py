"""A figure that a study file states: a measure over a column, a line per combination of others.

`x` is any column of the cells; text makes bars. Where an `attack` is named, `x` is its strength
and every trial is a whole line, from the clean figure at 0 on. Published values stand in the figure
where they are of exactly the cells of one of its points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis import words
from analysis.attacks import attacked
from analysis.cells import configuration_keys, matching_keys, tidy
from analysis.conditions import met, several, subjects
from analysis.figures import style
from analysis.figures.choice import LINES_AT_MOST, evenly
from analysis.measure_names import EPOCH_AT, MeasureName
from analysis.measures import measure, measure_title
from analysis.seed_means import over_seeds

if TYPE_CHECKING:
    import plotly.graph_objects as go

EPSILON = "epsilon"
SURE = 3
"""Seeds from which an interval counts for the range of an axis."""


@dataclass(frozen=True)
class Line:
    """A line of the figure: the columns that make it, their values, and its name."""

    values: tuple[tuple[str, Any], ...]
    label: str


@dataclass(frozen=True)
class StatedPanel:
    """One dataset under one measure.

    Attributes:
        dataset: Its name.
        measure: The measure's name; of an attack without the strength.
        metric_name: Name of the dataset's metric.
        y_title: What stands at the axis.
        points: `line` (its label), `x`, `n`, `n_asked`, `mean`, `ci_low`, `ci_high`.
        baselines: The same of the baselines, `x` null where they do not depend on it.
        teachers: `line` (the teacher), `x` (null: the same everywhere) and `mean`.
        published: `line`, `x`, `value`, `source`.
    """

    dataset: str
    measure: str
    metric_name: str
    y_title: str
    points: pd.DataFrame
    baselines: pd.DataFrame
    teachers: pd.DataFrame
    published: pd.DataFrame


@dataclass(frozen=True)
class StatedNumbers:
    """What the figure shows.

    Attributes:
        title: Its headline.
        x: The column, or "epsilon".
        categories: Values of `x` in their order where it is text; None on a scale of numbers.
        lines: In their order; at most `LINES_AT_MOST`.
        lines_left_out: How many more there are.
        panels: One per dataset and measure.
        averaged: Columns over which a point is a mean, beside the seed.
    """

    title: str
    x: str
    categories: tuple[str, ...] | None
    lines: tuple[Line, ...]
    lines_left_out: int
    panels: tuple[StatedPanel, ...]
    averaged: tuple[str, ...]

    @property
    def note(self) -> str:
        """What has to be said below the figure."""
        bars = "Bars are means" if self.categories is not None else "Mean"
        said = [f"{bars} over seeds with the 95 % t interval."]
        if self.averaged:
            spoken = words.listed(column.replace("_", " ") for column in self.averaged)
            said.append(f"Of each seed the mean over {spoken}.")
        if any(len(panel.baselines) for panel in self.panels):
            said.append("Dashed: baselines.")
        if any(len(panel.teachers) for panel in self.panels):
            said.append("Dotted: teachers.")
        if any(len(panel.published) for panel in self.panels):
            said.append("Hollow marks are published values.")
        if any(panel.measure.startswith(EPOCH_AT) for panel in self.panels):
            said.append("Epochs to a level: of the seeds that reached it, as n says.")
        if self.lines_left_out:
            said.append(f"{words.counted(self.lines_left_out, 'further line')} not drawn.")
        return " ".join(said)


def stated_numbers(
    cells: pd.DataFrame,
    figure: Mapping[str, Any],
    published: Sequence[Mapping[str, Any]] = (),
) -> StatedNumbers | None:
    """The numbers of the figure; None where no cell that it is about has a result.

    Args:
        cells: One row per requested cell.
        figure: `title`; `x`; `y`, a measure or several (one panel each), or `attack`; and maybe
            `lines` (columns), `where`, `baseline`, `teacher` (whether they are drawn).
        published: See `analysis.publications.published`.

    Raises:
        ValueError: A column, measure or combination that cannot be; see `analysis.cells.tidy`.
    """
    frame = tidy(cells)
    x, attack = str(figure["x"]), figure.get("attack") or None
    where, by = figure.get("where") or {}, list(figure.get("lines") or ())
    if (x == EPSILON) != (attack is not None):
        raise ValueError(
            "figure: x = 'epsilon' and an attack go together; neither is without the other"
        )
    for column in [*by, *([] if attack else [x])]:
        if column not in frame:
            raise ValueError(f"figure: {column!r} is no column of the cells")
    own = subjects(frame, where)
    names = [attack] if attack else list(several(figure.get("y") or "test_metric"))
    shown = [_values(own, x, str(name), attack) for name in names]
    shown = [rows[rows["x"].notna()] for rows in shown]
    if not any(rows["y"].notna().any() for rows in shown):
        return None
    categories = None
    if not attack and not pd.api.types.is_numeric_dtype(frame[x]):
        there = pd.concat(shown).sort_index()["x"].unique()
        named = [value for value in several(where.get(x, ())) if value in there]
        categories = tuple(dict.fromkeys([*named, *words.in_order(there)]))
    every = _lines(pd.concat(shown), by, where)
    lines = evenly(every, LINES_AT_MOST)
    panels = []
    for name, rows in zip(names, shown, strict=True):
        for dataset, part in rows.groupby("dataset", sort=True):
            if part["y"].notna().any():
                panels.append(
                    _panel(frame, figure, str(dataset), str(name), part, lines, published)
                )
    keys = [c for c in configuration_keys(own) if c not in (x, *by)]
    inner = own.groupby(["dataset", *([] if attack else [x]), *by], dropna=False, observed=True)
    averaged = [c for c in keys if (inner[c].nunique(dropna=False) > 1).any() and c != "dataset"]
    return StatedNumbers(
        title=str(figure.get("title") or ""),
        x=x,
        categories=categories,
        lines=tuple(lines),
        lines_left_out=len(every) - len(lines),
        panels=tuple(panels),
        averaged=tuple(averaged),
    )


def _values(rows: pd.DataFrame, x: str, name: str, attack: str | None) -> pd.DataFrame:
    """The rows with `x` and `y`; of an attack one for every strength."""
    if attack is None:
        return rows.assign(x=rows[x], y=measure(rows, name))
    long = attacked(rows)
    strengths = sorted(long.loc[long["attack"] == attack, "epsilon"].unique())
    parts = [] if 0.0 in strengths else [rows.assign(x=0.0, y=measure(rows, "test_metric"))]
    parts += [
        rows.assign(x=epsilon, y=measure(rows, f"{attack} {epsilon!r}"))
        for epsilon in map(float, strengths)
    ]
    return pd.concat(parts) if strengths else rows.assign(x=np.nan, y=np.nan)


def _lines(rows: pd.DataFrame, by: Sequence[str], where: Mapping[str, Any]) -> list[Line]:
    if not by:
        return [Line((), words.listed(several(where.get("role", "student"))))]
    known = rows[rows["y"].notna()]
    groups = known.groupby(list(by), dropna=False, sort=True, observed=True)
    keys: list[tuple[Any, ...]] = [tuple(key) for key, _ in groups]
    places = {c: words.in_order(rows.sort_index()[c].dropna()) for c in by}
    keys.sort(
        key=lambda key: [
            -1 if pd.isna(v) else places[c].index(v) for c, v in zip(by, key, strict=True)
        ]
    )
    found = [tuple(zip(by, key, strict=True)) for key in keys]
    return [
        Line(values, ", ".join(_spoken(c, v, len(by) == 1) for c, v in values)) for values in found
    ]


def _spoken(column: str, value: Any, alone: bool) -> str:
    if column == "teacher" and not pd.isna(value):
        return f"{value} teacher"
    name = column.replace("_", " ")
    if pd.isna(value):
        return f"no {name}"
    if column in ("role", "model") or (alone and isinstance(value, str)):
        return str(value)
    return f"{name} {words.number(value)}"


def _of_line(rows: pd.DataFrame, line: Line, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows of a line; of those of its columns that are named."""
    for column, value in line.values:
        if columns is None or column in columns:
            same = rows[column].isna() if pd.isna(value) else rows[column] == value
            rows = rows[same.fillna(False).astype(bool)]
    return rows


_STATISTICS = ["n", "n_asked", "mean", "ci_low", "ci_high"]


def _panel(
    frame: pd.DataFrame,
    figure: Mapping[str, Any],
    dataset: str,
    name: str,
    rows: pd.DataFrame,
    lines: Sequence[Line],
    published: Sequence[Mapping[str, Any]],
) -> StatedPanel:
    attack = figure.get("attack") or None
    metric = next(iter(rows["metric_name"].dropna()), "")
    points = []
    for line in lines:
        part = _of_line(rows, line)
        if len(part):
            points.append(over_seeds(part, ["x"], "y").assign(line=line.label))
    table = pd.concat(points)
    table = table[table["n"] > 0][["line", "x", *_STATISTICS]].reset_index(drop=True)
    if attack:
        title = f"{words.metric_title(metric)} under {words.attack_title(attack)}"
    else:
        title = measure_title(name, metric)
    own = frame[frame["dataset"] == dataset]
    return StatedPanel(
        dataset=dataset,
        measure=name,
        metric_name=metric,
        y_title=title,
        points=table,
        baselines=_baselines(own, figure, name, lines) if figure.get("baseline") else _empty(),
        teachers=_teachers(own, figure, name) if figure.get("teacher") else _empty(),
        published=_published(rows, lines, name, attack, published),
    )


def _empty() -> pd.DataFrame:
    return pd.DataFrame(columns=["line", "x", *_STATISTICS])


def _baselines(
    own: pd.DataFrame, figure: Mapping[str, Any], name: str, lines: Sequence[Line]
) -> pd.DataFrame:
    """The baselines of the lines, over `x` where that is one of their own parameters."""
    x, attack, where = str(figure["x"]), figure.get("attack") or None, figure.get("where") or {}
    shared = {"dataset", "model", *matching_keys(own)}
    conditions = {c: v for c, v in where.items() if c in shared}
    bases = subjects(own, {"role": "baseline", **conditions})
    if bases.empty:
        return _empty()
    rows = _values(bases, x, name, attack)
    along = attack is not None or x in shared
    if not along:
        rows = rows.assign(x=np.nan)
    found: dict[tuple[tuple[str, Any], ...], pd.DataFrame] = {}
    for line in lines:
        part = _of_line(rows, line, list(shared))
        key = tuple(pair for pair in line.values if pair[0] in shared)
        if key in found or part.empty:
            continue
        means = over_seeds(part, ["x"], "y")
        found[key] = means[means["n"] > 0].assign(
            line=line.label,
            named=", ".join(["baseline", *(_spoken(c, v, False) for c, v in key)]),
        )
    return pd.concat(found.values(), ignore_index=True) if found else _empty()


def _teachers(own: pd.DataFrame, figure: Mapping[str, Any], name: str) -> pd.DataFrame:
    """The teachers that guided the students of the figure; all of a name where none is known."""
    x, attack = str(figure["x"]), figure.get("attack") or None
    students = subjects(own, {**(figure.get("where") or {}), "role": "student"})
    pool = own[own["role"] == "teacher"]
    rows: list[dict[str, Any]] = []
    for teacher, guided in students.groupby("teacher", sort=True):
        chosen = set(guided["teacher_trial_id"].dropna()) & set(pool["trial_id"].dropna())
        # A teacher of several networks has the name of none, so trials count before names.
        mine = pool[pool["trial_id"].isin(chosen)] if chosen else pool[pool["model"] == teacher]
        if attack is not None:
            means = _values(mine, x, name, attack).groupby("x")["y"].mean().dropna()
            rows += [{"line": teacher, "x": at, "mean": mean} for at, mean in means.items()]
            continue
        value = measure(mine, name)
        if not chosen:
            rows.append({"line": teacher, "x": np.nan, "mean": value.mean()})
            continue
        at_x = {
            at: float(value[mine["trial_id"].isin(part["teacher_trial_id"])].mean())
            for at, part in guided.groupby(x)
        }
        alike = len(set(at_x.values())) == 1
        points = [(np.nan, next(iter(at_x.values())))] if alike else list(at_x.items())
        rows += [{"line": teacher, "x": at, "mean": mean} for at, mean in points]
    table = pd.DataFrame(rows, columns=["line", "x", "mean"])
    return table[table["mean"].notna()].reset_index(drop=True)


def _published(
    rows: pd.DataFrame,
    lines: Sequence[Line],
    name: str,
    attack: str | None,
    published: Sequence[Mapping[str, Any]],
) -> pd.DataFrame:
    """The published values that are of exactly the cells of one point."""
    found: list[dict[str, Any]] = []
    columns = ["line", "x", "value", "source"]
    for one in published:
        asked = MeasureName.parse(one["measure"])
        if attack is None:
            at, same = rows, asked.text == MeasureName.parse(name).text
        else:
            strength = 0.0 if asked.kind == "metric" else asked.number
            same = asked.kind == "metric" or (asked.kind == "attack" and asked.name == attack)
            at = rows[np.isclose(rows["x"], np.nan if strength is None else strength, 1e-9)]
        where = one.get("where") or {}
        if not same or any(column not in at for column in where):
            continue
        mine = met(at, where if "role" in where else {"role": "student", **where})
        for line in lines:
            part = _of_line(at.assign(mine=mine), line)
            taken = part[part["mine"]]
            if len(taken) != mine.sum() or taken.empty or taken["x"].nunique() > 1:
                continue
            place = taken["x"].iloc[0]
            if (part["x"] == place).sum() == len(taken):
                found.append({"line": line.label, "x": place, "value": float(one["value"]),
                              "source": one.get("source") or "published"})  # fmt: skip
    return pd.DataFrame(found, columns=columns)


def draw(numbers: StatedNumbers, narrow: bool = False) -> "go.Figure":
    """Draws the numbers."""
    several_datasets = len({panel.dataset for panel in numbers.panels}) > 1
    several_measures = len({panel.y_title for panel in numbers.panels}) > 1
    titles = [
        ": ".join(
            [words.dataset_title(panel.dataset)] * several_datasets
            + [panel.y_title] * (several_measures and not narrow)
        )
        for panel in numbers.panels
    ]
    single = len(numbers.panels) == 1
    panels = style.Panels(
        titles,
        columns=1 if narrow else 2,
        row_px=(style.SINGLE_PX if narrow else 400) if single else 300,
        x_title="strength (epsilon)" if numbers.x == EPSILON else numbers.x.replace("_", " "),
        y_title=[panel.y_title for panel in numbers.panels],
        shared_y=False,
        narrow=narrow,
    )
    named: set[str] = set()
    for index, panel in enumerate(numbers.panels):
        _draw_baselines(panels, index, panel, numbers, named)
        _draw_teachers(panels, index, panel, numbers, named)
        for position, line in enumerate(numbers.lines):
            _draw_line(panels, index, panel, numbers, position, line, named)
        _draw_published(panels, index, panel, numbers, named)
    if numbers.categories is not None:
        panels.x_axes(
            type="category", categoryorder="array", categoryarray=list(numbers.categories)
        )
        panels.layout(barmode="group")
    drawn = panels.figure(numbers.title)
    for index, panel in enumerate(numbers.panels):
        if (panel.points["n"] < SURE).any():
            drawn.layout[f"yaxis{index + 1 if index else ''}"].range = _shown(panel, numbers)
    return drawn


def _shown(panel: StatedPanel, numbers: StatedNumbers) -> list[float]:
    """The range of all that is drawn but the intervals of few seeds, which are wide past all sense."""
    sure = pd.concat([part[part["n"] >= SURE] for part in (panel.points, panel.baselines)])
    ends = [*panel.points["mean"], *panel.baselines["mean"], *panel.teachers["mean"]]
    ends += [*panel.published["value"], *sure["ci_low"].dropna(), *sure["ci_high"].dropna()]
    if numbers.categories is not None:
        ends.append(0.0)
    low, high = float(min(ends)), float(max(ends))
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return [low if low == 0 else low - room, high + room]


def stated_figure(
    cells: pd.DataFrame,
    figure: Mapping[str, Any],
    published: Sequence[Mapping[str, Any]] = (),
    narrow: bool = False,
) -> "go.Figure":
    """A figure that a study states, ready to show.

    Args:
        cells: One row per requested cell.
        figure: See `stated_numbers`.
        published: Published values, of which those stand in the figure that belong there.
        narrow: For a phone or one column of a page.

    Raises:
        ValueError: See `stated_numbers`; or no cell that it is about has a result.
    """
    numbers = stated_numbers(cells, figure, published)
    if numbers is None:
        raise ValueError(
            f"figure {figure.get('title', '')!r}: no cell that it is about has a result"
        )
    return draw(numbers, narrow)


def _once(label: str, named: set[str]) -> dict[str, Any]:
    """The name of a trace, in the legend for the first of its panels only."""
    first = label not in named
    named.add(label)
    return {"name": label, "legendgroup": label, "showlegend": first}


def _draw_line(
    panels: style.Panels,
    index: int,
    panel: StatedPanel,
    numbers: StatedNumbers,
    position: int,
    line: Line,
    named: set[str],
) -> None:
    points = panel.points[panel.points["line"] == line.label]
    if points.empty:
        return
    colour = style.category(position)
    trace: dict[str, Any] = {
        "x": points["x"].tolist(),
        "y": points["mean"].tolist(),
        "error_y": style.error_bars(points),
        "customdata": points[["n", "n_asked"]].to_numpy("int64"),
        "hovertemplate": (
            f"{line.label}, %{{x}}<br>%{{y:.5g}}, n = %{{customdata[0]}} of %{{customdata[1]}}"
            "<extra></extra>"
        ),
        **_once(line.label, named),
    }
    if numbers.categories is not None:
        # The wider ends keep an interval visible on the edge of its own bar.
        trace["error_y"] |= {"width": 4, "color": style.BASELINE}
        panels.add(index, type="bar", marker={"color": colour}, **trace)
        return
    look = {"color": colour, "width": 1.8}
    if position >= len(style.CATEGORIES):
        look["dash"] = "dashdot"
    mark = {"symbol": style.marker(position), "size": 7}
    panels.add(index, type="scatter", mode="lines+markers", line=look, marker=mark, **trace)


def _draw_baselines(
    panels: style.Panels, index: int, panel: StatedPanel, numbers: StatedNumbers, named: set[str]
) -> None:
    bases = panel.baselines
    if len(bases) == 1 and bases["x"].isna().all():
        base = bases.iloc[0]
        legend = "" if style.BASELINE_LEGEND in named else style.BASELINE_LEGEND
        named.add(style.BASELINE_LEGEND)
        panels.baseline(index, base["mean"], base["ci_low"], base["ci_high"], legend)
        return
    labels = [line.label for line in numbers.lines]
    groups = list(bases.groupby("line", sort=False)) if len(bases) else []
    for label, part in groups:
        colour = style.category(labels.index(str(label))) if len(groups) > 1 else style.BASELINE
        x, y = _across(part, panel, numbers)
        _reference(panels, index, x, y, (colour, "dash"), str(part["named"].iloc[0]), named)


def _draw_teachers(
    panels: style.Panels, index: int, panel: StatedPanel, numbers: StatedNumbers, named: set[str]
) -> None:
    names = words.by_size(panel.teachers["line"])
    for position, teacher in enumerate(names):
        x, y = _across(panel.teachers[panel.teachers["line"] == teacher], panel, numbers)
        # From the other end of the palette: a teacher is none of the lines.
        colour = style.BASELINE if len(names) == 1 else style.category(-1 - position)
        _reference(panels, index, x, y, (colour, "dot"), f"the {teacher} teacher itself", named)


def _reference(
    panels: style.Panels,
    index: int,
    x: list[Any],
    y: list[Any],
    look: tuple[str, str],
    name: str,
    named: set[str],
) -> None:
    """A line that others are held against; `look` is its colour and dash."""
    colour, dash = look
    panels.add(
        index,
        type="scatter",
        mode="lines",
        x=x,
        y=y,
        line={"color": colour, "width": 1.6, "dash": dash},
        hovertemplate=f"{name}<br>%{{y:.5g}}<extra></extra>",
        **_once(name, named),
    )


def _draw_published(
    panels: style.Panels, index: int, panel: StatedPanel, numbers: StatedNumbers, named: set[str]
) -> None:
    labels = [line.label for line in numbers.lines]
    for label, part in panel.published.groupby("line", sort=False):
        position = labels.index(str(label))
        colour = style.category(position) if numbers.categories is None else style.BASELINE
        symbol = f"{style.marker(position)}-open"
        several_lines = len(labels) > 1
        panels.add(
            index,
            type="scatter",
            mode="markers",
            x=part["x"].tolist(),
            y=part["value"].tolist(),
            marker={"symbol": symbol, "size": 11, "color": colour, "line": {"width": 2}},
            customdata=part[["source"]].to_numpy(),
            hovertemplate="%{customdata[0]}, %{x}<br>%{y:.5g}<extra></extra>",
            **_once(f"published, {label}" if several_lines else "published", named),
        )


def _across(
    points: pd.DataFrame, panel: StatedPanel, numbers: StatedNumbers
) -> tuple[list[Any], list[float]]:
    """A line's own points, or one across the panel where it does not depend on `x`."""
    if points["x"].notna().all():
        return points["x"].tolist(), points["mean"].tolist()
    ends = panel.points["x"]
    x = list(numbers.categories) if numbers.categories is not None else [ends.min(), ends.max()]
    return x, [float(points["mean"].iloc[0])] * len(x)
