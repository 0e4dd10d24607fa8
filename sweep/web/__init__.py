"""The web page and its API: `sweep serve`.

Everything that is shown is read from the results directory, as any reader sees it: the server holds
no state that a restart would lose. Runs are processes of their own, which outlive it.

Nothing is imported here: what supervises a run is started from this package and stays small.
"""
