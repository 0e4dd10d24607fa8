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


def command(*arguments: str, repeats: int = REPEATS) -> dict[str, float]:
    """Seconds (median and range) and peak memory of a command line, over several runs."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_maxrss, used.ru_utime + used.ru_stime)"
    )
    seconds, cpu, memory = [], [], []
    for _ in range(repeats):
        began = time.perf_counter()
        answer = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
        )
        seconds.append(time.perf_counter() - began)
        most, used = answer.stdout.split()
        memory.append(int(most) / 1024)
        cpu.append(float(used))
    return {
        "median_s": statistics.median(seconds),
        "least_s": min(seconds),
        "most_s": max(seconds),
        "cpu_s": statistics.median(cpu),
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
        "dropout": module("dropout"),
        "growth": module("growth"),
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    (HERE / "results.md").write_text(_markdown(results))
    print(_markdown(results))


def _growth(growth: dict[str, Any]) -> list[str]:
    """A row for every measurement, a pair of columns for every number of trials."""
    sizes = growth["sizes"]
    largest = list(sizes)[-1]
    counts = [size["cells and plan in memory"]["trials"] for size in sizes.values()]
    held = sizes[largest]["cells and plan in memory"]["held_kb_per_trial"]
    return [
        f"| made-up records, median of {REPEATS} runs: elapsed (processor) | "
        + " | ".join(f"{count:,} trials" for count in counts)
        + " | peak memory | exponent |",
        "|---|" + "---|" * (len(counts) + 2),
        *(
            f"| {what} | "
            + " | ".join(
                f"{s[what]['median_s']:.2f} s ({s[what]['cpu_s']:.2f})" for s in sizes.values()
            )
            + f" | {most['peak_mb']:.0f} MB | {growth['exponents'][what]:.2f} |"
            for what, most in sizes[largest].items()
        ),
        "",
        (
            f"Peak memory at {counts[-1]:,} trials, of which the cells and the plan hold {held:.1f} "
            f"KB a trial; the exponent is that of processor time from {counts[-2]:,} to "
            f"{counts[-1]:,} trials."
        ),
    ]


def _markdown(results: dict[str, Any]) -> str:
    empty, dropout = results["empty_trials"], results["dropout"]
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
            *_growth(results["growth"]),
            "",
            (
                "One epoch of the California Housing student (16,512 rows, one thread), within one "
                f"run: {dropout['ours_ms']:.1f} ms; without dropout {dropout['none_ms']:.1f} ms; with "
                f"PyTorch's dropout and the whole batch at once {dropout['torch_ms']:.1f} ms, "
                f"{dropout['torch_ms'] / dropout['ours_ms']:.2f} times ours."
            ),
            "",
        ]
    )


if __name__ == "__main__":
    main()
