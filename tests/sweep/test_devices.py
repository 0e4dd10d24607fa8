"""What each device does: counted from the workers, measured by NVIDIA's library where there is one."""

import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from sweep.execution import devices
from sweep.execution.devices import DeviceUse, Gauge, GaugeReader, Seat, uses
from sweep.progress import RunState


class Library:
    """Stands in for NVML: two GPUs, the second a part of one, which does not tell how busy it is."""

    def __init__(self) -> None:
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802 (NVML's names)
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:  # noqa: N802
        return number

    def nvmlDeviceGetName(self, gpu: int) -> Any:  # noqa: N802
        return [b"Model A", "Model B"][gpu]

    def nvmlDeviceGetUUID(self, gpu: int) -> str:  # noqa: N802
        return f"GPU-{gpu}-uuid"

    def nvmlDeviceGetUtilizationRates(self, gpu: int) -> Any:  # noqa: N802
        if gpu == 1:
            raise RuntimeError("not supported")
        return SimpleNamespace(gpu=37)

    def nvmlDeviceGetMemoryInfo(self, gpu: int) -> Any:  # noqa: N802
        return SimpleNamespace(used=10 + gpu, total=80)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    found = Library()
    monkeypatch.setitem(sys.modules, "pynvml", found)
    return found


def test_workers_are_counted_by_device() -> None:
    seats = [
        Seat("b", "GPU 0", True),
        Seat("a", "GPU 1", False),
        Seat("a", "GPU 0", True),
        Seat("a", "GPU 1", True),
        Seat("a", "GPU 0", True),
        Seat("a", "GPU 1", False),
    ]
    found = uses(seats, {("a", "GPU 1"): Gauge(50.0, 3, 9), ("z", "GPU 0"): Gauge(1.0, 1, 1)})
    assert found == (
        DeviceUse("a", "GPU 0", 2, 2),
        DeviceUse("a", "GPU 1", 3, 1, 50.0, 3, 9),
        DeviceUse("b", "GPU 0", 1, 1),
    )


def test_gpus_are_known_by_number_and_by_uuid(library: Library) -> None:
    whole, part = Gauge(37.0, 10, 80), Gauge(None, 11, 80)
    assert devices.read_gauges() == {
        "GPU 0": whole, "GPU GPU-0-uuid": whole, "GPU 1": part, "GPU GPU-1-uuid": part,
    }  # fmt: skip
    assert devices.gpu_names() == ("Model A", "Model B")
    assert library.open == 0


def test_a_library_that_fails_is_none(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> int:
        raise RuntimeError("GPU is lost")

    monkeypatch.setattr(library, "nvmlDeviceGetCount", lost)
    assert devices.read_gauges() == {}
    assert devices.gpu_names() == ()
    assert library.open == 0


def test_gauges_are_read_again_and_again(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "EVERY_S", 0.01)
    reader = GaugeReader()
    until = time.monotonic() + 30.0
    while not reader.latest():
        assert time.monotonic() < until
        time.sleep(0.01)
    monkeypatch.setattr(library, "nvmlDeviceGetUtilizationRates", lambda _: SimpleNamespace(gpu=99))
    while reader.latest()["GPU 0"].utilisation_percent != 99.0:
        assert time.monotonic() < until
        time.sleep(0.01)
    reader.stop()


def test_a_state_tells_of_devices_in_json() -> None:
    state = RunState(1, 0, 0, 0, (), 0, 1, 0.0, None, 0.0, devices=(DeviceUse("a", "CPU", 2, 1),))
    assert state.as_dict()["devices"] == [
        {
            "node": "a", "device": "CPU", "slots": 2, "busy": 1, "utilisation_percent": None,
            "memory_used_bytes": None, "memory_total_bytes": None,
        }
    ]  # fmt: skip
