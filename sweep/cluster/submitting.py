"""Hands a study to a cluster as a job: the run lives there, and whoever handed it over may go away.

Of a study that is a file, the job gets the file, as data: nothing of this machine's code goes along, and
the cluster runs what is installed there. The study is validated here first.
"""

import shlex
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from sweep.cluster.client import connect, refusals
from sweep.cluster.listing import RESULTS, STOP_PATIENCE_S, STUDY, VERSION
from sweep.errors import SweepError
from sweep.records import code_version

READY_S = 60.0
"""How long a cluster that has just been started may take until it can run a job."""


def submit(
    study: str,
    results: str,
    address: str,
    *,
    settings: Iterable[str] = (),
    only: Iterable[str] = (),
    seeds: int | None = None,
    options: Sequence[str] = (),
    command: str = "run",
) -> str:
    """Has a cluster start or continue a study.

    Args:
        study: a built-in study or a file here. Files that it names in turn stay where they are: by
            their absolute path, at which the cluster's machines find the same ones.
        results: where the cluster's head node is to write: an absolute path, or `s3://...`.
        address: `http://HOST:PORT` of the head node's dashboard.
        settings: overrides, `KEY=VALUE`.
        only: filters, as for `sweep run`.
        seeds: the first so many seeds.
        options: more words for the command, such as `["--workers", "4"]`.
        command: `run` or `retry`.

    Returns:
        The id of the job.

    Raises:
        SweepError: where the study, the choice or the place of the results is refused, or the cluster
            cannot be asked; nothing was handed over then.
    """
    settings, only = list(settings), list(only)
    require_shared(results)
    name, is_file = _checked(study, settings, only, seeds)
    source = f"{name}{_suffix(study)}" if is_file else study
    words = entry(source, results, settings, only, seeds, options, command)
    client = connect(address)
    with tempfile.TemporaryDirectory() as folder, refusals(address):
        # The job's own supervisor reads how long it may take to end.
        environment = {
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_PATIENCE_S)},
            **({"working_dir": folder} if is_file else {}),
        }
        if is_file:
            (Path(folder) / source).write_bytes(Path(study).read_bytes())
        about: dict[str, Any] = {
            "entrypoint": f"exec {shlex.join(words)}",
            "runtime_env": environment,
            "metadata": {STUDY: name, RESULTS: results, VERSION: code_version()},
        }
        until = time.monotonic() + READY_S
        while True:
            try:
                return str(client.submit_job(**about))
            except RuntimeError as error:  # its head node is only just there
                if "No available agent" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(1.0)


def entry(
    study: str,
    results: str,
    settings: Iterable[str],
    only: Iterable[str],
    seeds: int | None,
    options: Sequence[str],
    command: str = "run",
) -> list[str]:
    """The words of the command that runs on the cluster."""
    words = ["sweep", command, study, "--address", "auto", "--results", results]
    for setting in settings:
        words += ["--set", setting]
    for condition in only:
        words += ["--only", condition]
    if seeds is not None:
        words += ["--seeds", str(seeds)]
    return [*words, *options]


def require_shared(results: str) -> None:
    """Refuses a place that is another one on each machine.

    Raises:
        SweepError: for that.
    """
    if "://" not in results and not PurePosixPath(results).is_absolute():
        raise SweepError(
            f"--results {results}: the run writes where the cluster's head node is, so this must be "
            "the absolute path of a folder that it shares, or s3://bucket/prefix"
        )


def _suffix(study: str) -> str:
    """What tells how a study's file is read."""
    return ".json" if Path(study).suffix == ".json" else ".toml"


def _checked(
    study: str, settings: list[str], only: list[str], seeds: int | None
) -> tuple[str, bool]:
    """The name of a study that can be run, and whether it is a file.

    Raises:
        SweepError: where it cannot.
    """
    from sweep.cells import demand
    from sweep.filters import parse
    from sweep.study import apply_overrides, load_study
    from sweep.study.files import builtin_names, files_named, plain_data, read_file

    found = load_study(study, settings)
    plain = plain_data(read_file(study))
    apply_overrides(plain, settings)
    for key, file in files_named(plain):
        if not PurePosixPath(file).is_absolute():
            raise SweepError(
                f"{key} = {file!r}: the run reads it on the machines of the cluster, so this must be "
                "its absolute path in a folder that they share"
            )
    demand(found, None, parse(only), seeds)
    return found.name, study not in builtin_names()
