"""Figures of a results directory for Prometheus: trials by state, the run at work, devices, failures.

Everything is read from what runs leave on disk, so it is the same whoever asks and whichever process
runs. What a file holds, its name says: between two scrapes only new files are read. Labels are
names of studies, states, kinds and devices, never trials, and there is a bound on how many.
"""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from sweep.errors import DamagedError
from sweep.failures import ATTEMPT_COLUMNS, last_failures_of
from sweep.records import FailureKind, code_version
from sweep.results import Results, statuses_of
from sweep.store import Reading, Shelf

STATES = ("done", "running", "failed", "blocked", "missing")
ENDINGS = ("done", "failed", "retried")
KINDS = tuple(str(kind) for kind in FailureKind)
OTHER = "_other"
"""Label of what is beyond a bound, or of a later version; no study has such a name."""

MOST_STUDIES, MOST_DEVICES = 100, 256
LISTING_SHARE = 0.02
"""Of the time, what may be spent on adding up the sizes of all files."""

TRIAL_COLUMNS = ("trial_id", "status", "finished_at")
Clock = Callable[[], float]


@dataclass(frozen=True)
class StudyCounts:
    """A study in numbers.

    Attributes:
        trials: by each of `STATES`; together all that the study asks for.
        attempts: by each of `ENDINGS`.
        failures: attempts that failed, by each of `KINDS` and `OTHER`.
    """

    trials: Mapping[str, int]
    attempts: Mapping[str, int]
    failures: Mapping[str, int]

    def __add__(self, more: "StudyCounts") -> "StudyCounts":
        """The numbers of two studies together."""
        return StudyCounts(
            _sum(self.trials, more.trials),
            _sum(self.attempts, more.attempts),
            _sum(self.failures, more.failures),
        )


@dataclass(frozen=True)
class Standing:
    """What a results directory holds, and what the run at work says.

    Attributes:
        studies: by name.
        live: what `sweep.store.Store.read_live` gives.
        last_record_s: when the newest result was finished, in seconds since 1970.
        folder_bytes: sizes of the folders.
        now_s: the time, in the same.
    """

    studies: Mapping[str, StudyCounts]
    live: Mapping[str, Any] | None = None
    last_record_s: float | None = None
    folder_bytes: Mapping[str, int] = field(default_factory=dict)
    now_s: float = 0.0


class Metrics:
    """Figures of one results directory, for one scrape after the other; safe to ask from threads."""

    def __init__(self, results: Results, clock: Clock = time.time) -> None:
        """Reads nothing yet."""
        self._store, self._clock = results.store, clock
        self._guard = threading.Lock()
        nothing = Reading(pa.table({}), {}, [])
        self._trials = self._attempts = nothing
        self._cells: dict[str, tuple[str, pa.Table]] = {}
        self._failures: Mapping[str, str] = {}
        self._last_record_s: float | None = None
        self._counted: dict[str, tuple[object, StudyCounts]] = {}
        self._sizes: dict[str, int] = {}
        self._sizes_until = -1.0
        self._read = 0

    def exposition(self) -> bytes:
        """The figures of now in the text format of Prometheus.

        Raises:
            StoreError: where the directory cannot be read.
        """
        return exposed(self.standing())

    def standing(self) -> Standing:
        """The figures of now.

        Raises:
            StoreError: where the directory cannot be read.
        """
        with self._guard:
            live = self._store.read_live()
            self._look()
            self._weigh()
            running = frozenset(_texts((live or {}).get("running_trials")))
            return Standing(
                studies={name: self._count(name, running) for name in sorted(self._cells)},
                live=live,
                last_record_s=self._last_record_s,
                folder_bytes=dict(self._sizes),
                now_s=self._clock(),
            )

    def _look(self) -> None:
        """Reads the files that are new."""
        trials, attempts = self._trials, self._attempts
        self._trials = _read_on(self._store.trials, TRIAL_COLUMNS, trials)
        self._attempts = _read_on(self._store.attempts, ATTEMPT_COLUMNS, attempts)
        cells = {name: self._cells_of(name) for name in self._store.studies()}
        self._cells = {name: found for name, found in cells.items() if found is not None}
        if self._attempts is not attempts:
            self._failures = last_failures_of(self._attempts.rows)
        if self._trials is not trials:
            newest = pc.max(self._trials.rows["finished_at"]).as_py()
            self._last_record_s = None if newest is None else newest.timestamp()
        if self._trials is not trials or self._attempts is not attempts:
            self._read += 1

    def _cells_of(self, name: str) -> tuple[str, pa.Table] | None:
        """The cells of a study with a hash of their file; decoded again where that is another."""
        content = self._store.on.read(self._store.layout.study(name))
        digest = hashlib.sha256(content or b"").hexdigest()
        held = self._cells.get(name)
        if held is not None and held[0] == digest:
            return held
        try:
            found = self._store.read_cells(name)
        except DamagedError:
            return None
        return None if found is None else (digest, found[0])

    def _count(self, name: str, running: frozenset[str]) -> StudyCounts:
        """Counts a study, if anything has changed since it was counted."""
        digest, cells = self._cells[name]
        stamp = (self._read, digest, running)
        if name not in self._counted or self._counted[name][0] != stamp:
            rows = self._trials.rows
            known = statuses_of(cells, rows, self._failures).to_pylist()
            status = dict(zip(cells["trial_id"].to_pylist(), known, strict=True))
            counts = counted(status, self._attempts.rows, running)
            self._counted[name] = stamp, counts
        return self._counted[name][1]

    def _weigh(self) -> None:
        """Adds up the sizes of all files, seldom enough to cost little."""
        if time.monotonic() < self._sizes_until:
            return
        began = time.monotonic()
        layout = self._store.layout
        self._sizes = {
            folder.name: sum(entry.size for entry in self._store.on.entries(folder))
            for folder in layout.folders
            if folder != layout.root
        }
        ended = time.monotonic()
        self._sizes_until = ended + (ended - began) / LISTING_SHARE


def _read_on(shelf: Shelf, columns: Sequence[str], before: Reading) -> Reading:
    """What a shelf holds; the same object where its files are those of before."""
    begun = bool(before.rows.column_names)
    if begun and not before.damaged and before.parts.keys() == set(shelf.files()):
        return before
    return shelf.read_on(columns, before.parts)


def exposition(results: Results) -> bytes:
    """The figures of a results directory in the text format of Prometheus, read once.

    Who asks again and again keeps a `Metrics`.

    Raises:
        StoreError: where the directory cannot be read.
    """
    return Metrics(results).exposition()


def counted(
    status: Mapping[str, str], attempts: pa.Table, running: Iterable[str] = ()
) -> StudyCounts:
    """A study in numbers.

    Args:
        status: of each of its trials; see `sweep.results.Results.statuses`.
        attempts: at least `trial_id`, `status` and `kind` of all.
        running: ids of trials that are being run.
    """
    states = Counter(status.values())
    for trial_id in running:
        if status.get(trial_id, "done") != "done":
            states[status[trial_id]] -= 1
            states["running"] += 1
    own = attempts.filter(
        pc.is_in(attempts["trial_id"], value_set=pa.array(status.keys(), pa.string()))
    )
    endings, kinds = _counts(own["status"]), _counts(own["kind"])
    return StudyCounts(
        trials={state: states.get(state, 0) for state in STATES},
        attempts={ending: endings.get(ending, 0) for ending in ENDINGS},
        failures={
            **{kind: kinds.pop(kind, 0) for kind in KINDS},
            OTHER: sum(kinds.values()),
        },
    )  # fmt: skip


def exposed(standing: Standing) -> bytes:
    """Figures in the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(standing))
    return generate_latest(registry)


class _Collector:
    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        return families(self._standing)


def families(standing: Standing) -> Iterator[Metric]:
    """The metrics with their names, helps and labels."""
    build = GaugeMetricFamily("sweep_build_info", "Version of sweep; always 1.", labels=["version"])
    build.add_metric([code_version()], 1)
    yield build
    yield GaugeMetricFamily(
        "sweep_studies", "Studies in the results directory.", len(standing.studies)
    )
    studies = _bounded(standing.studies)
    yield _by(
        GaugeMetricFamily,
        "sweep_trials",
        "Trials of a study by state; the states add up to all that it asks for.",
        "state",
        {name: counts.trials for name, counts in studies.items()},
    )
    yield _by(
        CounterMetricFamily,
        "sweep_attempts",
        "Attempts at the trials of a study by how they ended; of a trial that is part of several "
        "studies, with each.",
        "status",
        {name: counts.attempts for name, counts in studies.items()},
    )
    yield _by(
        CounterMetricFamily,
        "sweep_failures",
        "Attempts at the trials of a study that failed, by kind, those tried again included.",
        "kind",
        {name: counts.failures for name, counts in studies.items()},
    )
    yield from _of_records(standing)
    yield from _of_the_run(standing)
    yield from _of_devices((standing.live or {}).get("devices"))


def _of_records(standing: Standing) -> Iterator[Metric]:
    if standing.last_record_s is not None:
        yield GaugeMetricFamily(
            "sweep_last_record_timestamp_seconds",
            "When the newest result was finished.",
            standing.last_record_s,
        )
        yield GaugeMetricFamily(
            "sweep_last_record_age_seconds",
            "Time since the newest result was finished.",
            max(0.0, standing.now_s - standing.last_record_s),
        )
    sizes = GaugeMetricFamily(
        "sweep_results_bytes", "Size of the results, by folder.", labels=["folder"]
    )
    for folder, size in sorted(standing.folder_bytes.items()):
        sizes.add_metric([folder], size)
    yield sizes


_RUN = {
    "trials_per_minute": ("sweep_run_trials_per_minute", "Trials that ended per minute."),
    "total": ("sweep_run_trials_planned", "Trials that the run at work set out to do."),
    "done": ("sweep_run_trials_done", "Trials that it has done."),
    "failed": ("sweep_run_trials_failed", "Trials of it that failed or diverged."),
    "blocked": ("sweep_run_trials_blocked", "Trials that it gave up for want of a teacher."),
    "epochs_total": ("sweep_run_epochs_planned", "Epochs that it has to train, after sharing."),
    "epochs_done": ("sweep_run_epochs_done", "Epochs that it has trained."),
    "elapsed_s": ("sweep_run_elapsed_seconds", "Time since it began."),
    "eta_s": ("sweep_run_eta_seconds", "Estimate of the time that it still takes."),
}
"""Of what a run says: name and help of the metric."""


def _of_the_run(standing: Standing) -> Iterator[Metric]:
    live = standing.live
    yield GaugeMetricFamily(
        "sweep_run_up", "1 while a run holds the results directory.", int(live is not None)
    )
    for key, (name, text) in _RUN.items():
        value = _number((live or {}).get(key))
        if value is not None:
            yield GaugeMetricFamily(name, text, value)
    at = _time((live or {}).get("at"))
    if at is not None:
        yield GaugeMetricFamily(
            "sweep_run_state_age_seconds",
            "Time since the run at work last said how it stands.",
            max(0.0, standing.now_s - at),
        )


_DEVICE = {
    "slots": ("sweep_device_slots", "Workers on a device.", 1.0),
    "busy": ("sweep_device_slots_busy", "Workers on a device that have something to do.", 1.0),
    "utilisation_percent": (
        "sweep_device_utilization_ratio", "Part of the time in which a GPU ran anything.", 0.01,
    ),
    "memory_used_bytes": (
        "sweep_device_memory_used_bytes", "Memory of a GPU in use, by whomever.", 1.0,
    ),
    "memory_total_bytes": ("sweep_device_memory_bytes", "Memory of a GPU.", 1.0),
}  # fmt: skip
"""Of what a run says of a device: name, help and factor of the metric."""

_ADD_UP = ("slots", "busy", "memory_used_bytes", "memory_total_bytes")


def _of_devices(devices: Any) -> Iterator[Metric]:
    known = [d for d in devices if isinstance(d, Mapping)] if isinstance(devices, list) else []
    for key, (name, text, factor) in _DEVICE.items():
        metric = GaugeMetricFamily(name, text, labels=["node", "device"])
        for device in known[:MOST_DEVICES]:
            value = _number(device.get(key))
            if value is not None:
                labels = [str(device.get("node", "")), str(device.get("device", ""))]
                metric.add_metric(labels, factor * value)
        rest = [v for d in known[MOST_DEVICES:] if (v := _number(d.get(key))) is not None]
        if rest and key in _ADD_UP:
            metric.add_metric([OTHER, OTHER], factor * sum(rest))
        if metric.samples:
            yield metric


def _by(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily],
    name: str,
    text: str,
    label: str,
    values: Mapping[str, Mapping[str, int]],
) -> Metric:
    metric = kind(name, text, labels=["study", label])
    for study, counts in values.items():
        for key, count in counts.items():
            metric.add_metric([study, key], count)
    return metric


def _bounded(studies: Mapping[str, StudyCounts]) -> dict[str, StudyCounts]:
    """The first studies by name, and all others together."""
    names = sorted(studies)
    found = {name: studies[name] for name in names[:MOST_STUDIES]}
    for name in names[MOST_STUDIES:]:
        found[OTHER] = found[OTHER] + studies[name] if OTHER in found else studies[name]
    return found


def _sum(one: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + more.get(key, 0) for key in {**one, **more}}


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {c["values"]: c["counts"] for c in pc.value_counts(column.drop_null()).to_pylist()}


def _texts(values: Any) -> Sequence[str]:
    return [v for v in values if isinstance(v, str)] if isinstance(values, list) else []


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain else None


def _time(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return None
