"""Starts the process that holds the results: what must be settled before its imports."""

import os
import socket
import sys
from contextlib import suppress
from importlib.abc import MetaPathFinder


class _WithoutPandas(MetaPathFinder):
    """Hides pandas from Arrow and DuckDB, which do without: its import takes longer than all others."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is not imported here", name=name)


def main() -> None:
    """Reads the results until the asker ends: its socket and the directory are the arguments."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy, which would start threads
    sys.meta_path.insert(0, _WithoutPandas())
    from sweep.query import reader

    with suppress(BrokenPipeError, ConnectionResetError):  # who asks has ended
        reader.main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])


if __name__ == "__main__":
    main()
