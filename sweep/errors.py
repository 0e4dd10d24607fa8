"""Errors that a user can cause. Each message names the key, the value and what is allowed."""


class SweepError(Exception):
    """Base of the errors that are shown as one message, without a traceback."""


class StudyError(SweepError, ValueError):
    """A study that cannot be run as written."""


class FilterError(SweepError, ValueError):
    """A filter that cannot be read."""


class StoreError(SweepError):
    """A results directory that cannot be used."""


class LockLostError(StoreError):
    """A results directory that another run has taken over: nothing more may be written there."""


class DamagedError(StoreError):
    """A file of a results directory whose content is not what was written."""


class QueryError(SweepError, ValueError):
    """A query that cannot be answered."""


class TableError(SweepError, ValueError):
    """A table that cannot be imported."""


class HandoverError(SweepError, ValueError):
    """Results that cannot be handed over as asked."""
