"""What each device of a cluster does at a moment: its workers, and how busy and full it is itself.

Utilisation and memory are what NVIDIA's Management Library says of a GPU; where there is none, they
are unknown. Asking takes milliseconds, but a driver in trouble may hold it up: it is done beside the
run, never in its loop.
"""

import contextlib
import importlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

EVERY_S = 3.0
"""How often a GPU is asked."""


@dataclass(frozen=True)
class DeviceUse:
    """A device at a moment.

    Attributes:
        node: the machine.
        device: on it: `GPU 0`, `CPU`; `starting` for workers that have not said yet where they run.
        slots: workers that train on it.
        busy: those that have something to do.
        utilisation_percent: part of the time in which the GPU ran anything; None where unknown.
        memory_used_bytes, memory_total_bytes: of the GPU, by whomever; None where unknown.
    """

    node: str
    device: str
    slots: int
    busy: int
    utilisation_percent: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON types."""
        return asdict(self)


class Gauge(NamedTuple):
    """What a GPU says of itself; see `DeviceUse`."""

    utilisation_percent: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None


class Seat(NamedTuple):
    """A worker: where it is, and whether it has something to do."""

    node: str
    device: str
    busy: bool


def uses(seats: Iterable[Seat], gauges: Mapping[tuple[str, str], Gauge]) -> tuple[DeviceUse, ...]:
    """What each device does, sorted by node and device.

    Args:
        seats: every worker.
        gauges: by node and device, as far as known.
    """
    slots: dict[tuple[str, str], list[bool]] = {}
    for seat in seats:
        slots.setdefault((seat.node, seat.device), []).append(seat.busy)
    nothing = Gauge(None, None, None)
    return tuple(
        _use(where, busy, gauges.get(where, nothing)) for where, busy in sorted(slots.items())
    )


def _use(where: tuple[str, str], busy: list[bool], gauge: Gauge) -> DeviceUse:
    node, device = where
    return DeviceUse(
        node, device, len(busy), sum(busy), gauge.utilisation_percent, gauge.memory_used_bytes,
        gauge.memory_total_bytes,
    )  # fmt: skip


def gpu_names() -> tuple[str, ...]:
    """The models of the GPUs of this machine; empty where the library finds none."""
    with _library() as library:
        if library is None:
            return ()
        return tuple(_text(library.nvmlDeviceGetName(gpu)) for _, gpu in _handles(library))
    return ()


def read_gauges() -> dict[str, Gauge]:
    """What the GPUs of this machine say of themselves, by the names that workers have for them.

    A worker names a GPU as `CUDA_VISIBLE_DEVICES` does: by its number, or by its UUID.
    """
    found: dict[str, Gauge] = {}
    with _library() as library:
        for number, gpu in () if library is None else _handles(library):
            gauge = _gauge(library, gpu)
            found[f"GPU {number}"] = gauge
            with contextlib.suppress(Exception):
                found[f"GPU {_text(library.nvmlDeviceGetUUID(gpu))}"] = gauge
    return found


class GaugeReader:
    """Reads the gauges of this machine every few seconds, in a thread of its own."""

    def __init__(self) -> None:
        """Starts; where there is no GPU, it ends after the first look."""
        self._latest: dict[str, Gauge] = {}
        self._stop = threading.Event()
        threading.Thread(target=self._go, name="gauges", daemon=True).start()

    def latest(self) -> dict[str, Gauge]:
        """What was read last."""
        return self._latest

    def stop(self) -> None:
        """Reads no more."""
        self._stop.set()

    def _go(self) -> None:
        while not self._stop.is_set():
            self._latest = read_gauges()
            if not self._latest:
                return
            self._stop.wait(EVERY_S)


def _handles(library: Any) -> list[tuple[int, Any]]:
    found = []
    for number in range(library.nvmlDeviceGetCount()):
        with contextlib.suppress(Exception):
            found.append((number, library.nvmlDeviceGetHandleByIndex(number)))
    return found


def _gauge(library: Any, gpu: Any) -> Gauge:
    busy = used = total = None
    with contextlib.suppress(Exception):  # a part of a GPU (MIG) does not say
        busy = float(library.nvmlDeviceGetUtilizationRates(gpu).gpu)
    with contextlib.suppress(Exception):
        memory = library.nvmlDeviceGetMemoryInfo(gpu)
        used, total = int(memory.used), int(memory.total)
    return Gauge(busy, used, total)


@contextlib.contextmanager
def _library() -> Iterator[Any]:
    """NVIDIA's library, started; None where there is none, or no GPU for it."""
    library = None
    for name in ("pynvml", "ray._private.thirdparty.pynvml"):
        with contextlib.suppress(Exception):
            found = importlib.import_module(name)
            found.nvmlInit()
            library = found
            break
    try:
        yield library
    except Exception:  # it went away while it was asked
        return
    finally:
        if library is not None:
            with contextlib.suppress(Exception):
                library.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
