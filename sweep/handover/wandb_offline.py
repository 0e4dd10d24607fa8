"""Hands trials to Weights & Biases: a folder for each, as a run without network leaves it.

`wandb sync` sends them on, whenever and from wherever one likes. Their files are written here and
not by `wandb.init`, which takes a process and a quarter of a second for each run, stamps it with
the time and the machine of the export, and looks for a login. Such a file is a log of records
(`wandb_internal.proto`, from the installed package) framed as LevelDB frames its logs
(https://github.com/google/leveldb/blob/main/doc/log_format.md), with checksums that are not masked,
behind a header of seven bytes.
"""

import json
import math
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweep.errors import HandoverError
from sweep.handover.folders import RunFolders
from sweep.handover.handed import Curve, HandedRun
from sweep.handover.targets import About

HEADER = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
BLOCK_BYTES, FRAME_BYTES = 32768, 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
MIN_CONSUMER = "0.40.0"
LONGEST_TAG, LONGEST_GROUP = 64, 128
_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
FORM = "wandb 1"
SYNCED = ".synced"


class WandbOffline:
    """A folder named after the study, and in it `wandb`: a trial may be part of several studies."""

    def __init__(self, folder: Path, about: About) -> None:
        """Looks at what is there of the study."""
        from wandb.proto import wandb_internal_pb2

        self._records: Any = wandb_internal_pb2
        self._root = folder / about.name / "wandb"
        self._about = about
        self._folders = RunFolders(self._root, FORM)

    def digest_of(self, trial_id: str) -> str | None:
        """See `Target.digest_of`."""
        return self._folders.digest_of(trial_id)

    def put(self, run: HandedRun) -> None:
        """See `Target.put`; what was sent on before is to be sent again."""
        if not _RUN_ID.fullmatch(run.trial_id):
            raise HandoverError(f"trial id {run.trial_id!r} cannot be that of a run of wandb")
        at = run.started_at or run.finished_at or datetime.fromtimestamp(0, UTC)
        folder = self._root / f"offline-run-{at.astimezone(UTC):%Y%m%d_%H%M%S}-{run.trial_id}"
        name = f"run-{run.trial_id}.wandb"
        (folder / "files").mkdir(parents=True, exist_ok=True)
        (folder / f"{name}{SYNCED}").unlink(missing_ok=True)
        self._folders.put(run.trial_id, run.digest, folder, name, self.content(run))

    def close(self) -> None:
        """See `Target.close`."""

    def content(self, run: HandedRun) -> bytes:
        """The file of a run."""
        made = list(self._made(run))
        for number, record in enumerate(made, start=1):
            record.num = number
        return HEADER + framed(record.SerializeToString() for record in made)

    def _made(self, run: HandedRun) -> Iterable[Any]:
        new = self._records.Record
        first = new()
        first.header.version_info.producer = "sweep"
        first.header.version_info.min_consumer = MIN_CONSUMER
        yield first
        yield self._begin(run)
        for curve in run.curves:
            if curve.over != "epoch":
                continue
            metric = new()
            metric.metric.name, metric.metric.step_metric = curve.name, "epoch"
            metric.metric.options.step_sync = True
            metric.metric.options.defined = True
            yield metric
        seconds = _seconds(run)
        at = run.started_at or run.finished_at
        began = at.timestamp() if at else 0.0
        table = rows(run.curves, _steps_per_epoch(run))
        for position, (step, row) in enumerate(table.items(), start=1):
            history = new()
            history.history.step.num = step
            # When a point was reached is not known: they are spread over the time of the run.
            since = seconds * position / len(table)
            row = {**row, "_step": step, "_runtime": since, "_timestamp": began + since}
            for key, value in row.items():
                history.history.item.add(key=key, value_json=as_json(value))
            yield history
        last = next(reversed(table), 0)
        summary = new()
        final: dict[str, Any] = {**_lasts(run.curves), **run.metrics, "status": run.status}
        final |= {"_step": last, "_runtime": seconds, "_timestamp": began + seconds}
        for key, last_value in final.items():
            summary.summary.update.add(key=key, value_json=as_json(last_value))
        summary.summary.update.add(
            nested_key=["_wandb", "runtime"], value_json=as_json(round(seconds))
        )
        yield summary
        end = new()
        end.exit.exit_code = 0 if run.status == "done" else 1
        end.exit.runtime = round(seconds)
        yield end

    def _begin(self, run: HandedRun) -> Any:
        record = self._records.Record()
        about = record.run
        about.run_id, about.project = run.trial_id, self._about.name
        about.display_name, about.job_type = run.name, run.role
        about.run_group = run.group[:LONGEST_GROUP]
        about.notes = run.message or ""
        about.tags.extend(text[:LONGEST_TAG] for text in (run.study, run.role, run.status) if text)
        at = run.started_at or run.finished_at
        if at is not None:
            about.start_time.FromDatetime(at.astimezone(UTC).replace(tzinfo=None))
        config = {"trial_id": run.trial_id, "study": run.study, **run.tags, **run.parameters}
        for key, value in config.items():
            about.config.update.add(key=key, value_json=as_json(value))
        return record


def rows(curves: Iterable[Curve], steps_per_epoch: int | None) -> dict[int, dict[str, float | int]]:
    """Points of curves as rows of a history, by rising step; one row for all of the same step.

    A point of an epoch stands at the epoch's last step, and says its epoch; where it is not known
    how many steps an epoch has, the epoch stands for the step.
    """
    found: dict[int, dict[str, float | int]] = defaultdict(dict)
    for curve in curves:
        for step, value in zip(curve.steps, curve.values, strict=True):
            if curve.over == "epoch":
                row = found[step * (steps_per_epoch or 1)]
                row["epoch"] = step
            else:
                row = found[step]
            row[curve.name] = value
    return {step: found[step] for step in sorted(found)}


def framed(records: Iterable[bytes]) -> bytes:
    """Records as the blocks of a log."""
    content = bytearray()
    for record in records:
        left, begun = record, False
        while True:
            room = BLOCK_BYTES - (len(content) + len(HEADER)) % BLOCK_BYTES
            if room < FRAME_BYTES:  # the rest of a block is too small even for an empty piece
                content += bytes(room)
                room = BLOCK_BYTES
            piece, left = left[: room - FRAME_BYTES], left[room - FRAME_BYTES :]
            kind = (MIDDLE if left else LAST) if begun else (FIRST if left else WHOLE)
            checksum = zlib.crc32(piece, zlib.crc32(bytes([kind])))
            content += struct.pack("<IHB", checksum, len(piece), kind) + piece
            begun = True
            if not left:
                break
    return bytes(content)


def as_json(value: Any) -> str:
    """A value as wandb writes it: numbers that JSON does not have are texts."""
    if isinstance(value, float):
        if math.isfinite(value):
            return repr(value)
        return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
    return json.dumps(value)


def _lasts(curves: Iterable[Curve]) -> Mapping[str, float]:
    return {curve.name: curve.values[-1] for curve in curves}


def _seconds(run: HandedRun) -> float:
    if run.started_at is None or run.finished_at is None:
        return 0.0
    return max(0.0, (run.finished_at - run.started_at).total_seconds())


def _steps_per_epoch(run: HandedRun) -> int | None:
    found = run.tags.get("steps_per_epoch")
    return None if found is None else int(found)
