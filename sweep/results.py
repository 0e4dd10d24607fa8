"""Reads a results directory: trials and cells as pandas frames, networks by trial id."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sweep import extensions
from sweep.cells import last_failures
from sweep.errors import StoreError
from sweep.records import CELLS, TRIALS
from sweep.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


class Results:
    """What a results directory holds. Reading never changes it, and works while a run writes."""

    def __init__(self, directory: str | Path = "results") -> None:
        """Opens a results directory.

        Raises:
            StoreError: where there is none.
        """
        if not Path(directory).is_dir():
            raise StoreError(f"results directory {str(directory)!r} does not exist")
        self.store = Store(directory)

    def studies(self) -> list[str]:
        """Names of the studies that were run here."""
        return self.store.studies()

    def trials(self) -> "pd.DataFrame":
        """One row per trial, with `sweep.records.TRIALS` as columns."""
        return _frame(self.trial_table())

    def attempts(self) -> "pd.DataFrame":
        """One row per execution of a trial."""
        rows, _ = self.store.attempts.read()
        return _frame(rows)

    def runs(self, study: str) -> "pd.DataFrame":
        """One row per run of a study, with `sweep.records.RUNS` as columns."""
        rows, _ = self.store.runs.read()
        frame = _frame(rows)
        return frame[frame["study"] == study].reset_index(drop=True)

    def cells(self, study: str) -> "pd.DataFrame":
        """One row per requested cell of a study, joined with its trial.

        The parameters are those that were asked for. `status` is `done`, `failed`, `blocked`
        (its teachers failed, or all of them diverged) or `missing`; what was measured is null unless it is `done`.

        Raises:
            StoreError: where the study was never run here.
        """
        return _frame(self.cell_table(study))

    def cell_table(self, study: str, trials: pa.Table | None = None) -> pa.Table:
        """The same as `cells`, as an Arrow table.

        Args:
            study: its name.
            trials: what `trial_table` gave, for who reads several studies.

        Raises:
            StoreError: where the study was never run here.
        """
        cells = self._asked(study)
        trials = self.trial_table() if trials is None else trials
        take = _positions(cells, trials)
        for name in TRIALS.names:
            if name not in CELLS.names and name != "status":
                cells = cells.append_column(TRIALS.field(name), trials[name].take(take))
        return cells.append_column("status", self._statuses(cells, trials["status"].take(take)))

    def statuses(self, study: str) -> dict[str, str]:
        """The status of every trial of a study, by its id; see `cells`.

        Raises:
            StoreError: where the study was never run here.
        """
        cells = self._asked(study)
        trials, _ = self.store.trials.read(["trial_id", "status"])
        statuses = self._statuses(cells, trials["status"].take(_positions(cells, trials)))
        return dict(zip(cells["trial_id"].to_pylist(), statuses.to_pylist(), strict=True))

    def _asked(self, study: str) -> pa.Table:
        """The cells of a study as they were asked for."""
        found = self.store.read_cells(study)
        if found is None:
            known = ", ".join(self.studies()) or "none"
            raise StoreError(f"study {study!r} was never run in {self.store.layout.root}; "
                             f"studies there: {known}")  # fmt: skip
        return found[0]

    def study_text(self, study: str) -> str:
        """The study as JSON, as it was run last."""
        found = self.store.read_cells(study)
        return "{}" if found is None else found[1]

    def counts(self, study: str) -> dict[str, int]:
        """How many trials of a study are done, failed, blocked and missing."""
        return count(self.statuses(study))

    def trial(self, id_or_prefix: str) -> dict[str, Any]:
        """The whole record of a trial, with its attempts.

        Raises:
            StoreError: where no trial, or more than one, has an id that begins so.
        """
        attempts, _ = self.store.attempts.read()
        own = [row for row in attempts.to_pylist() if row["trial_id"].startswith(id_or_prefix)]
        trials = self.trial_table()
        ids = trials["trial_id"].to_pylist()
        matches = sorted({tid for tid in ids if tid.startswith(id_or_prefix)} |
                         {row["trial_id"] for row in own})  # fmt: skip
        if len(matches) != 1:
            what = "no trial" if not matches else f"{len(matches)} trials"
            raise StoreError(f"{what} with an id that begins with {id_or_prefix!r}")
        trial_id = matches[0]
        record = trials.slice(ids.index(trial_id), 1).to_pylist()[0] if trial_id in ids else {}
        weights = self.store.layout.weights(trial_id)
        return {
            **(record or {"trial_id": trial_id, "status": "failed"}),
            "weights": str(weights) if weights.is_file() else None,
            "attempts": sorted(own, key=lambda row: row["started_at"]),
        }

    def model(self, id_or_prefix: str) -> "nn.Module":
        """The trained network of a trial, in eval mode on the CPU.

        Raises:
            StoreError: where there is no such trial, or its weights were not kept.
        """
        from trials import weights

        extensions.load()
        record = self.trial(id_or_prefix)
        if record["weights"] is None:
            raise StoreError(
                f"the weights of trial {record['trial_id']} were not kept; "
                "set evaluation.keep = 'weights' before training"
            )
        content = Path(record["weights"]).read_bytes()
        network = weights.restore(record["dataset"], record["model"], content, record["weights"])
        return network.eval()

    def trial_table(self) -> pa.Table:
        """The same as `trials`, as an Arrow table; warns of damaged files."""
        trials, damaged = self.store.trials.read()
        if damaged:
            names = ", ".join(path.name for path in damaged)
            import warnings

            warnings.warn(f"damaged result files are left out: {names}", stacklevel=3)
        return _with_evaluations(trials, self.store)

    def _statuses(self, cells: pa.Table, recorded: pa.ChunkedArray) -> pa.ChunkedArray:
        """The status of each cell, from the recorded one of its trial (null where none is)."""
        ids = pa.array(last_failures(self.store), pa.string())
        gave_up = pc.is_in(cells["trial_id"], value_set=ids)
        diverged = pc.fill_null(pc.equal(recorded, "diverged"), False)
        teachers = pa.table(
            {
                "dataset": cells["dataset"],
                "teacher": cells["model"],
                "failed": pc.and_(pc.is_null(recorded), gave_up),
                "diverged": diverged,
            }
        ).filter(pc.equal(cells["role"], "teacher"))
        pools = teachers.group_by(["dataset", "teacher"]).aggregate(
            [("failed", "any"), ("diverged", "all")]
        )
        blocked = pa.chunked_array([pa.repeat(False, len(cells))])
        for pool in pools.filter(pc.or_(pools["failed_any"], pools["diverged_all"])).to_pylist():
            own = (pc.equal(cells[key], pool[key]) for key in ("dataset", "teacher"))
            blocked = pc.or_(blocked, pc.fill_null(pc.and_(*own), False))
        return pc.case_when(
            pc.make_struct(
                pc.fill_null(pc.equal(recorded, "done"), False), pc.or_(diverged, gave_up), blocked
            ),
            "done", "failed", "blocked", "missing",
        )  # fmt: skip


def count(statuses: Mapping[str, str]) -> dict[str, int]:
    """How many trials there are, and how many of each status, from `Results.statuses`."""
    found = Counter(statuses.values())
    return {"total": len(statuses)} | {
        key: found.get(key, 0) for key in ("done", "failed", "blocked", "missing")
    }


def _positions(cells: pa.Table, trials: pa.Table) -> pa.Array:
    """For each cell, the row of its trial; null where there is none."""
    return pc.index_in(cells["trial_id"], value_set=trials["trial_id"])


def _with_evaluations(trials: pa.Table, store: Store) -> pa.Table:
    """Adds evaluations made after the training to the robustness of their trials."""
    later, _ = store.evaluations.read(["trial_id", "attack", "epsilon", "value"])
    if later.num_rows == 0:
        return trials
    extra: dict[str, dict[tuple[str, float], dict[str, Any]]] = {}
    for row in later.to_pylist():
        point = {key: row[key] for key in ("attack", "epsilon", "value")}
        extra.setdefault(row["trial_id"], {})[row["attack"], row["epsilon"]] = point
    column = []
    ids = trials["trial_id"].to_pylist()
    for trial_id, points in zip(ids, trials["robustness"].to_pylist(), strict=True):
        known = {(p["attack"], p["epsilon"]): p for p in points or ()}
        merged = {**extra.get(trial_id, {}), **known}
        column.append([merged[key] for key in sorted(merged)])
    index = trials.schema.get_field_index("robustness")
    field = TRIALS.field("robustness")
    return trials.set_column(index, field, pa.array(column, field.type))


def _frame(table: pa.Table) -> "pd.DataFrame":
    """Arrow to pandas, with integers that may be null kept as integers."""
    import pandas as pd

    integers = {pa.int64(): pd.Int64Dtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=integers.get)
    return frame
