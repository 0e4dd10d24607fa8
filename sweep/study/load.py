"""From a name, a file or a mapping to a validated study."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import data
from sweep import extensions
from sweep.errors import StudyError
from sweep.study.check_tune import check_tune
from sweep.study.checks import check_dataset, check_later, check_starts
from sweep.study.complaints import ask_catalog, describe
from sweep.study.dataset import SECTIONS
from sweep.study.files import plain_data, read_file
from sweep.study.keys import refuse_unknown_keys
from sweep.study.merging import merge
from sweep.study.overrides import apply_overrides
from sweep.study.size import MAX_CELLS, count_cells
from sweep.study.study import Study


def load_study(
    source: str | Path | Mapping[str, Any], overrides: Mapping[str, Any] | Iterable[str] = ()
) -> Study:
    """Reads and validates a study.

    Args:
        source: a built-in name, a TOML file, or the content of one as a mapping.
        overrides: `{"recipe.epochs": 2}` or `["recipe.epochs=2"]`; see `apply_overrides`.

    Raises:
        StudyError: naming the key, the value and what is allowed.
    """
    extensions.load()
    raw = plain_data(source if isinstance(source, Mapping) else read_file(str(source)))
    apply_overrides(raw, overrides)
    return validate(raw)


def validate(raw: Mapping[str, Any]) -> Study:
    """Validates the content of a study file.

    Raises:
        StudyError: naming the key, the value and what is allowed.
    """
    refuse_unknown_keys(raw)
    sections = {key: raw[key] for key in SECTIONS if key in raw}
    datasets = raw.get("datasets", {})
    merged = {
        name: merge(sections, own if isinstance(own, Mapping) else {})
        for name, own in datasets.items()
    }
    for name in merged:
        ask_catalog(lambda name=name: data.get(name), f"datasets.{name}")
    try:
        study = Study.model_validate(
            {key: value for key, value in raw.items() if key not in SECTIONS} | {"datasets": merged}
        )
    except ValidationError as error:
        raise StudyError(describe(error, raw)) from None
    for name, dataset in study.datasets.items():
        check_dataset(name, dataset)
        check_starts(study, name, dataset)
        check_later(study, name, dataset)
        check_tune(study, name, dataset)
    cells = count_cells(study)
    if cells > MAX_CELLS:
        raise StudyError(f"the grid has {cells:,} cells; at most {MAX_CELLS:,} are allowed")
    if cells == 0:
        raise StudyError("an empty grid: no cell to train; give [grid] values or baseline = true")
    return study
