"""Hands trials to MLflow: an experiment for the study, a run for each trial, in an SQLite store.

It is written through MLflow's client, so it is whatever the installed version of MLflow reads. What
a run holds is noted last, in a tag; one without it was interrupted and is written on: the store takes a
metric or parameter again that it has.
"""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sweep.errors import HandoverError
from sweep.handover.handed import HandedRun
from sweep.handover.targets import About

if TYPE_CHECKING:
    from mlflow.entities import Metric

DIGEST, TRIAL = "sweep.digest", "sweep.trial_id"
FORM = "1:"
"""Before digests of what this version writes: what another wrote is written again."""

METRICS_AT_A_TIME, PAGE = 900, 1000
LONGEST_TAG = 5000
_STATUS = {"done": "FINISHED", "diverged": "FAILED", "failed": "FAILED"}
T = TypeVar("T")


class MlflowStore:
    """`mlflow.db` in a folder."""

    def __init__(self, folder: Path, about: About) -> None:
        """Opens or makes the store and the experiment.

        Raises:
            HandoverError: where the folder's name cannot be part of MLflow's address, or the
                experiment was deleted.
        """
        if set("?#%") & set(str(folder)):
            raise HandoverError(
                f"{str(folder)!r}: MLflow reads no store in a folder with ?, # or %"
            )
        client = _client()
        database = folder / "mlflow.db"
        self._client = client(tracking_uri=f"sqlite:///{database}")
        self._journal = _Journal(database)
        self._experiment = self._opened(about, folder)
        self._known: dict[str, tuple[str, str | None]] = {}
        for run in self._runs():
            trial_id = run.data.tags.get(TRIAL)
            if trial_id is not None:
                ended = run.info.status in _STATUS.values()
                digest = run.data.tags.get(DIGEST, "") if ended else ""
                self._known[trial_id] = run.info.run_id, digest

    def digest_of(self, trial_id: str) -> str | None:
        """See `Target.digest_of`."""
        digest = self._known.get(trial_id, ("", None))[1]
        return None if digest is None else digest.removeprefix(FORM)

    def put(self, run: HandedRun) -> None:
        """See `Target.put`."""
        from mlflow.entities import Param, RunTag

        params = {key: str(value) for key, value in run.parameters.items()}
        run_id = self._to_go_on(run, params) or self._begun(run)
        at = _milliseconds(run.finished_at) or 0
        metrics = _metrics(run, at)
        *first, last = list(_pieces(metrics, METRICS_AT_A_TIME)) or [[]]
        for piece in first:
            self._client.log_batch(run_id, metrics=piece)
        self._client.log_batch(
            run_id,
            metrics=last,
            params=[Param(key, value) for key, value in params.items()],
            tags=[RunTag(key, value) for key, value in self._tags(run).items()],
        )
        self._client.set_terminated(run_id, _STATUS[run.status], at or None)
        self._known[run.trial_id] = run_id, f"{FORM}{run.digest}"

    def close(self) -> None:
        """See `Target.close`."""
        self._journal.close()

    def _opened(self, about: About, folder: Path) -> str:
        found = self._client.get_experiment_by_name(about.name)
        said = {"title": about.title, "mlflow.note.content": about.question}
        tags = {key: text[:LONGEST_TAG] for key, text in said.items()}
        if found is None:
            place = (folder / "artifacts" / about.name).as_uri()
            given = {key: text for key, text in tags.items() if text}
            return str(self._client.create_experiment(about.name, place, given))
        if found.lifecycle_stage != "active":
            raise HandoverError(
                f"experiment {about.name!r} in {folder} was deleted: "
                f"`mlflow experiments restore --experiment-id {found.experiment_id}` brings it back"
            )
        for key, text in tags.items():
            if found.tags.get(key, "") != text:
                self._client.set_experiment_tag(found.experiment_id, key, text)
        return str(found.experiment_id)

    def _runs(self) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment], max_results=PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _to_go_on(self, run: HandedRun, params: dict[str, str]) -> str | None:
        """The run that is there, if what it holds can stay: what is added may not contradict it."""
        if run.trial_id not in self._known:
            return None
        run_id = self._known[run.trial_id][0]
        held = self._client.get_run(run_id).data
        stays = all(params.get(key) == value for key, value in held.params.items())
        finals = {**run.metrics, **{curve.name: 0.0 for curve in run.curves}}
        stays &= all(
            key in finals and (key not in run.metrics or value == run.metrics[key])
            for key, value in held.metrics.items()
        )
        if stays:
            return run_id
        self._client.delete_run(run_id)
        return None

    def _begun(self, run: HandedRun) -> str:
        begun = self._client.create_run(
            self._experiment,
            start_time=_milliseconds(run.started_at or run.finished_at),
            tags={TRIAL: run.trial_id, "mlflow.source.name": "sweep"},
            run_name=run.name,
        )
        return str(begun.info.run_id)

    def _tags(self, run: HandedRun) -> dict[str, str]:
        tags = {
            **run.tags, "study": run.study, "role": run.role, "group": run.group,
            "status": run.status, "mlflow.runName": run.name, DIGEST: f"{FORM}{run.digest}",
        }  # fmt: skip
        if run.message:
            tags |= {"message": run.message, "mlflow.note.content": run.message}
        return {key: text[:LONGEST_TAG] for key, text in tags.items()}


class _Journal:
    """Has SQLite write ahead while there is much to write, which halves the time that it takes.

    The connection that is held here is the last to close: what was written ahead is in the file then.
    """

    def __init__(self, database: Path) -> None:
        self._connection = sqlite3.connect(database)
        self._before = self._set("wal")

    def close(self) -> None:
        """Puts the file back in the mode that it had."""
        if self._before is not None:
            self._set(self._before)
        self._connection.close()

    def _set(self, mode: str) -> str | None:
        with contextlib.suppress(sqlite3.Error):  # where a disk cannot do it, it takes longer
            (before,) = self._connection.execute("PRAGMA journal_mode").fetchone()
            self._connection.execute(f"PRAGMA journal_mode={mode}")
            return str(before)
        return None


def _client() -> Any:
    """MLflow's client, without what it would tell its makers and the terminal."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")  # see `_Journal`
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # its import sets it
    return MlflowClient


def _metrics(run: HandedRun, at: int) -> list["Metric"]:
    """Final figures at step 0, and the points of curves."""
    from mlflow.entities import Metric

    found = [Metric(key, value, at, 0) for key, value in run.metrics.items()]
    for curve in run.curves:
        found += [
            Metric(curve.name, value, at, step)
            for step, value in zip(curve.steps, curve.values, strict=True)
        ]
    return found


def _pieces(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _milliseconds(time: Any) -> int | None:
    return None if time is None else round(time.timestamp() * 1000)
