"""`sweep run`, `sweep retry`, `sweep evaluate`: train or measure what is missing, or what failed."""

import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, TextIO

import typer

from sweep.cli import app
from sweep.cli.groups import with_groups
from sweep.cli.logged import Logging
from sweep.cli.options import (
    RESULTS,
    Directory,
    Json,
    Only,
    Part,
    Seeds,
    Settings,
    Study,
    fail,
    print_json,
    shard_of,
    study_to_run,
)

if TYPE_CHECKING:
    from sweep.policy import Policy
    from sweep.service import Where
    from sweep.summary import RunSummary

MINUTE_S = 60.0

Smoke = Annotated[bool, typer.Option("--smoke", help="one short trial per configuration first")]
Kinds = Annotated[
    list[str] | None, typer.Option("--kind", metavar="KIND", help="only failures of this kind")
]


@dataclass(frozen=True)
class Resources:
    """What trials may take of where they run."""

    workers: Annotated[
        int | None, typer.Option(help="trials at a time; default: as many as fit")
    ] = None
    gpus_per_trial: Annotated[
        float | None,
        typer.Option(help="share of a GPU for each trial, 0 for the CPU; default 0.25 with GPUs"),
    ] = None

    def where(self) -> "Where":
        """The same, checked."""
        from sweep.service import Where

        if self.workers is not None and self.workers < 1:
            fail(f"--workers {self.workers}: must be 1 or more")
        share = self.gpus_per_trial
        if share is not None and not 0 <= share <= 1:
            fail(f"--gpus-per-trial {share:g}: must be from 0 (the CPU) to 1")
        return Where(workers=self.workers, gpus_per_trial=share)


@dataclass(frozen=True)
class Placing(Resources):
    """Where to run."""

    address: Annotated[
        str | None, typer.Option(help="an existing Ray cluster; without it, one is started here")
    ] = None
    local: Annotated[bool, typer.Option("--local", help="in this process, one trial at a time")] = (
        False
    )
    data_dir: Annotated[
        Path | None, typer.Option("--data", help="data directory; SWEEP_DATA_DIR")
    ] = None

    def where(self) -> "Where":
        """The same, checked."""
        where = super().where()
        if self.local and self.address:
            fail("--local and --address exclude each other")
        return replace(where, local=self.local, address=self.address, data_dir=self.data_dir)


@dataclass(frozen=True)
class Training:
    """How to train."""

    trials_per_gpu: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="--gpus-per-trial as a number of trials; auto: measured on a few steps",
        ),
    ] = None
    no_sharing: Annotated[
        bool, typer.Option("--no-sharing", help="train every trial alone, for comparison")
    ] = False
    snapshot_memory: Annotated[
        float | None,
        typer.Option(
            metavar="GB",
            help="room for snapshots that wait for others to go on from them; default: half of the "
            "cluster's object store",
        ),
    ] = None
    checkpoint_minutes: Annotated[
        float, typer.Option(help="training after which a snapshot is put on disk; 0: every epoch")
    ] = 10.0
    eager: Annotated[
        bool,
        typer.Option(
            "--eager",
            help="on a GPU, launch kernels one by one: no captured graphs, no trials side by side",
        ),
    ] = False

    def added_to(self, where: "Where") -> "Where":
        """A place to run with what these options say of it, checked."""
        room = self.snapshot_memory
        if room is not None and not 0 <= room < float("inf"):
            fail(f"--snapshot-memory {room:g}: must be 0 or more, in GB")
        if not 0 <= self.checkpoint_minutes < float("inf"):
            fail(f"--checkpoint-minutes {self.checkpoint_minutes:g}: must be 0 or more")
        return replace(
            where,
            gpus_per_trial=self._gpus(where.gpus_per_trial),
            snapshot_bytes=None if room is None else int(room * 1e9),
            durable_every_s=MINUTE_S * self.checkpoint_minutes,
            engine="eager" if self.eager else None,
        )

    def _gpus(self, share: "float | Literal['auto'] | None") -> "float | Literal['auto'] | None":
        number = self.trials_per_gpu
        if number is None:
            return share
        if share is not None:
            fail("--gpus-per-trial and --trials-per-gpu say the same thing; give one")
        if number == "auto":
            return "auto"
        if not number.isdecimal() or int(number) < 1:
            fail(f"--trials-per-gpu {number}: must be 1 or more, or auto")
        return 1 / int(number)


@dataclass(frozen=True)
class Giving:
    """When to give up."""

    stage_timeout: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            help="a worker that takes longer for one stage is ended, and its trials fail",
        ),
    ] = None
    trial_timeout: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            help="the same for the whole training of a trial as if alone, but for what an earlier "
            "run did of it",
        ),
    ] = None
    max_failures: Annotated[
        int | None, typer.Option(metavar="N", help="end the run after so many failures")
    ] = None
    same_failures: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="trainings of one kind that may fail the same way, none having worked, before the "
            "rest of that kind is left alone; 0: all are tried",
        ),
    ] = 5

    def policy(self) -> "Policy":
        """The same, checked."""
        from sweep.policy import Policy

        for option, minutes in (
            ("--stage-timeout", self.stage_timeout), ("--trial-timeout", self.trial_timeout),
        ):  # fmt: skip
            if minutes is not None and not 0 < minutes < float("inf"):
                fail(f"{option} {minutes:g}: must be above 0, in minutes")
        if self.max_failures is not None and self.max_failures < 1:
            fail(f"--max-failures {self.max_failures}: must be 1 or more")
        if self.same_failures < 0:
            fail(f"--same-failures {self.same_failures}: must be 0 or more")
        return Policy(
            stage_timeout_s=self.stage_timeout and MINUTE_S * self.stage_timeout,
            trial_timeout_s=self.trial_timeout and MINUTE_S * self.trial_timeout,
            max_failures=self.max_failures,
            same_failure_limit=self.same_failures,
        )


@dataclass(frozen=True)
class Choosing:
    """What to run."""

    settings: Settings = None
    only: Only = None
    seeds: Seeds = None
    shard: Part = None


@dataclass(frozen=True)
class Evaluating:
    """What to evaluate."""

    settings: Settings = None
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILTER",
            help="trials to choose, teachers too, e.g. 'role=student alpha=0.1|0.6 seed<100'",
        ),
    ] = None
    seeds: Seeds = None


@app.command()
@with_groups
def run(
    study: Study,
    choosing: Choosing,
    placing: Placing,
    training: Training,
    giving: Giving,
    log: Logging,
    results: Directory = RESULTS,
    smoke: Smoke = False,
    smoke_only: Annotated[
        bool, typer.Option("--smoke-only", help="one short trial per configuration, then stop")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start or continue a study: train what is missing."""
    where = training.added_to(placing.where())
    policy = giving.policy()
    with log.listening():
        if smoke or smoke_only:
            _smoke(study, where, choosing, log, as_json=as_json, stop=smoke_only)
        _train(
            study, results, where, choosing, policy, log, share=not training.no_sharing, retry=None,
            as_json=as_json,
        )  # fmt: skip


@app.command()
@with_groups
def retry(
    study: Study,
    choosing: Choosing,
    placing: Placing,
    training: Training,
    giving: Giving,
    log: Logging,
    kind: Kinds = None,
    results: Directory = RESULTS,
    as_json: Json = False,
) -> None:
    """Run failed trials of a study again, along with what is missing."""
    check_kinds(kind)
    where = training.added_to(placing.where())
    policy = giving.policy()
    with log.listening():
        _train(
            study, results, where, choosing, policy, log, share=not training.no_sharing,
            retry=kind or (), as_json=as_json,
        )  # fmt: skip


def check_kinds(kinds: list[str] | None) -> None:
    """Ends the program where one is no kind of failure."""
    from sweep.records import FailureKind

    allowed = [str(kind) for kind in FailureKind]
    for given in kinds or ():
        if given not in allowed:
            fail(f"--kind {given!r}: must be one of {', '.join(allowed)}")


@dataclass(frozen=True)
class Measuring:
    """Under what to measure; the names of the options are those of the study's keys."""

    fgsm_epsilons: Annotated[
        str | None, typer.Option(metavar="X,...", help="FGSM: step sizes, separated by commas")
    ] = None
    pgd_epsilons: Annotated[
        str | None,
        typer.Option(
            metavar="X,...", help="PGD: radii; each costs --pgd-steps times an FGSM epsilon"
        ),
    ] = None
    pgd_steps: Annotated[int | None, typer.Option(metavar="N", help="of PGD; default 10")] = None
    pgd_step_size: Annotated[
        float | None, typer.Option(metavar="SIZE", help="of a step of PGD, in units of epsilon")
    ] = None
    pgd_random_start: Annotated[
        bool | None,
        typer.Option("--pgd-random-start", help="PGD starts at a random place within epsilon"),
    ] = None
    input_noise: Annotated[
        str | None,
        typer.Option(
            metavar="X,...", help="noise on inputs: strengths; each costs --noise-repeats passes"
        ),
    ] = None
    input_noise_kind: Annotated[
        str | None, typer.Option(metavar="KIND", help="gaussian or uniform")
    ] = None
    weight_noise: Annotated[
        str | None,
        typer.Option(metavar="X,...", help="noise on weights: strengths; costs the same"),
    ] = None
    weight_noise_kind: Annotated[
        str | None, typer.Option(metavar="KIND", help="absolute or relative")
    ] = None
    noise_repeats: Annotated[
        int | None, typer.Option(metavar="N", help="draws of noise; default 5")
    ] = None
    fgsm_samples: Annotated[
        str | None, typer.Option(metavar="WHICH", help="FGSM attacks correct samples, or all")
    ] = None
    fgsm_clip: Annotated[
        bool | None,
        typer.Option(
            "--fgsm-clip/--no-fgsm-clip", help="whether FGSM stays in the range of inputs"
        ),
    ] = None
    weight_noise_redraw: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="noise on weights is drawn per repeat or batch"),
    ] = None

    def settings(self) -> list[str]:
        """The same as overrides of a study; an attack at no strength given is then left out."""
        from trials.attack_settings import STRENGTHS

        given = {
            f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None
        }
        found: dict[str, object] = {}
        if any(key in given for key in STRENGTHS):
            found = {key: [] for key in STRENGTHS}
        for key, value in given.items():
            found[key] = _numbers(key, value) if key in STRENGTHS else value
        return [f"evaluation.{key}={_toml(value)}" for key, value in found.items()]


@app.command()
@with_groups
def evaluate(
    study: Study,
    measuring: Measuring,
    choosing: Evaluating,
    placing: Placing,
    log: Logging,
    results: Directory = RESULTS,
    as_json: Json = False,
) -> None:
    """Measure kept networks under attacks and noise, where that was not done yet; train nothing.

    Without a strength, those of the study are measured.
    """
    from sweep import progress, service
    from sweep.filters import parse

    out = log.out(as_json)
    with log.listening():
        summary = service.evaluate_study(
            study_to_run(study, [*(choosing.settings or ()), *measuring.settings()], results),
            results,
            placing.where(),
            only=parse(choosing.only or ()),
            seeds=choosing.seeds,
            progress=progress.PlainLines(out),
        )
    if as_json:
        print_json(summary.__dict__)
    else:
        print(
            f"{summary.evaluated} trials evaluated, {summary.complete} were complete, "
            f"{summary.without_weights} without kept weights, {len(summary.failures)} failed",
            file=out,
        )
        for failure in summary.failures[:10]:
            print(f"  {failure}", file=out)
    sys.exit(1 if summary.failures else 0)


def _numbers(key: str, text: str) -> list[float]:
    from trials.attack_settings import MAX_STRENGTH

    option = f"--{key.replace('_', '-')}"
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        fail(f"{option} {text!r}: must be numbers separated by commas")
    for value in values:
        if not 0 <= value <= MAX_STRENGTH:
            fail(f"{option} {value}: must be 0 to {MAX_STRENGTH:,.0f}")
    return values


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _smoke(
    study: str, where: "Where", choosing: Choosing, log: Logging, *, as_json: bool, stop: bool
) -> None:
    """Tries every configuration; ends the program where one fails, or where it is to stop."""
    from sweep import service
    from sweep.filters import parse
    from sweep.study import load_study

    out = log.out(as_json)
    print("smoke: one short trial per configuration", file=out, flush=True)
    tried = service.smoke(
        load_study(study, choosing.settings or ()),
        where,
        only=parse(choosing.only or ()),
        progress=log.display(out),
    )
    conclude(tried, "smoke run", None, out)
    if stop or tried.exit_status:
        if as_json:
            print_json(tried.__dict__)
        sys.exit(tried.exit_status)


def _train(
    study: str,
    results: str,
    where: "Where",
    choosing: Choosing,
    policy: "Policy",
    log: Logging,
    *,
    share: bool,
    retry: Iterable[str] | None,
    as_json: bool,
) -> NoReturn:
    """Trains what is missing and ends the program with the status of the run."""
    from sweep import service
    from sweep.filters import parse

    out = log.out(as_json)
    chosen, shard = study_to_run(study, choosing.settings, results), shard_of(choosing.shard)
    summary = service.run_study(
        chosen,
        results,
        where,
        only=parse(choosing.only or ()),
        seeds=choosing.seeds,
        policy=policy,
        share=share,
        retry=retry,
        shard=shard,
        progress=log.display(out),
    )
    more = f"sweep trials {chosen.name} --status failed --results {shlex.quote(results)}"
    part = "" if shard is None else f" shard {shard}"
    conclude(summary, f"study {chosen.name}{part} in {results}", more, out)
    if as_json:
        print_json(summary.__dict__)
    sys.exit(summary.exit_status)


def conclude(summary: "RunSummary", what: str, more: str | None, out: TextIO) -> None:
    """Says in words how a run ended.

    Args:
        summary: of the run.
        what: it was.
        more: a command that shows further failures.
        out: where to print.
    """
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
    if summary.left > 0:
        parts.append(f"{summary.left} left for the next run")
    lines = [f"{what}: {', '.join(parts)} in {duration(summary.elapsed_s)}"]
    if summary.stopped:
        lines.append(f"  ended before its time: {summary.stopped}")
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
