"""What can go wrong with a dataset, as exceptions that survive a trip through pickle.

Every error carries one finished message and nothing else, so it reads the same in a notebook, on
the command line and in the record of a failed attempt on another machine.
"""

from __future__ import annotations


class DataError(Exception):
    """A dataset could not be used; the message says which, and what to do."""


class UnknownDatasetError(DataError, ValueError):
    """No dataset is registered under this name."""


class DatasetUnavailableError(DataError):
    """A dataset is not in the data directory and was not, or could not be, downloaded."""


class DatasetFileError(DataError):
    """A dataset file is damaged or holds something else than the catalog says."""


class FingerprintMismatchError(DatasetFileError):
    """A dataset file is well formed, but its content is not the pinned one."""
