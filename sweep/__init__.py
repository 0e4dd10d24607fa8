"""What to run, where, and what came back: study, plan, scheduling on Ray, results.

In a notebook::

    import sweep

    study = sweep.load_study("quickstart", {"recipe.epochs": 2})
    print(sweep.plan_study(study))
    sweep.run_study(study, "results")
    results = sweep.Results("results")
    cells = results.cells("quickstart")            # a pandas frame
    network = results.model(cells.trial_id[0])     # a torch module

Nothing heavy is imported until it is used.
"""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweep.estimate import Overview
    from sweep.progress import Progress
    from sweep.results import Results
    from sweep.service import Where
    from sweep.study import Study, load_study
    from sweep.summary import RunSummary

__all__ = ["Results", "Where", "load_study", "plan_study", "run_study"]

_MODULE_OF = {"Results": "results", "Where": "service", "load_study": "study"}


def plan_study(
    study: "Study",
    results: str | Path = "results",
    *,
    only: Iterable[str] = (),
    seeds: int | None = None,
    workers: int = 1,
    shard: str | None = None,
) -> "Overview":
    """Counts what a study asks for, what of it is done, and what sharing saves. Trains nothing.

    Args:
        study: see `load_study`.
        results: the results directory; it need not exist.
        only: filters such as `"dataset=cifar10 alpha=0.1|0.6"`.
        seeds: the first so many seeds.
        workers: trials at a time, for the estimate of time.
        shard: a part such as `"2/8"`; see `run_study`.
    """
    from sweep.cells import demand
    from sweep.estimate import overview
    from sweep.filters import parse
    from sweep.shard import Shard
    from sweep.store import Store

    store, part = Store(results), None if shard is None else Shard.parse(shard)
    return overview(demand(study, store, parse(only), seeds, shard=part), store, workers)


def run_study(
    study: "Study",
    results: str | Path = "results",
    where: "Where | None" = None,
    *,
    only: Iterable[str] = (),
    seeds: int | None = None,
    shard: str | None = None,
    progress: "Progress | None" = None,
) -> "RunSummary":
    """Trains what is missing of a study.

    Args:
        study: see `load_study`.
        results: the results directory; continued if it exists.
        where: on what; by default on Ray, started on this machine. `Where(local=True)` trains in
            this process, where a breakpoint stops.
        only: filters such as `"dataset=cifar10 alpha=0.1|0.6"`.
        seeds: the first so many seeds.
        shard: a part such as `"2/8"`, the second of eight, to be given results of its own.
        progress: told what happens; silent by default.
    """
    from sweep import service
    from sweep.filters import parse
    from sweep.shard import Shard

    part = None if shard is None else Shard.parse(shard)
    return service.run_study(
        study, results, where, only=parse(only), seeds=seeds, shard=part, progress=progress
    )


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"sweep.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'sweep' has no attribute {name!r}")
