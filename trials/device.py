"""The device a worker trains on, and the class of machines on which it promises equal bits."""

import ctypes
import platform
import resource
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from trials.engine import Engine, machine_of, plain_engine

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Settings of the GNU C library's `mallopt`, numbered as in its `malloc.h`."""


@dataclass(frozen=True)
class NumericsClass:
    """Where equal bits are promised: within one class, and not across.

    Attributes:
        device: device model.
        capability: instruction set (CPU) or compute capability (GPU).
        torch: version of PyTorch.
        numpy: version of numpy, which draws the dropout masks on the CPU.
        engine: how steps are executed.
    """

    device: str
    capability: str
    torch: str
    numpy: str
    engine: str

    def __str__(self) -> str:
        return "; ".join(f"{key} {value}" for key, value in asdict(self).items())

    @property
    def machine(self) -> str:
        """The class but for the engine: what a worker is, whatever it trains."""
        return machine_of(str(self))


def choose(gpus: float | None) -> torch.device:
    """The device for a worker that was given a share of a GPU, or none; None: whatever there is."""
    wanted = gpus is None or gpus > 0
    return torch.device("cuda" if wanted and torch.cuda.is_available() else "cpu")


def configure() -> None:
    """Sets up a worker process: one thread, no kernels chosen by timing.

    A result must depend on its trial alone, so neither the number of cores nor what else runs
    may steer how it is computed. Memory that is freed stays with the process, where the C library
    can: otherwise each step gets its large tensors as new pages, which the system clears first.
    """
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, -1)


def numerics_class(device: torch.device, engine: Engine | None = None) -> NumericsClass:
    """The numerics class of this process on a device; None: that of trials not in lanes."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        capability = "sm_" + "".join(map(str, torch.cuda.get_device_capability(device)))
    else:
        name = _cpu_name()
        capability = torch.backends.cpu.get_cpu_capability()
    return NumericsClass(
        name, capability, torch.__version__, np.__version__, engine or plain_engine(device.type)
    )


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def reset_peak_memory(device: torch.device) -> None:
    """Starts a new measurement of peak memory, where the system can.

    What was freed goes back to the system, so that the measurement is of what follows.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # the peak then counts from the start of the process


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory since the last reset: of the device's allocator, or of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
