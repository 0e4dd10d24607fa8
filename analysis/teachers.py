"""The teachers that were trained, and which of them guided the students."""

import pandas as pd

from analysis.cells import configuration_keys, tidy


def teacher_table(cells: pd.DataFrame) -> pd.DataFrame:
    """Every teacher, with whether it was chosen.

    Args:
        cells: One row per requested cell.

    Returns:
        One row per teacher cell: `dataset`, `model`, further parameters that vary, `seed`,
        `trial_id`, `status`, `metric_name`, `test_metric`, `validation_metric`, `students` (cells
        it guided), `chosen`, and `selected_on`: the split its students name (null if none does).

    Raises:
        ValueError: See `analysis.cells.tidy`.
    """
    frame = tidy(cells)
    for column in ("validation_metric", "selected_on"):
        if column not in frame:
            frame[column] = None
    teachers = frame[frame["role"] == "teacher"]
    students = frame[(frame["role"] == "student") & frame["teacher_trial_id"].notna()]
    if "teacher_trial_ids" in students:
        ids = students["teacher_trial_ids"].where(
            students["teacher_trial_ids"].notna(), students["teacher_trial_id"]
        )
        students = students.assign(teacher_trial_id=ids).explode("teacher_trial_id")
    guided = students.groupby("teacher_trial_id").agg(
        students=("seed", "size"), selected_on=("selected_on", "first")
    )
    extra = [c for c in configuration_keys(teachers) if c not in configuration_keys(teachers[:0])]
    columns = ["dataset", "model", *extra, "seed", "trial_id", "status", "metric_name"]
    table = teachers[[*columns, "test_metric", "validation_metric"]].merge(
        guided, left_on="trial_id", right_index=True, how="left"
    )
    table["students"] = table["students"].fillna(0).astype(int)
    table["chosen"] = table["students"] > 0
    return table.reset_index(drop=True)


def selection_splits(cells: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """The splits on which something was selected, per dataset, as the results recorded them.

    Students that had a teacher say on which split it was chosen; where there are none the teachers'
    own record is used.
    """
    frame = tidy(cells)
    if "selected_on" not in frame:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for dataset, part in frame.groupby("dataset", sort=True):
        named = part[part["selected_on"].notna()]
        students = named[named["role"] == "student"]
        source = students if len(students) else named[named["role"] == "teacher"]
        splits = tuple(sorted({s for text in source["selected_on"] for s in text.split(",")}))
        if splits:
            found[str(dataset)] = splits
    return found
