"""Reads a results directory: trials and cells as pandas frames, networks by trial id."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import data
from sweep import extensions
from sweep.attributions import COLUMN as ATTRIBUTED
from sweep.attributions import with_attributions
from sweep.errors import DamagedError, StoreError
from sweep.failures import last_failures
from sweep.imported import PREFIX, Origin, origin_of
from sweep.records import CELLS, ROBUSTNESS_OF, TRIALS, tuples
from sweep.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from pyarrow.dataset import Dataset
    from torch import nn


MEASURED = tuple(name for name in TRIALS.names if name not in (*CELLS.names, "status"))
"""What a trial has beside its parameters and its status."""

ORIGINS = ("code_version", "numerics_class", "numerics_version")
"""Columns that say what a result was computed with."""

POINT = ("attack", "epsilon", "value")
ZERO = "zero_gradients_percent"

ADDED_LATER = (*ROBUSTNESS_OF.values(), ZERO)
"""Columns of a trial that evaluations after its training add to."""


class Results:
    """What a results directory holds. Reading never changes it, and works while a run writes."""

    def __init__(self, directory: str | Path = "results") -> None:
        """Opens a results directory.

        Args:
            directory: a folder, or a URL such as `s3://bucket/prefix`.

        Raises:
            StoreError: where there is none.
        """
        self.store = Store(directory)
        if not self.store.is_there():
            raise StoreError(f"results directory {str(directory)!r} does not exist")

    def studies(self) -> list[str]:
        """Names of the studies that were run here, or imported."""
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

    def cells(self, study: str, without: Collection[str] = ()) -> "pd.DataFrame":
        """One row per requested cell of a study, joined with its trial.

        The parameters are those that were asked for. `status` is `done`, `failed`, `blocked`
        (its teachers failed, or all of them diverged) or `missing`; what was measured is null unless it is `done`.
        Where networks were asked where they look, there is a column `attributions`; see `sweep.attributions`.

        Args:
            study: its name.
            without: columns of `MEASURED`, or `attributions`, to leave out; of many trials `confusion`
                and `per_class` take longer to read than all others together.

        Raises:
            StoreError: where the study was never run here.
        """
        frame = _frame(self.cell_table(study, without))
        return frame if ATTRIBUTED in without else with_attributions(frame, self.store)

    def cell_table(self, study: str, without: Collection[str] = ()) -> pa.Table:
        """The same as `cells`, as an Arrow table.

        Raises:
            StoreError: where the study was never run here.
        """
        wanted = [name for name in MEASURED if name not in without]
        trials = self.trial_table(["trial_id", "status", *wanted])
        asked = self.asked_table(study, trials)
        take = _positions(asked, trials)
        measured = trials.select(wanted)
        columns = [
            *asked.columns[:-1],
            *(column.take(take) for column in measured),
            asked["status"],
        ]
        fields = [*CELLS, *measured.schema, asked.schema.field("status")]
        return pa.Table.from_arrays(columns, schema=pa.schema(fields))

    def asked_table(self, study: str, trials: pa.Table) -> pa.Table:
        """The requested cells of a study as an Arrow table, without what was measured.

        Args:
            study: its name.
            trials: at least `trial_id` and `status` of all trials.

        Returns:
            The columns of `sweep.records.CELLS` and `status`; see `cells`.

        Raises:
            StoreError: where the study was never run here.
        """
        cells = self.asked_cells(study)
        return cells.append_column("status", self._statuses(cells, trials))

    def statuses(self, study: str) -> dict[str, str]:
        """The status of every trial of a study, by its id; see `cells`.

        Raises:
            StoreError: where the study was never run here.
        """
        cells = self.asked_cells(study)
        trials, _ = self.store.trials.read(["trial_id", "status"])
        found = self._statuses(cells, trials)
        return dict(zip(cells["trial_id"].to_pylist(), found.to_pylist(), strict=True))

    def asked(self, study: str) -> int:
        """How many cells a study asks for.

        Raises:
            StoreError: where the study was never run here.
        """
        return len(self.asked_cells(study))

    def asked_cells(self, study: str) -> pa.Table:
        """The cells of a study as they were asked for, with `sweep.records.CELLS` as columns.

        Raises:
            StoreError: where the study was never run here.
        """
        found = self.store.read_cells(study)
        if found is None:
            known = ", ".join(self.studies()) or "none"
            raise StoreError(f"study {study!r} was never run in {self.store}; "
                             f"studies there: {known}")  # fmt: skip
        return found[0]

    def study_text(self, study: str) -> str:
        """The study as JSON, as it was run last."""
        found = self.store.read_cells(study)
        return "{}" if found is None else found[1]

    def origin(self, study: str) -> Origin | None:
        """Where the results of a study were imported from; None where it was run here."""
        return origin_of(self.store, study)

    def counts(self, study: str) -> dict[str, int]:
        """How many trials of a study are done, failed, blocked and missing."""
        return count(self.statuses(study))

    def origins(self, trial_ids: Iterable[str] | None = None) -> dict[str, dict[str, int]]:
        """How many trials are of each code version and numerics class, most frequent first.

        Other numerics versions and other data make other trials, so they are never one trial's.

        Args:
            trial_ids: of which trials; None for all.
        """
        trials, _ = self.store.trials.read(["trial_id", *ORIGINS])
        if trial_ids is not None:
            wanted = pa.array(list(trial_ids), pa.string())
            trials = trials.filter(pc.is_in(trials["trial_id"], value_set=wanted))
        found = {}
        for column in ORIGINS:
            counts = {
                str(c["values"]): c["counts"] for c in trials[column].value_counts().to_pylist()
            }
            found[column] = {v: counts[v] for v in sorted(counts, key=lambda v: (-counts[v], v))}
        return found

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
            "weights": self.store.on.shown(weights) if self.store.on.exists(weights) else None,
            "attempts": sorted(own, key=lambda row: (row["number"] or 0, row["started_at"])),
            **({"imported": self._imports_of(trial_id)} if trial_id.startswith(PREFIX) else {}),
        }

    def _imports_of(self, trial_id: str) -> dict[str, str]:
        """Where each study that holds an imported trial came from."""
        found = {}
        for study in self.studies():
            with suppress(DamagedError):
                origin = self.origin(study)
                if (
                    origin is not None
                    and trial_id in self.asked_cells(study)["trial_id"].to_pylist()
                ):
                    found[study] = str(origin)
        return found

    def model(self, id_or_prefix: str) -> "nn.Module":
        """The trained network of a trial, in eval mode on the CPU.

        Of one that was trained on some classes, the outputs for the others are 0.

        Raises:
            StoreError: where there is no such trial, or its weights were not kept.
        """
        from data.load import class_mask
        from trials import weights
        from trials.masked import masked

        extensions.load()
        record = self.trial(id_or_prefix)
        if record["weights"] is None:
            raise StoreError(
                f"the weights of trial {record['trial_id']} were not kept; "
                "set evaluation.keep = 'weights' before training"
            )
        content = self.store.read_weights(record["trial_id"]) or b""
        classes = record["classes"]
        rows = data.DataSpec(
            record["dataset"],
            classes=None if classes is None else tuple(map(int, classes.split(","))),
            image_size=record["image_size"],
        )
        network = weights.restore(rows, record["model"], content, record["weights"])
        return masked(network, class_mask(rows)).eval()

    def trial_table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The same as `trials`, as an Arrow table; warns of damaged files.

        Args:
            columns: those that are read; None for all.
        """
        wanted = TRIALS.names if columns is None else list(columns)
        joined = ["trial_id", *ADDED_LATER] if set(ADDED_LATER) & set(wanted) else []
        trials, damaged = self.store.trials.read(list(dict.fromkeys([*wanted, *joined])))
        _warn_of(damaged)
        if joined:
            trials = _with_points(trials, self._later_points())
        return trials.select(wanted)

    def trial_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows of `trial_table`, some at a time, for more than memory is to hold.

        Args:
            columns: those that are read; None for all.
        """
        wanted = TRIALS.names if columns is None else list(columns)
        joined = ["trial_id", *ADDED_LATER] if set(ADDED_LATER) & set(wanted) else []
        later = self._later_points() if joined else None
        damaged: list[PurePath] = []
        needed = list(dict.fromkeys([*wanted, *joined]))
        for batch in self.store.trials.batches(needed, damaged):
            whole = batch if later is None else _with_points(batch, later)
            yield whole.select(wanted)
        _warn_of(damaged)

    def trial_dataset(self) -> tuple["Dataset", pa.Table | None]:
        """The same as `trials`, for who does not know yet which columns are wanted.

        Returns:
            The trials, each column decoded when it is asked for, with the robustness measured by
            their trainings; and, where more was measured later, `trial_id` and the whole of what
            `ADDED_LATER` names, of all trials. Warns of damaged files.
        """
        trials, damaged = self.store.trials.scan()
        _warn_of(damaged)
        later = self._later_points()
        if later.num_rows == 0:
            return trials, None
        return trials, _with_points(
            trials.to_table(columns=["trial_id", *ADDED_LATER], use_threads=False), later
        )

    def _later_points(self) -> pa.Table:
        """Robustness measured after the training."""
        return self.store.evaluations.read(["trial_id", *POINT, ZERO, "split"])[0]

    def _statuses(self, cells: pa.Table, trials: pa.Table) -> pa.ChunkedArray:
        """The status of each cell; of the trials, `trial_id` and `status` are looked at."""
        return statuses_of(cells, trials, last_failures(self.store))


def statuses_of(
    cells: pa.Table, trials: pa.Table, failed_for: Mapping[str, str]
) -> pa.ChunkedArray:
    """The status of each cell; see `Results.cells`.

    Args:
        cells: requested cells of one study.
        trials: at least `trial_id` and `status` of all trials.
        failed_for: see `sweep.failures.last_failures`.
    """
    failures = pa.array(failed_for, pa.string())
    known = trials["status"].take(_positions(cells, trials))
    failed = pc.or_(
        pc.fill_null(pc.equal(known, "diverged"), False),
        pc.and_(
            pc.invert(pc.fill_null(pc.equal(known, "done"), False)),
            pc.is_in(cells["trial_id"], value_set=failures),
        ),
    )
    teachers = cells.select(["role", "dataset", "model"])
    teachers = teachers.append_column("known", known).append_column("failed", failed)
    teachers = teachers.filter(pc.equal(teachers["role"], "teacher")).drop_columns(["role"])
    pools: dict[tuple[str, str], list[str | None]] = defaultdict(list)
    for dataset, model, status, no_result in tuples(teachers):
        pools[dataset, model].append("failed" if no_result and status is None else status)
    blocked = pa.chunked_array([pa.repeat(False, len(cells))])
    for (dataset, model), found in pools.items():
        if "failed" in found or all(status == "diverged" for status in found):
            own = pc.and_(pc.equal(cells["dataset"], dataset), pc.equal(cells["teacher"], model))
            blocked = pc.or_(blocked, pc.fill_null(own, False))
    cases = pc.make_struct(pc.fill_null(pc.equal(known, "done"), False), failed, blocked)
    return pc.case_when(cases, "done", "failed", "blocked", "missing")


def mixed(origins: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A line for each origin of which `Results.origins` found several."""
    words = {
        "code_version": "code versions",
        "numerics_class": "numerics classes (equal bits are promised within one)",
        "numerics_version": "numerics versions (their trials have other ids)",
    }
    return [
        f"results of {len(found)} {words[column]}: "
        + ", ".join(f"{value} ({number:,} trials)" for value, number in found.items())
        for column, found in origins.items()
        if len(found) > 1
    ]


def count(statuses: Mapping[str, str]) -> dict[str, int]:
    """How many trials there are, and how many of each status, from `Results.statuses`."""
    found = Counter(statuses.values())
    return {"total": len(statuses)} | {
        key: found.get(key, 0) for key in ("done", "failed", "blocked", "missing")
    }


def _positions(cells: pa.Table, trials: pa.Table) -> pa.Array:
    """For each cell, the row of its trial; null where there is none."""
    return pc.index_in(cells["trial_id"], value_set=trials["trial_id"])


def _warn_of(damaged: list[PurePath]) -> None:
    if damaged:
        names = ", ".join(path.name for path in damaged)
        warnings.warn(f"damaged result files are left out: {names}", stacklevel=4)


def _with_points(trials: pa.Table, later: pa.Table) -> pa.Table:
    """Adds points measured after the training to the robustness of their trials, sorted.

    What the training measured itself stays.

    Args:
        trials: with `trial_id` and the columns of `ADDED_LATER`.
        later: `trial_id`, the columns of `POINT`, `zero_gradients_percent` and `split`.
    """
    if later.num_rows == 0:
        return trials
    trials = _with_zero_gradients(trials, later)
    split = pc.fill_null(later["split"], "test")
    for name, column in ROBUSTNESS_OF.items():
        own = later.filter(pc.equal(split, name))
        if own.num_rows:
            trials = _with_points_of(trials, own, column)
    return trials


def _with_points_of(trials: pa.Table, later: pa.Table, name: str) -> pa.Table:
    """Does so for the split of one column."""
    own = trials[name].combine_chunks()
    trained = pa.Table.from_struct_array(pc.list_flatten(own)).select(POINT)
    trained = trained.add_column(0, "row", pc.cast(pc.list_parent_indices(own), pa.int32()))
    rows = pc.index_in(later["trial_id"], value_set=trials["trial_id"])
    later = later.select(POINT).add_column(0, "row", rows).filter(pc.is_valid(rows))
    key = ["row", "attack", "epsilon"]
    points = (
        pa.concat_tables([trained, later])
        .group_by(key, use_threads=False)
        .aggregate([("value", "first", pc.ScalarAggregateOptions(skip_nulls=False))])
        .rename_columns([*key, "value"])
        .sort_by([(name, "ascending") for name in key])
    )
    ends = np.searchsorted(points["row"].to_numpy(), np.arange(len(trials)), side="right")
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    # On validation rows it may not have been asked for, which is null; on test rows it always is.
    none = own.is_null().to_numpy(zero_copy_only=False) & (np.diff(offsets) == 0)
    none &= name != "robustness"
    column = pa.ListArray.from_arrays(
        pa.array(offsets),
        points.select(POINT).to_struct_array().combine_chunks(),
        mask=pa.array(none),
    )
    index = trials.schema.get_field_index(name)
    field = TRIALS.field(name)
    return trials.set_column(index, field, column.cast(field.type))


def _with_zero_gradients(trials: pa.Table, later: pa.Table) -> pa.Table:
    """Fills in the share of zero gradients where an attack followed the gradient only later."""
    known = later.filter(pc.is_valid(later[ZERO]))
    take = pc.index_in(trials["trial_id"], value_set=known["trial_id"])
    filled = pc.coalesce(trials[ZERO], known[ZERO].take(take))
    return trials.set_column(trials.schema.get_field_index(ZERO), TRIALS.field(ZERO), filled)


def _frame(table: pa.Table) -> "pd.DataFrame":
    """Arrow to pandas, with integers that may be null kept as integers."""
    import pandas as pd

    integers = {pa.int64(): pd.Int64Dtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=integers.get)
    return frame
