"""`sweep run` and `sweep retry`: train what is missing, or what failed."""

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, TextIO

import typer

from sweep.cli import app
from sweep.cli.options import (
    RESULTS,
    Directory,
    Json,
    Only,
    Seeds,
    Settings,
    Study,
    fail,
    print_json,
)

if TYPE_CHECKING:
    from sweep.run import RunSummary
    from sweep.service import Where

Address = Annotated[
    str | None, typer.Option(help="an existing Ray cluster; without it, one is started here")
]
Local = Annotated[bool, typer.Option("--local", help="in this process, one trial at a time")]
Workers = Annotated[int | None, typer.Option(help="trials at a time; default: as many as fit")]
GpusPerTrial = Annotated[
    float | None,
    typer.Option(help="share of a GPU for each trial, 0 for the CPU; default 0.25 with GPUs"),
]
TrialsPerGpu = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto", help="the same, as a number of trials; auto: measured on a few steps"
    ),
]
DataDir = Annotated[Path | None, typer.Option("--data", help="data directory; SWEEP_DATA_DIR")]
NoSharing = Annotated[
    bool, typer.Option("--no-sharing", help="train every trial alone, for comparison")
]
SnapshotMemory = Annotated[
    float | None,
    typer.Option(
        metavar="GB",
        help="room for snapshots that wait for others to go on from them; default: half of the "
        "cluster's object store",
    ),
]
EagerSteps = Annotated[
    bool,
    typer.Option("--eager", help="on a GPU, launch kernels one by one, not as captured graphs"),
]
CheckpointMinutes = Annotated[
    float, typer.Option(help="training after which a snapshot is put on disk; 0: every epoch")
]


@app.command()
def run(
    study: Study,
    results: Directory = RESULTS,
    settings: Settings = None,
    only: Only = None,
    seeds: Seeds = None,
    address: Address = None,
    local: Local = False,
    workers: Workers = None,
    gpus_per_trial: GpusPerTrial = None,
    trials_per_gpu: TrialsPerGpu = None,
    data_dir: DataDir = None,
    no_sharing: NoSharing = False,
    snapshot_memory: SnapshotMemory = None,
    checkpoint_minutes: CheckpointMinutes = 10.0,
    eager: EagerSteps = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="one short trial per configuration first")
    ] = False,
    smoke_only: Annotated[
        bool, typer.Option("--smoke-only", help="one short trial per configuration, then stop")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start or continue a study: train what is missing."""
    where = _where(
        address, local, workers, gpus_per_trial, trials_per_gpu, data_dir,
        snapshot_memory, checkpoint_minutes, eager,
    )  # fmt: skip
    if smoke or smoke_only:
        _smoke(study, where, settings=settings, only=only, as_json=as_json, stop=smoke_only)
    _train(
        study, results, where, settings=settings, only=only, seeds=seeds, share=not no_sharing,
        retry=None, as_json=as_json,
    )  # fmt: skip


@app.command()
def retry(
    study: Study,
    kind: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="only failures of this kind")
    ] = None,
    results: Directory = RESULTS,
    settings: Settings = None,
    only: Only = None,
    seeds: Seeds = None,
    address: Address = None,
    local: Local = False,
    workers: Workers = None,
    gpus_per_trial: GpusPerTrial = None,
    trials_per_gpu: TrialsPerGpu = None,
    data_dir: DataDir = None,
    no_sharing: NoSharing = False,
    snapshot_memory: SnapshotMemory = None,
    checkpoint_minutes: CheckpointMinutes = 10.0,
    eager: EagerSteps = False,
    as_json: Json = False,
) -> None:
    """Run failed trials of a study again, along with what is missing."""
    from sweep.records import FailureKind

    allowed = [str(k) for k in FailureKind]
    for given in kind or ():
        if given not in allowed:
            fail(f"--kind {given!r}: must be one of {', '.join(allowed)}")
    where = _where(
        address, local, workers, gpus_per_trial, trials_per_gpu, data_dir,
        snapshot_memory, checkpoint_minutes, eager,
    )  # fmt: skip
    _train(
        study, results, where, settings=settings, only=only, seeds=seeds, share=not no_sharing,
        retry=kind or (), as_json=as_json,
    )  # fmt: skip


@app.command()
def evaluate(
    study: Study,
    results: Directory = RESULTS,
    settings: Settings = None,
    epsilons: Annotated[
        str | None,
        typer.Option("--fgsm-epsilons", help="comma-separated; default: those of the study"),
    ] = None,
    address: Address = None,
    local: Local = False,
    workers: Workers = None,
    gpus_per_trial: GpusPerTrial = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Add evaluations to trials whose weights are kept; train nothing."""
    from sweep import progress, service
    from sweep.study import load_study

    wanted = None if epsilons is None else _epsilons(epsilons)
    out = sys.stderr if as_json else sys.stdout
    summary = service.evaluate_study(
        load_study(study, settings or ()),
        results,
        _where(address, local, workers, gpus_per_trial, None, data_dir),
        epsilons=wanted,
        progress=progress.PlainLines(out),
    )
    if as_json:
        print_json(summary.__dict__)
    else:
        print(
            f"{summary.evaluated} trials evaluated, {summary.complete} were complete, "
            f"{summary.without_weights} without kept weights, {len(summary.failures)} failed"
        )
        for failure in summary.failures[:10]:
            print(f"  {failure}")
    sys.exit(1 if summary.failures else 0)


def _epsilons(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        fail(f"--fgsm-epsilons {text!r}: must be numbers separated by commas")
    for value in values:
        if not 0 <= value < float("inf"):
            fail(f"--fgsm-epsilons {value}: must be 0 or more")
    return values


def _smoke(
    study: str,
    where: "Where",
    *,
    settings: list[str] | None,
    only: list[str] | None,
    as_json: bool,
    stop: bool,
) -> None:
    """Tries every configuration; ends the program where one fails, or where it is to stop."""
    from sweep import progress, service
    from sweep.filters import parse
    from sweep.study import load_study

    out = sys.stderr if as_json else sys.stdout
    print("smoke: one short trial per configuration", file=out, flush=True)
    tried = service.smoke(
        load_study(study, settings or ()),
        where,
        only=parse(only or ()),
        progress=progress.choose(out),
    )
    _conclude(tried, "smoke run", None, out)
    if stop or tried.exit_status:
        if as_json:
            print_json(tried.__dict__)
        sys.exit(tried.exit_status)


def _train(
    study: str,
    results: str,
    where: "Where",
    *,
    settings: list[str] | None,
    only: list[str] | None,
    seeds: int | None,
    share: bool,
    retry: Iterable[str] | None,
    as_json: bool,
) -> NoReturn:
    """Trains what is missing and ends the program with the status of the run."""
    from sweep import progress, service
    from sweep.filters import parse
    from sweep.study import load_study

    out = sys.stderr if as_json else sys.stdout
    chosen = load_study(study, settings or ())
    summary = service.run_study(
        chosen,
        results,
        where,
        only=parse(only or ()),
        seeds=seeds,
        share=share,
        retry=retry,
        progress=progress.choose(out),
    )
    more = f"sweep trials {chosen.name} --status failed --results {shlex.quote(results)}"
    _conclude(summary, f"study {chosen.name} in {results}", more, out)
    if as_json:
        print_json(summary.__dict__)
    sys.exit(summary.exit_status)


def _where(
    address: str | None,
    local: bool,
    workers: int | None,
    gpus_per_trial: float | None,
    trials_per_gpu: str | None,
    data_dir: Path | None,
    snapshot_gb: float | None = None,
    checkpoint_minutes: float = 10.0,
    eager: bool = False,
) -> "Where":
    """Where to run, checked."""
    gpus = _gpus(gpus_per_trial, trials_per_gpu)
    if workers is not None and workers < 1:
        fail(f"--workers {workers}: must be 1 or more")
    if local and address:
        fail("--local and --address exclude each other")
    if snapshot_gb is not None and not 0 <= snapshot_gb < float("inf"):
        fail(f"--snapshot-memory {snapshot_gb:g}: must be 0 or more, in GB")
    if not 0 <= checkpoint_minutes < float("inf"):
        fail(f"--checkpoint-minutes {checkpoint_minutes:g}: must be 0 or more")
    from sweep.service import Where

    room = None if snapshot_gb is None else int(snapshot_gb * 1e9)
    return Where(
        local, address, workers, gpus, data_dir, room, 60 * checkpoint_minutes,
        "eager" if eager else None,
    )  # fmt: skip


def _gpus(per_trial: float | None, per_gpu: str | None) -> "float | Literal['auto'] | None":
    if per_trial is not None and per_gpu is not None:
        fail("--gpus-per-trial and --trials-per-gpu say the same thing; give one")
    if per_gpu == "auto":
        return "auto"
    if per_gpu is not None:
        if not per_gpu.isdecimal() or int(per_gpu) < 1:
            fail(f"--trials-per-gpu {per_gpu}: must be 1 or more, or auto")
        return 1 / int(per_gpu)
    if per_trial is not None and not 0 <= per_trial <= 1:
        fail(f"--gpus-per-trial {per_trial:g}: must be from 0 (the CPU) to 1")
    return per_trial


def _conclude(summary: "RunSummary", what: str, more: str | None, out: TextIO) -> None:
    from sweep.progress import duration

    parts = [f"{summary.done} trained"]
    if summary.already_done:
        parts.append(f"{summary.already_done} were done")
    if summary.not_done_before:
        parts.append(f"{summary.not_done_before} diverged or failed earlier")
    for count, word in (
        (summary.diverged, "diverged"), (summary.failed, "failed"), (summary.blocked, "blocked"),
    ):  # fmt: skip
        if count:
            parts.append(f"{count} {word}")
    left = summary.total - summary.done - summary.diverged - summary.failed - summary.blocked
    if summary.interrupted and left > 0:
        parts.append(f"{left} left for the next run")
    lines = [f"{what}: {', '.join(parts)} in {duration(summary.elapsed_s)}"]
    if summary.utilisation is not None:
        workers = "1 worker" if summary.slots == 1 else f"{summary.slots} workers"
        lines[0] += f" on {workers}, {100 * summary.utilisation:.0f} % busy"
    if summary.epochs_alone > summary.epochs > 0:
        lines.append(
            f"  {summary.epochs:,} epochs trained; these trials alone would have taken "
            f"{summary.epochs_alone:,} ({summary.epochs_alone / summary.epochs:.2f} times as many)"
        )
    lines += [f"  {failure}" for failure in summary.failures[:10]]
    if len(summary.failures) > 10:
        lines.append(f"  and {len(summary.failures) - 10} more" + (f"; `{more}`" if more else ""))
    print("\n".join(lines), file=out, flush=True)
