"""Looks at a joblib file before anyone loads it: it may hold one array of numbers, and nothing else.

scikit-learn keeps California Housing as a compressed joblib file, which is a pickle, and a pickle can
run code. Here it is read with an unpickler that knows three names only; whoever calls may then hand
the file to scikit-learn.
"""

import io
import pickle
import zlib
from pathlib import Path
from typing import Any

MAX_BYTES = 64 * 1024 * 1024
_ALLOWED = {
    ("joblib.numpy_pickle", "NumpyArrayWrapper"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


def require_plain_array(path: Path) -> None:
    """Makes sure that a joblib file holds an array of numbers, without running what it says.

    Args:
        path: a file written by `joblib.dump(array, path, compress=...)` with zlib.

    Raises:
        ValueError: it is damaged, too large, or holds anything else; names what.
        OSError: it cannot be read.
    """
    import numpy as np
    from joblib.numpy_pickle import NumpyUnpickler

    class Strict(NumpyUnpickler):  # type: ignore[misc]  # joblib has no types
        """Knows the names that an array needs, and no array of objects."""

        dispatch = NumpyUnpickler.dispatch.copy()

        def find_class(self, module: str, name: str) -> Any:
            """The class behind a name, if it is one of an array's."""
            if (module, name) not in _ALLOWED:
                raise ValueError(f"it refers to {module}.{name}, which no array needs")
            return super().find_class(module, name)

        def load_build(self) -> None:
            """Sets the state of an object; joblib reads an array's content here."""
            state = self.stack[-1]
            kind = state.get("dtype") if isinstance(state, dict) else None
            if isinstance(kind, np.dtype) and kind.hasobject:
                raise ValueError("it holds an array of objects")
            super().load_build()

        dispatch[pickle.BUILD[0]] = load_build

    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(path.read_bytes(), MAX_BYTES)
    except zlib.error as error:
        raise ValueError(f"it is damaged or not a compressed joblib file: {error}") from None
    if unpacker.unconsumed_tail:
        raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
    try:
        found = Strict("", io.BytesIO(content), False).load()
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"it is damaged: {type(error).__name__}: {error}") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind != "f":
        raise ValueError(f"it holds a {type(found).__name__}, not an array of numbers")
