"""Joins to the cells of a study where their networks look.

A cell has a list with an entry for each way in which its trial's network was asked: what was asked
for, and for each field of the points an array with an item for each image. Arrays, since a study has
many images, and a mapping for each takes many times as long.
"""

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sweep.records import ATTRIBUTIONS
from sweep.store import Store

if TYPE_CHECKING:
    import pandas as pd

COLUMN = "attributions"

_SAID = ("method", "explains", "segmentation", "images", "background_images", "repeats",
         "background_used", "completeness_error")  # fmt: skip


def with_attributions(cells: "pd.DataFrame", store: Store) -> "pd.DataFrame":
    """Cells with a column of where their networks look; as they are where none was asked.

    Args:
        cells: with `trial_id` and `status`.
        store: where it was kept.
    """
    rows, _ = store.attributions.read(["trial_id", *_SAID, "points"])
    done = cells.loc[cells["status"] == "done", "trial_id"]
    rows = rows.filter(pc.is_in(rows["trial_id"], value_set=pa.array(done.unique(), pa.string())))
    if rows.num_rows == 0:
        return cells
    found = _by_trial(rows)
    joined = cells.copy()
    joined[COLUMN] = cells["trial_id"].map(found.get).astype("object")
    return joined


def _by_trial(rows: pa.Table) -> dict[str, list[dict[str, Any]]]:
    points = rows["points"].combine_chunks()
    flat = points.flatten()
    fields = [field.name for field in ATTRIBUTIONS.field("points").type.value_type]
    arrays = {name: pc.struct_field(flat, name).to_numpy(zero_copy_only=False) for name in fields}
    ends = pc.list_value_length(points).fill_null(0).to_numpy().cumsum()
    found: dict[str, list[dict[str, Any]]] = {}
    start = 0
    for said, end in zip(rows.drop_columns(["points"]).to_pylist(), ends.tolist(), strict=True):
        own = {name: values[start:end] for name, values in arrays.items()}
        found.setdefault(said.pop("trial_id"), []).append({**said, **own})
        start = end
    return found
