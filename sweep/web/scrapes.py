"""The figures for Prometheus, for one scrape after the other."""

import threading

from sweep.metrics import Metrics, Standing, exposed
from sweep.results import Results
from sweep.store import Store


class Scrapes:
    """Answers scrapes; what was read for one is not read again for the next."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._metrics: Metrics | None = None
        self._lock = threading.Lock()

    def __call__(self) -> bytes:
        """The figures of now, in the text format of Prometheus.

        Raises:
            StoreError: where the results cannot be read.
        """
        with self._lock:
            if self._metrics is None:
                if not self._store.is_there():  # the first run makes it
                    return exposed(Standing({}))
                self._metrics = Metrics(Results(str(self._store)))
            return self._metrics.exposition()
