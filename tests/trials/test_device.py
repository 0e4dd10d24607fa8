import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from trials import device
from trials.device import choose, configure, numerics_class, peak_memory_bytes, reset_peak_memory

CPU = torch.device("cpu")


@pytest.fixture
def _settings() -> Iterator[None]:
    cudnn = torch.backends.cudnn
    before = torch.get_num_threads(), cudnn.benchmark, cudnn.deterministic
    yield
    torch.set_num_threads(before[0])
    cudnn.benchmark, cudnn.deterministic = before[1:]


@pytest.mark.usefixtures("_settings")
def test_a_worker_has_one_thread_and_no_timed_kernels() -> None:
    torch.set_num_threads(2)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.deterministic = False
    configure()
    assert torch.get_num_threads() == 1
    assert not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.deterministic


def test_the_numerics_class_names_all_that_bits_may_depend_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "_cpu_name", lambda: "Some CPU 3000")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(torch, "__version__", "9.8.7+cpu")
    monkeypatch.setattr(np, "__version__", "6.5.4")
    expected = "device Some CPU 3000; capability AVX2; torch 9.8.7+cpu; numpy 6.5.4; engine eager"
    assert str(numerics_class(CPU)) == expected


def test_the_numerics_class_is_the_same_each_time_and_complete() -> None:
    found = numerics_class(CPU)
    assert found == numerics_class(CPU)
    assert all(vars(found).values())
    assert found.torch == torch.__version__


def test_a_processor_without_a_model_name_still_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self: "processor\t: 0\nFeatures\t: asimd\n")
    assert device._cpu_name()


def test_the_name_of_the_first_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "processor\t: 0\nmodel name\t: A: B 2 @ 3GHz\nprocessor\t: 1\nmodel name\t: C\n"
    monkeypatch.setattr(Path, "read_text", lambda self: text)
    assert device._cpu_name() == "A: B 2 @ 3GHz"


def test_a_worker_without_a_share_of_a_gpu_uses_the_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose(0) == CPU
    assert choose(0.25) == torch.device("cuda")


@pytest.mark.parametrize(("tensors", "length"), [(1, 2**24), (1024, 2**14)])
def test_a_worker_keeps_what_it_frees_until_the_next_measurement(tensors: int, length: int) -> None:
    # In a process of its own, since the setting is for good.
    code = f"""
import os, torch
from trials.device import configure, reset_peak_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
configure()
before = resident()
held = [torch.ones({length}) for _ in range({tensors})]
held.clear()
assert resident() - before > 2**25
before = resident()
reset_peak_memory(torch.device("cpu"))
assert before - resident() > 2**25
"""
    if platform.libc_ver()[0] != "glibc" or not Path("/proc/self/statm").exists():
        pytest.skip("this system does not say, or its C library decides by itself")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_peak_memory_sees_what_is_gone_and_forgets_it_after_a_reset() -> None:
    big = torch.ones(2**24)
    size = big.nbytes
    assert size == 2**26
    del big
    peak = peak_memory_bytes(CPU)
    assert peak > size
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("this system cannot reset the peak")
    reset_peak_memory(CPU)
    assert peak_memory_bytes(CPU) < peak
