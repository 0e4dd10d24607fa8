"""A process gives up what it could do harm with, for good: what it has is what it keeps.

Limits of the operating system, which nothing in the process can raise again: no file or socket can be
opened, none grows, no process or thread starts, memory and processor time end. A platform may lack
one, or take it and not keep it; so each is tried out.
"""

import mmap
import os
import resource
import threading
from contextlib import suppress
from pathlib import Path

NOBODY = 65534
FILES = "files and sockets"


def confine(memory_bytes: int, cpu_s: int) -> list[str]:
    """Gives up files, sockets, processes, threads, and memory and time beyond what is allowed.

    Open files stay open, and running threads go on. Root becomes a user without rights, since the
    number of root's processes has no limit. Nothing can be imported any more.

    Args:
        memory_bytes: what may be taken in addition to what is in use.
        cpu_s: seconds of processor time, of all threads together, before the process is killed.

    Returns:
        What could not be limited here; `FILES` among them means that nothing holds.
    """
    in_use = _data_bytes()
    if os.geteuid() == 0:
        with suppress(OSError):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
    limits = (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_DATA, in_use + memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),
    )
    for what, most in limits:
        with suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))
    tried = ((FILES, _opens), ("processes", _starts), ("memory", lambda: _takes(memory_bytes)))
    return [what for what, works in tried if works()]


def _data_bytes() -> int:
    """The memory that counts against RLIMIT_DATA; 0 where the platform does not say."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text("utf-8").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0


def _opens() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True


def _starts() -> bool:
    thread = threading.Thread(target=lambda: None)
    try:
        thread.start()
    except RuntimeError:
        return False
    thread.join()
    return True


def _takes(memory_bytes: int) -> bool:
    try:
        mmap.mmap(-1, memory_bytes + mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON).close()
    except OSError:
        return False
    return True
