"""Small studies one after the other in one process, for an hour: do memory and open files stay flat?

Each round trains a study of eight trials, most in this process, every tenth on Ray; asks a query and
writes a report. Every twenty rounds start a new results directory. After each round the process's
memory and open files are written down; the first fifth, in which modules are imported and pools fill, is
left out of the comparison.

    python -m tests.benchmarks.soak [--minutes 60]
"""

import argparse
import gc
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

RAY_EVERY, NEW_FOLDER_EVERY = 10, 20


def one_round(number: int, folder: Path) -> int:
    """A study of its own, start to report; the number of trials trained."""
    from sweep import reporting
    from sweep.query import query
    from sweep.results import Results
    from sweep.service import Where, run_study
    from tests.sweep.tiny import tiny_study

    local = number % RAY_EVERY != 0
    study = tiny_study(seeds=[2 * number, 2 * number + 1], name=f"soak-{number}")
    summary = run_study(study, folder, Where(local=local, workers=2, gpus_per_trial=0.0))
    if summary.exit_status:
        raise RuntimeError(f"round {number} failed: {summary.failures}")
    results = Results(folder)
    query(results, "SELECT alpha, avg(test_metric) FROM requested GROUP BY ALL")
    reporting.write(results, study.name, folder / "report.html")
    return summary.done


def sample() -> dict[str, float]:
    """Resident memory in MB, open files, and threads of this process."""
    gc.collect()
    status = Path("/proc/self/status").read_text().splitlines()
    about = dict(line.split(":", 1) for line in status)
    return {
        "rss_mb": int(about["VmRSS"].split()[0]) / 1024,
        "open_files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": int(about["Threads"]),
    }


def slope(samples: list[dict[str, float]], key: str) -> float:
    """Change an hour, by least squares."""
    hours = [s["at_s"] / 3600 for s in samples]
    return statistics.linear_regression(hours, [s[key] for s in samples]).slope


def measure(minutes: float) -> dict[str, Any]:
    """Runs rounds for so long and compares."""
    began = time.monotonic()
    samples: list[dict[str, float]] = []
    trials = number = 0
    folder = Path(tempfile.mkdtemp(prefix="sweep-soak-"))
    while time.monotonic() - began < 60 * minutes:
        number += 1
        trials += one_round(number, folder)
        if number % NEW_FOLDER_EVERY == 0:
            shutil.rmtree(folder)
            folder.mkdir()
        samples.append({"at_s": time.monotonic() - began, **sample()})
    shutil.rmtree(folder)
    settled = samples[len(samples) // 5 :]
    half = len(settled) // 2
    return {
        "minutes": minutes,
        "rounds": number,
        "trials": trials,
        **{
            key: {
                "first_half": statistics.median(s[key] for s in settled[:half]),
                "second_half": statistics.median(s[key] for s in settled[half:]),
                "most": max(s[key] for s in samples),
                "slope_per_hour": slope(settled, key),
            }
            for key in ("rss_mb", "open_files", "threads")
        },
    }


def markdown(found: dict[str, Any]) -> list[str]:
    """A sentence and a table."""
    names = {"rss_mb": "memory, MB", "open_files": "open files", "threads": "threads"}
    return [
        (
            f"{found['rounds']} small studies ({found['trials']:,} trials) one after the other in one "
            f"process for {found['minutes']:g} minutes, every {RAY_EVERY}th on Ray."
        ),
        "",
        "| | median, first half | second half | most | change an hour |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {found[key]['first_half']:.0f} | {found[key]['second_half']:.0f} "
            f"| {found[key]['most']:.0f} | {found[key]['slope_per_hour']:+.1f} |"
            for key, name in names.items()
        ),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    print(json.dumps(measure(parser.parse_args().minutes), indent=2))
