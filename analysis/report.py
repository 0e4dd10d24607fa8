"""One self-contained HTML page that answers a study: words, figures, tables, provenance.

Everything is in the file, the plotting library too, and its security policy forbids the page to
load anything. Names and messages come from users and from machines; the template escapes them all.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis import report_figures as drawn
from analysis import tables, words
from analysis.attack_checks import attack_warnings
from analysis.attribution import attribution_table, attribution_ways
from analysis.best import win_shares
from analysis.best_student import best_student
from analysis.cells import Variant, tidy, variants
from analysis.classes import class_scores, error_reduction
from analysis.convergence import convergence_table
from analysis.effects import factor_effects
from analysis.equal_accuracy import robustness_at_equal_accuracy
from analysis.expectations import expected_settings
from analysis.figures.stated import stated_numbers
from analysis.findings import Findings, study_findings
from analysis.pairs import paired
from analysis.publications import published
from analysis.questions import Answer, answers
from analysis.report_figures import FigureBlock
from analysis.runs import run_totals
from analysis.search import search_choices, search_points
from analysis.seed_spread import stability
from analysis.stated_tables import stated_table
from analysis.teachers import selection_splits

if TYPE_CHECKING:
    pass

VARIANTS_AT_MOST = 6
TRACEBACKS_AT_MOST = 5


@dataclass(frozen=True)
class ReportInfo:
    """What the report says about the study beside its results.

    Attributes:
        study: The study's name.
        title: Headline; the name where it is empty.
        question: What the study asks.
        study_toml: The study file as it was run.
        generated_at: When the report was made.
        code_version: Version of this package.
        command: The command that made the results or the report.
        saved_epochs: Epochs if each trial were trained alone, and epochs planned after sharing.
        expected: Settings expected to do best (see `analysis.expectations`).
        published: Published values (see `analysis.publications`).
        figures: Figures that the study states (see `analysis.figures.stated`).
        tables: Tables that the study states: `title` and what `analysis.stated_tables` takes.
        search: The points of its search (see `analysis.search`); or None.
    """

    study: str
    title: str = ""
    question: str = ""
    study_toml: str = ""
    generated_at: datetime | None = None
    code_version: str = ""
    command: str = ""
    saved_epochs: tuple[int, int] | None = None
    expected: tuple[Mapping[str, Any], ...] = ()
    published: tuple[Mapping[str, Any], ...] = ()
    figures: tuple[Mapping[str, Any], ...] = ()
    tables: tuple[Mapping[str, Any], ...] = ()
    search: pd.DataFrame | None = None


@dataclass(frozen=True)
class SearchBlock:
    """What came of the search on one dataset."""

    title: str
    said: tuple[str, ...]
    points: tables.Table
    figures: tuple[FigureBlock, ...]


@dataclass(frozen=True)
class VariantBlock:
    """The figures of one variant of a dataset."""

    label: str
    figures: tuple[FigureBlock, ...]


@dataclass(frozen=True)
class QuestionBlock:
    """A question with its answer and the contrasts behind it."""

    answer: Answer
    contrasts: tables.Table


@dataclass(frozen=True)
class StatedBlock:
    """What a study file states: figures with their numbers, tables, and what has no result yet."""

    figures: tuple[tuple[FigureBlock, tables.Table], ...]
    shown: tuple[tables.Table, ...]
    published: tables.Table | None
    without_results: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.figures or self.shown or self.published or self.without_results)


@dataclass(frozen=True)
class Section:
    """Everything the page says about one dataset."""

    name: str
    title: str
    findings: Findings
    splits: tuple[str, ...]
    variants: tuple[VariantBlock, ...]
    variants_left_out: int
    teacher_figures: tuple[FigureBlock, ...]
    configurations: tables.Table | None
    winners: tables.Table | None
    spread: tables.Table | None
    effects: tables.Table | None
    effects_figure: FigureBlock | None
    attacks: tables.Table | None
    attacks_full: tables.Table | None
    equal_accuracy: tables.Table | None
    attack_checks: tables.Table | None
    convergence: tables.Table | None
    teachers: tables.Table | None
    class_figure: FigureBlock | None
    class_scores: tables.Table | None
    class_errors: tables.Table | None
    label_figure: FigureBlock | None
    label_numbers: tables.Table | None
    looks_figure: FigureBlock | None
    looks: tuple[tuple[str, tables.Table], ...]


@dataclass(frozen=True)
class Provenance:
    """Where the results come from: label and values, in the order they are shown."""

    facts: tuple[tuple[str, tuple[str, ...]], ...] = field(default=())


def write_report(
    cells: pd.DataFrame,
    attempts: pd.DataFrame | None,
    info: ReportInfo,
    path: Path | str,
    runs: pd.DataFrame | None = None,
) -> None:
    """Writes the report; a reader of the old file never sees half of the new one.

    Args:
        cells: One row per requested cell (see `analysis.columns`).
        attempts: One row per attempt with `trial_id` and, where known, `kind`, `message`,
            `traceback`, `node`, `finished_at`; or None.
        info: What to say about the study.
        path: The HTML file; its folder is made where it is missing.
        runs: One row per run of the study (see `analysis.runs`); or None.

    Raises:
        ValueError: See `analysis.cells.tidy`; or the table has no rows.
    """
    page = render_report(cells, attempts, info, runs)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    aside.write_text(page, encoding="utf-8")
    aside.replace(target)


def render_report(
    cells: pd.DataFrame,
    attempts: pd.DataFrame | None,
    info: ReportInfo,
    runs: pd.DataFrame | None = None,
) -> str:
    """The report as text; see `write_report`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    if cells.empty:
        raise ValueError("cells: the table has no rows, so there is nothing to report")
    frame = tidy(cells)
    study = _Study.of(frame)
    found = study_findings(frame, study.pairs)
    parts = variants(frame)
    splits = selection_splits(frame)
    sections = tuple(
        _section(
            study,
            findings,
            [part for part in parts if part.dataset == findings.dataset],
            splits.get(findings.dataset, ()),
            position,
        )
        for position, findings in enumerate(found)
    )
    environment = Environment(
        loader=PackageLoader("analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    stated = _stated(frame, info)
    payloads = {figure.name: figure.payload for figure, _ in stated.figures}
    searched = tuple(_searched(info.search))
    payloads |= {figure.name: figure.payload for block in searched for figure in block.figures}
    payloads |= {
        figure.name: figure.payload for section in sections for figure in _figures(section)
    }
    return environment.get_template("report.html.j2").render(
        info=info,
        title=info.title or info.study,
        generated=f"{info.generated_at:%Y-%m-%d %H:%M}" if info.generated_at else "",
        sections=sections,
        answers=[QuestionBlock(answer, tables.contrasts(answer)) for answer in answers(frame)],
        expected=tables.expected(expected_settings(frame, info.expected)),
        stated=stated,
        searched=searched,
        progress=_progress(frame, info, runs),
        on_test=[s.title for s in sections if "test" in s.splits],
        unfinished=tables.unfinished(frame, attempts),
        failed_attempts=tables.failed_attempts(attempts),
        tracebacks=_tracebacks(attempts),
        runs=tables.runs(runs),
        provenance=_provenance(frame, info),
        figures_json=_script_json(payloads),
        plotly_js=get_plotlyjs(),
        words=words,
    )


@dataclass(frozen=True)
class _Study:
    """Tables of the whole study that the sections take their parts from.

    Tests are corrected for all configurations of the study, so its parts are no studies of their own.
    """

    frame: pd.DataFrame
    pairs: pd.DataFrame
    shares: pd.DataFrame
    stability: pd.DataFrame
    effects: pd.DataFrame
    attack_warnings: pd.DataFrame
    equal_accuracy: pd.DataFrame

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "_Study":
        return cls(
            frame=frame,
            pairs=paired(frame),
            shares=win_shares(frame),
            stability=stability(frame),
            effects=factor_effects(frame),
            attack_warnings=attack_warnings(frame),
            equal_accuracy=robustness_at_equal_accuracy(frame),
        )

    def part(self, table: pd.DataFrame, dataset: str) -> pd.DataFrame:
        return table[table["dataset"] == dataset].reset_index(drop=True)


def _stated(frame: pd.DataFrame, info: ReportInfo) -> StatedBlock:
    figures, shown, without = [], [], []
    for position, figure in enumerate(info.figures):
        numbers = stated_numbers(frame, figure, info.published)
        if numbers is None:
            without.append(str(figure["title"]))
            continue
        block = drawn.of_study(numbers, f"stated{position}")
        figures.append((block, tables.stated_points(numbers)))
    for table in info.tables:
        found = stated_table(frame, table, info.published)
        made = tables.stated(found, str(table["title"]), table.get("deviation") or "sample")
        if made is None:
            without.append(str(table["title"]))
        else:
            shown.append(made)
    return StatedBlock(
        figures=tuple(figures),
        shown=tuple(shown),
        published=tables.published(published(frame, info.published)),
        without_results=tuple(without),
    )


def _searched(table: pd.DataFrame | None) -> Iterator[SearchBlock]:
    """The search of each dataset, where there was one."""
    if table is None or table.empty:
        return
    points = search_points(table)
    choices = {choice.dataset: choice for choice in search_choices(table)}
    for position, (dataset, own) in enumerate(points.groupby("dataset", sort=False)):
        choice = choices.get(str(dataset))
        yield SearchBlock(
            words.dataset_title(str(dataset)),
            tuple(choice.sentences()) if choice else ("The search is not at its end yet.",),
            tables.search(own, choice),
            tuple(drawn.of_search(table, str(dataset), f"search{position}")),
        )


def _section(
    study: _Study,
    findings: Findings,
    parts: list[Variant],
    splits: tuple[str, ...],
    position: int,
) -> Section:
    name = findings.dataset
    own = study.part(study.frame, name)
    learned = convergence_table(own)
    # One of several variants is a smaller family of tests than the dataset.
    of_variant = learned if len(parts) == 1 else None
    blocks = []
    for number, part in enumerate(parts[:VARIANTS_AT_MOST]):
        prefix = f"f{position}-{number}"
        figures = tuple(drawn.of_variant(part, study.pairs, prefix, of_variant))
        if figures:
            blocks.append(VariantBlock(part.label, figures))
    pairs = study.part(study.pairs, name)
    factors = study.part(study.effects, name)
    labels = drawn.labels(own, f"f{position}")
    return Section(
        name=name,
        title=words.dataset_title(name),
        findings=findings,
        splits=splits,
        variants=tuple(blocks),
        variants_left_out=max(0, len(parts) - VARIANTS_AT_MOST),
        teacher_figures=drawn.teachers(own, f"f{position}"),
        configurations=tables.configurations(own, pairs),
        winners=tables.winners(study.part(study.shares, name), pairs, own),
        spread=tables.spread(study.part(study.stability, name), own),
        effects=tables.effects(factors),
        effects_figure=drawn.effects(factors, f"f{position}"),
        attacks=tables.attacks_summary(own, name),
        attacks_full=tables.attacks_full(own, name),
        equal_accuracy=tables.equal_accuracy(study.part(study.equal_accuracy, name), own),
        attack_checks=tables.checks(study.part(study.attack_warnings, name)),
        convergence=tables.convergence(learned),
        teachers=tables.teachers(own, name),
        class_figure=drawn.classes(own, f"f{position}"),
        class_scores=tables.class_scores(class_scores(own), own),
        class_errors=_class_errors(own),
        label_figure=labels[0] if labels else None,
        label_numbers=tables.stated_points(labels[1]) if labels else None,
        looks_figure=drawn.looks(own, f"f{position}"),
        looks=tuple(_looks(own)),
    )


def _looks(own: pd.DataFrame) -> Iterator[tuple[str, tables.Table]]:
    """For each way in which the networks of a dataset were asked where they look, words and numbers."""
    ways = attribution_ways(own)
    table = attribution_table(own) if ways else None
    for way in ways:
        made = None if table is None else tables.attribution(table, own, way)
        if made is not None:
            yield way.sentences(), made


def _class_errors(own: pd.DataFrame) -> tables.Table | None:
    """The error of each class, of the best student alone."""
    best = best_student(own)
    if best is None or best.baselines.empty:
        return None
    both = pd.concat([best.baselines, best.students])
    return tables.error_reduction(error_reduction(both), best.label)


def _figures(section: Section) -> Iterator[FigureBlock]:
    for variant in section.variants:
        yield from variant.figures
    if section.effects_figure is not None:
        yield section.effects_figure
    yield from section.teacher_figures
    yield from filter(None, (section.class_figure, section.label_figure, section.looks_figure))


def _script_json(value: object) -> str:
    """JSON that can stand in a script element: nothing in it can close the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _progress(
    frame: pd.DataFrame, info: ReportInfo, runs: pd.DataFrame | None
) -> list[tuple[str, str, str]]:
    """The tiles of the header: number, what it counts, a remark."""
    done = frame[frame["done"]]
    trials = done["trial_id"].nunique() or len(done)
    roles = done.drop_duplicates("trial_id") if done["trial_id"].notna().all() else done
    by_role = roles["role"].value_counts()
    order = ("student", "baseline", "teacher")
    remark = words.listed(
        words.counted(int(by_role[role]), role) for role in order if role in by_role
    )
    tiles = [(f"{trials:,}", "trial finished" if trials == 1 else "trials finished", remark)]
    states = frame.loc[~frame["done"], "status"].replace("done", "no finite figure").value_counts()
    said = words.listed(f"{count:,} {state}" for state, count in states.items())
    tiles.append(
        (
            f"{len(done):,} of {len(frame):,}",
            "requested cells have a result",
            said or "none is missing",
        )
    )
    counts = frame.groupby("role")["seed"].nunique()
    pool = counts.drop("teacher", errors="ignore")
    seeds_asked = int(pool.max()) if len(pool) else int(counts.max())
    tiles.append((f"{seeds_asked}", "seed" if seeds_asked == 1 else "seeds", ""))
    totals = run_totals(runs)
    if totals is not None and totals.saved is not None:
        remark = f"{totals.epochs_trained:,} epochs trained in place of {totals.epochs_alone:,}"
        tiles.append((f"{totals.saved:.0%}", "of the epochs saved by sharing", remark))
    elif info.saved_epochs is not None and info.saved_epochs[0] > 0:
        naive, planned = info.saved_epochs
        remark = f"{planned:,} epochs planned in place of {naive:,}"
        tiles.append((f"{1 - planned / naive:.0%}", "of the epochs saved by sharing", remark))
    if totals is not None and totals.utilisation is not None:
        remark = f"{words.counted(totals.runs, 'run')}, {words.duration(totals.elapsed_s)}"
        tiles.append((f"{totals.utilisation:.0%}", "of the workers' time in use", remark))
    return tiles


def _tracebacks(attempts: pd.DataFrame | None) -> list[tuple[str, int]]:
    """The most frequent different tracebacks with how often each was seen."""
    if attempts is None or "traceback" not in attempts:
        return []
    texts = attempts["traceback"].dropna()
    counts = texts[texts.astype(str).str.strip() != ""].value_counts()
    return [(str(text)[-6000:], int(count)) for text, count in counts[:TRACEBACKS_AT_MOST].items()]


def _provenance(frame: pd.DataFrame, info: ReportInfo) -> Provenance:
    done = frame[frame["done"]]
    trials = done.drop_duplicates("trial_id") if done["trial_id"].notna().all() else done
    facts: list[tuple[str, tuple[str, ...]]] = [("Study", (info.study,))]
    if info.command:
        facts.append(("Command", (info.command,)))
    if info.code_version:
        facts.append(("This report's code", (info.code_version,)))
    for column, label in (
        ("code_version", "Results' code"),
        ("numerics_class", "Numerics classes (equal bits are promised within one)"),
        ("device_name", "Devices"),
    ):
        if column in trials and trials[column].notna().any():
            counts = trials[column].value_counts()
            listed = tuple(f"{name} ({words.counted(n, 'trial')})" for name, n in counts.items())
            facts.append((label, listed))
    if "data_fingerprint" in trials and trials["data_fingerprint"].notna().any():
        prints = trials.groupby("dataset")["data_fingerprint"].unique()
        listed = tuple(
            f"{words.dataset_title(str(dataset))}: {', '.join(str(p) for p in values)}"
            for dataset, values in prints.items()
        )
        facts.append(("Data fingerprints", listed))
    seeds_used = sorted(frame.loc[frame["role"] != "teacher", "seed"].unique())
    if len(seeds_used):
        shown = " ".join(str(seed) for seed in seeds_used[:60])
        facts.append(("Seeds", (shown + (" …" if len(seeds_used) > 60 else ""),)))
    for column, label in (("wall_s", "Wall time, all trials"), ("device_s", "Device time")):
        if column in trials and trials[column].notna().any():
            total = float(pd.to_numeric(trials[column]).sum())
            facts.append((label, (words.duration(total),)))
    if "finished_at" in trials and trials["finished_at"].notna().any():
        times = trials["finished_at"].dropna()
        first, last = str(times.min())[:19], str(times.max())[:19]
        facts.append(("Finished", (f"first {first}, last {last}",)))
    return Provenance(tuple(facts))
