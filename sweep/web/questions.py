"""SQL over the results, as confined as `sweep query`, in answers of limited size."""

import threading
import time
import warnings
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sweep.query.asking import Asking, Limits
from sweep.web.models import QueryAnswer, QueryColumn
from sweep.web.problems import ProblemError

MAX_ROWS, MAX_TIMEOUT_S, MEMORY_MB = 10_000, 20.0, 1_000
MAX_ANSWER_BYTES = 8 * 1024 * 1024
BYTES_A_LETTER = 4
"""In memory, at most, for each byte of JSON: a number of 8 bytes is a digit and a comma at least."""


class Questions:
    """Asks one results directory; the process that reads it starts with the first question."""

    def __init__(self, results: str) -> None:
        self._results = results
        self._asking: Asking | None = None
        self._lock = threading.Lock()

    def ask(self, sql: str, max_rows: int, timeout_s: float) -> QueryAnswer:
        """Answers one SELECT statement.

        Raises:
            ProblemError: where the answer is larger than may be sent.
            QueryError: see `sweep.query.Asking.query`.
            StoreError: where the results cannot be read.
        """
        with self._lock:
            if self._asking is None:
                self._asking = Asking(self._results)
            asking = self._asking
            began = time.monotonic()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                table = asking.query(sql, Limits(timeout_s, max_rows, MEMORY_MB))
            took = time.monotonic() - began
        if table.nbytes > BYTES_A_LETTER * MAX_ANSWER_BYTES:
            raise too_large()
        columns = [column.to_pylist() for column in table.columns]
        return QueryAnswer(
            columns=[QueryColumn(name=f.name, type=str(f.type)) for f in table.schema],
            rows=[[plain(value) for value in row] for row in zip(*columns, strict=True)],
            elapsed_s=took,
            warnings=[str(warning.message) for warning in caught],
        )

    def close(self) -> None:
        """Ends the process that reads."""
        if self._asking is not None:
            self._asking.close()


def too_large() -> ProblemError:
    """That an answer is larger than may be sent."""
    return ProblemError(400, f"the answer is larger than {MAX_ANSWER_BYTES / 1e6:.0f} MB")


def plain(value: Any) -> Any:
    """A value of an answer in the types of JSON."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal | timedelta):
        return str(value)
    if isinstance(value, date):  # and times of a day
        return value.isoformat()
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return value if value is None or isinstance(value, bool | int | float) else str(value)
