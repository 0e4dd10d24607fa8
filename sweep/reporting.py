"""Hands results to the analysis: the report, and tidy files for other tools."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

import analysis
from analysis.runs import run_totals
from sweep import extensions
from sweep.errors import SweepError
from sweep.imported import Origin
from sweep.local_files import write_atomically
from sweep.records import code_version
from sweep.results import Results

NESTED = ("train_loss", "train_loss_step", "curve", "robustness", "per_class", "confusion",
          "teacher_trial_ids", "validation_robustness", "perturbed", "attributions")  # fmt: skip


BY_CLASS = ("per_class", "confusion")
BY_CLASS_AT_MOST = 20_000
"""Cells of a study of which figures by class are reported; of more, reading them takes too long."""


def write(results: Results, study: str, path: Path | None = None) -> tuple[str, int]:
    """Writes the report of a study.

    Args:
        results: where its results lie.
        study: its name.
        path: the HTML file; None puts it beside the results.

    Returns:
        Where it is, and its size in bytes.

    Raises:
        StoreError: where the study was never run there, or the file cannot be written.
    """
    few = results.asked(study) <= BY_CLASS_AT_MOST
    cells = results.cells(study, without=() if few else BY_CLASS)
    text = results.study_text(study)
    described: dict[str, Any] = json.loads(text)
    distinct = cells.drop_duplicates("trial_id")
    origin = Origin.of(text)
    runs = results.runs(study)
    totals = run_totals(runs)
    counted = totals is not None and totals.saved is not None  # planning again takes its time
    search = results.store.read_search_table(study)
    info = analysis.ReportInfo(
        study=study,
        title=(origin.title if origin else described.get("title")) or study,
        question=_about(origin) if origin else described.get("question", ""),
        study_toml=json.dumps(described, indent=2),
        generated_at=datetime.now(UTC),
        code_version=code_version(),
        command=f"sweep {'import FILE --study' if origin else 'run'} {study}",
        expected=tuple(described.get("expected", ())),
        published=tuple(described.get("published", ())),
        figures=tuple(described.get("figures", ())),
        tables=tuple(described.get("tables", ())),
        saved_epochs=None if origin or counted else _epochs(results, described, distinct),
        search=None if search is None else search.to_pandas(),
    )
    attempts = results.attempts()
    own = attempts[attempts["trial_id"].isin(set(distinct["trial_id"]))]
    page = analysis.render_report(cells, own, info, runs).encode()
    if path is not None:
        write_atomically(path, page)
        return str(path), len(page)
    return results.store.on.shown(results.store.write_report(study, page)), len(page)


def _about(origin: Origin) -> str:
    """What is said of imported results in place of a question."""
    said = str(origin)
    return " ".join([*([origin.note] if origin.note else []), said[:1].upper() + said[1:] + "."])


def _epochs(results: Results, described: dict[str, Any], distinct: pd.DataFrame) -> tuple[int, int]:
    """Epochs of the trials that were asked for, each alone and after sharing."""
    from sweep.begun import begun_of
    from sweep.expand import expand
    from sweep.findings import known_to
    from sweep.plan import plan
    from sweep.study import Study

    extensions.load()
    study, asked = Study.model_validate(described), set(distinct["trial_id"])
    known = known_to(study, results.store)
    found = expand(study, known, begun=begun_of(study, results.store)).cells
    planned = plan(cell.spec for cell in found if cell.trial_id in asked).epochs
    return int(distinct["epochs"].sum()), planned


def export(results: Results, study: str, path: Path) -> int:
    """Writes the cells of a study as one tidy file.

    Robustness becomes a column per attack and epsilon; curves stay lists in Parquet and are left
    out of CSV.

    Args:
        results: where its results lie.
        study: its name.
        path: ends with `.parquet` or `.csv`.

    Returns:
        The number of rows.

    Raises:
        SweepError: for another kind of file.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise SweepError(f"{str(path)!r}: must end with .parquet or .csv")
    cells = results.cells(study)
    points = cells["robustness"].map(_columns_of)
    wide = pd.DataFrame(list(points), index=cells.index)
    tidy = pd.concat([cells.drop(columns=["robustness"]), wide], axis=1)
    if path.suffix == ".csv":
        flat = tidy.drop(columns=[c for c in NESTED if c in tidy])
        content = flat.to_csv(index=False).encode()
    else:
        content = tidy.to_parquet(index=False)
    write_atomically(path, content)
    return len(tidy)


def _columns_of(points: Any) -> dict[str, float]:
    if points is None or (isinstance(points, float) and points != points):
        return {}
    return {f"{point['attack']}_{point['epsilon']:g}": point["value"] for point in points}
