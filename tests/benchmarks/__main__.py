"""Runs the benchmarks and writes `results.md` and `results.json` beside them.

Absolute times depend on the machine, which is named; what is to be compared is measured within one
run. Every measurement is a process of its own, so that memory is that of the measured work alone.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPEATS = 3


def command(*arguments: str) -> dict[str, float]:
    """Seconds (median and range) and peak memory of a command line, over several runs."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    seconds, memory = [], []
    for _ in range(REPEATS):
        began = time.perf_counter()
        answer = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
        )
        seconds.append(time.perf_counter() - began)
        memory.append(int(answer.stdout) / 1024)
    return {
        "median_s": statistics.median(seconds),
        "least_s": min(seconds),
        "most_s": max(seconds),
        "peak_mb": max(memory),
    }


def module(name: str, *arguments: str) -> dict[str, Any]:
    """What a benchmark module prints."""
    answer = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{name}", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def main() -> None:
    """Measures everything and writes the tables."""
    sweep = str(Path(sys.executable).parent / "sweep")
    results: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}",
        "commands": {
            "sweep --help": command(sweep, "--help"),
            "sweep plan thesis": command(sweep, "plan", "thesis", "--json"),
            "import analysis": command(sys.executable, "-c", "import analysis"),
        },
        "empty_trials": module("empty_trials"),
        "steps": module("steps"),
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    (HERE / "results.md").write_text(_markdown(results))
    print(_markdown(results))


def _markdown(results: dict[str, Any]) -> str:
    empty = results["empty_trials"]
    rows = [
        f"| `{name}` | {m['median_s']:.2f} s ({m['least_s']:.2f}-{m['most_s']:.2f}) "
        f"| {m['peak_mb']:.0f} MB |"
        for name, m in results["commands"].items()
    ]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            f"`make bench`, {results['at']}, {results['machine']}.",
            "",
            f"| command, median of {REPEATS} runs (range) | time | peak memory |",
            "|---|---|---|",
            *rows,
            "",
            (
                f"{empty['trials']:,} trials whose training costs nothing, through Ray on "
                f"{empty['workers']} workers, with durable publication: {empty['total_s']:.1f} s after "
                f"start-up ({empty['trials_per_s']:.0f} a second); the driver's peak memory went from "
                f"{empty['peak_mb_before']:.0f} to {empty['peak_mb_after']:.0f} MB."
            ),
            "",
            *_steps(results["steps"]),
            "",
        ]
    )


def _steps(steps: dict[str, Any]) -> list[str]:
    """A table of training steps and evaluations, ours and as PyTorch does it."""
    rows = [
        f"| {dataset} | {name} | {m['ours_ms']:.1f} ms | {m['torch_ms']:.1f} ms "
        f"| {m['ratio']:.2f} ({m['least']:.2f}-{m['most']:.2f}) |"
        for name in ("training", "evaluation")
        for dataset, found in steps.items()
        for m in [found[name]]
    ]
    return [
        (
            "Students on one thread, ours and as PyTorch does it (`tests/benchmarks/steps.py` says how), "
            "taking turns within one run: a training step (batch 64; California Housing all 16,512 rows), "
            "and the evaluation of 200 rows with FGSM at three epsilons."
        ),
        "",
        "| student | what | ours | PyTorch | ratio, median (range) |",
        "|---|---|---|---|---|",
        *rows,
    ]


if __name__ == "__main__":
    main()
