"""NVIDIA's Multi-Process Service: lets kernels of several processes run on a GPU at the same time.

Without it, processes that share a GPU take turns. It is started where its control program is
installed and a trial process can use the GPU through it, and left out otherwise: numbers do not
depend on it, only time does.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

from sweep.scratch import Scratch

CONTROL = "nvidia-cuda-mps-control"
_TRY = "import torch; torch.zeros(1, device='cuda').item()"
_PATIENCE_S = 60.0


@contextlib.contextmanager
def service(scratch: Scratch) -> Iterator[bool]:
    """Runs the service for processes that are started within, if that can be done.

    Args:
        scratch: ends the service, and removes its folder, when it is closed or this process dies.

    Yields:
        Whether it runs. One that runs already, named by `CUDA_MPS_PIPE_DIRECTORY`, is left alone.
    """
    if "CUDA_MPS_PIPE_DIRECTORY" in os.environ:
        yield True
        return
    program = shutil.which(CONTROL)
    if program is None:
        yield False
        return
    folder = str(scratch.folder())
    ours = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
    environment = {**os.environ, **ours}
    scratch.at_end([program], "quit\n", environment)
    try:
        runs = _succeeds([program, "-d"], environment) and _succeeds(
            [sys.executable, "-c", _TRY], environment
        )
        if runs:
            os.environ.update(ours)
        yield runs
    finally:
        for name in ours:
            os.environ.pop(name, None)


def _succeeds(command: list[str], environment: dict[str, str]) -> bool:
    try:
        ended = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_PATIENCE_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == 0
