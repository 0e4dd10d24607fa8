"""Hands trials to TensorBoard: a folder for the study, in it one for each trial, and hyperparameters.

Event files are framed by TensorBoard's own writer of records and need no TensorFlow. Scalars are
32-bit floats there; parameters are not.
"""

import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sweep.handover.folders import RunFolders
from sweep.handover.handed import HandedRun
from sweep.handover.targets import About

FORM = "tensorboard 1"
LONGEST_NAME = 160
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


class TensorboardEvents:
    """A folder named after the study, in a folder.

    The hyperparameters panel finds what there is in the files of the runs.
    """

    def __init__(self, folder: Path, about: About) -> None:
        """Looks at what is there of the study."""
        self._root = folder / about.name
        self._folders = RunFolders(self._root, FORM)

    def digest_of(self, trial_id: str) -> str | None:
        """See `Target.digest_of`."""
        return self._folders.digest_of(trial_id)

    def put(self, run: HandedRun) -> None:
        """See `Target.put`."""
        name = f"{_UNSAFE.sub('_', run.name)[:LONGEST_NAME]}-{run.trial_id[:12]}"
        file = f"events.out.tfevents.{int(_times(run)[0]):010d}.sweep"
        self._folders.put(run.trial_id, run.digest, self._root / name, file, event_file(run))

    def close(self) -> None:
        """See `Target.close`."""


def event_file(run: HandedRun) -> bytes:
    """The event file of a run."""
    from tensorboard.compat.proto import event_pb2
    from tensorboard.summary.writer.record_writer import RecordWriter

    start, _ = _times(run)
    content = io.BytesIO()
    writer = RecordWriter(content)
    first = event_pb2.Event(wall_time=start, file_version="brain.Event:2")
    writer.write(first.SerializeToString())
    for time, step, summary in _summaries(run):
        event = event_pb2.Event(wall_time=time, step=step, summary=summary)
        writer.write(event.SerializeToString())
    return content.getvalue()


def _summaries(run: HandedRun) -> Iterable[tuple[float, int, Any]]:
    """Time, step and content of each event."""
    from tensorboard.plugins.hparams import summary_v2
    from tensorboard.plugins.text.summary_v2 import text_pb

    start, end = _times(run)
    said = {**run.parameters, "trial_id": run.trial_id, "study": run.study, "status": run.status}
    yield start, 0, summary_v2.hparams_pb(said, trial_id=run.trial_id, start_time_secs=start)
    lines = [f"    {key}: {text}" for key, text in run.tags.items()]
    lines += [f"    {text}" for text in (run.message or "").splitlines()]
    yield start, 0, text_pb("about", "\n".join(lines))
    for curve in run.curves:
        for position, (step, value) in enumerate(zip(curve.steps, curve.values, strict=True), 1):
            # When a point was reached is not known: they are spread over the time of the run.
            yield (
                start + (end - start) * position / len(curve.steps),
                step,
                _scalar(curve.name, value),
            )
    last = max((curve.steps[-1] for curve in run.curves if curve.over == "step"), default=0)
    for name, value in run.metrics.items():
        yield end, last, _scalar(name, value)
    yield end, 0, _ending(run, end)


def _scalar(name: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=name, simple_value=value)])


def _ending(run: HandedRun, end: float) -> Any:
    """How a run ended, in the words of the hyperparameters panel."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    status = api_pb2.STATUS_SUCCESS if run.status == "done" else api_pb2.STATUS_FAILURE
    info = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=end))
    about = metadata.create_summary_metadata(info)
    tag, nothing = metadata.SESSION_END_INFO_TAG, metadata.NULL_TENSOR
    return Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=nothing)])


def _times(run: HandedRun) -> tuple[float, float]:
    """When it began and ended, in seconds since 1970; 0 where that is not known."""
    began = run.started_at or run.finished_at
    ended = run.finished_at or began
    return (began.timestamp() if began else 0.0), (ended.timestamp() if ended else 0.0)
