"""Runs the benchmarks and writes `results.md` and `results.json` beside them.

Absolute times depend on the machine, which is named; what is to be compared is measured within one
run. Every measurement is a process of its own, so that memory is that of the measured work alone.

    python -m tests.benchmarks [commands empty_trials steps lanes fixed_costs growth grids soak]

Without names all are run but `soak`, which takes an hour; with names the others keep their last
figures.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPEATS = 3


def command(*arguments: str, repeats: int = REPEATS) -> dict[str, float]:
    """Seconds (median and range), processor time and peak memory of a command line."""
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
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def commands() -> dict[str, Any]:
    """What small commands cost."""
    sweep = str(Path(sys.executable).parent / "sweep")
    return {
        "sweep --help": command(sweep, "--help"),
        "sweep plan thesis": command(sweep, "plan", "thesis", "--json"),
        "import analysis": command(sys.executable, "-c", "import analysis"),
    }


def show_commands(found: dict[str, Any]) -> list[str]:
    """A row for each command."""
    return [
        f"| command, median of {REPEATS} runs (range) | time | peak memory |",
        "|---|---|---|",
        *(
            f"| `{name}` | {m['median_s']:.2f} s ({m['least_s']:.2f}-{m['most_s']:.2f}) "
            f"| {m['peak_mb']:.0f} MB |"
            for name, m in found.items()
        ),
    ]


def show_empty_trials(found: dict[str, Any]) -> list[str]:
    """One sentence."""
    text = (
        f"{found['trials']:,} trials whose training costs nothing, through Ray on "
        f"{found['workers']} workers, with durable publication: {found['total_s']:.1f} s after "
        f"start-up ({found['trials_per_s']:.0f} a second); the driver's peak memory went from "
        f"{found['peak_mb_before']:.0f} to {found['peak_mb_after']:.0f} MB."
    )
    return [text]


def show_steps(found: dict[str, Any]) -> list[str]:
    """A row for each student's training step and evaluation, ours and as PyTorch does it."""
    return [
        (
            "Students on one thread, ours and as PyTorch does it (`tests/benchmarks/steps.py` says how), "
            "taking turns within one run: a training step (batch 64; California Housing all 16,512 rows), "
            "and the evaluation of 200 rows with FGSM at three epsilons."
        ),
        "",
        "| student | what | ours | PyTorch | ratio, median (range) |",
        "|---|---|---|---|---|",
        *(
            f"| {dataset} | {name} | {m['ours_ms']:.1f} ms | {m['torch_ms']:.1f} ms "
            f"| {m['ratio']:.2f} ({m['least']:.2f}-{m['most']:.2f}) |"
            for name in ("training", "evaluation")
            for dataset, of_both in found.items()
            for m in [of_both[name]]
        ),
    ]


def show_growth(found: dict[str, Any]) -> list[str]:
    """A row for every measurement, a column for every number of trials."""
    sizes = found["sizes"]
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
            + f" | {most['peak_mb']:.0f} MB | {found['exponents'][what]:.2f} |"
            for what, most in sizes[largest].items()
        ),
        "",
        (
            f"Peak memory at {counts[-1]:,} trials, of which the cells and the plan hold {held:.1f} "
            f"KB a trial; the exponent is that of processor time from {counts[-2]:,} to "
            f"{counts[-1]:,} trials."
        ),
        "",
        *(show_thesis(found["thesis"]) if "thesis" in found else []),  # figures of older runs
    ]


def show_thesis(found: dict[str, Any]) -> list[str]:
    """A row for everything that is measured of the thesis."""
    head = f"the thesis, 6,255 made-up records with its curves, median of {REPEATS} runs (range)"
    return [
        f"| {head} | elapsed | processor | peak memory |",
        "|---|---|---|---|",
        *(
            f"| {what} | {m['median_s']:.2f} s ({m['least_s']:.2f}-{m['most_s']:.2f}) "
            f"| {m['cpu_s']:.2f} s | {m['peak_mb']:.0f} MB |"
            for what, m in found.items()
        ),
    ]


def _show_lanes(found: dict[str, Any]) -> list[str]:
    from tests.benchmarks import lanes

    return lanes.markdown(found)


def _show_fixed_costs(found: dict[str, Any]) -> list[str]:
    from tests.benchmarks import fixed_costs

    return fixed_costs.markdown(found)


def _show_grids(found: dict[str, Any]) -> list[str]:
    from tests.benchmarks import grids

    return grids.markdown(found)


def _show_soak(found: dict[str, Any]) -> list[str]:
    from tests.benchmarks import soak

    return soak.markdown(found)


SECTIONS: dict[str, tuple[Callable[[], dict[str, Any]], Callable[[dict[str, Any]], list[str]]]] = {
    "commands": (commands, show_commands),
    "empty_trials": (lambda: module("empty_trials"), show_empty_trials),
    "steps": (lambda: module("steps"), show_steps),
    "lanes": (lambda: module("lanes"), _show_lanes),
    "fixed_costs": (lambda: module("fixed_costs"), _show_fixed_costs),
    "growth": (lambda: module("growth"), show_growth),
    "grids": (lambda: module("grids"), _show_grids),
    "soak": (lambda: module("soak"), _show_soak),
}
WHEN_NAMED = ("soak",)
"""What is measured only when it is asked for."""


def main(names: list[str]) -> None:
    """Measures what is named and writes the tables."""
    file = HERE / "results.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    results = {key: about for key, about in results.items() if key in SECTIONS and "found" in about}
    for name in names or [name for name in SECTIONS if name not in WHEN_NAMED]:
        measure, _ = SECTIONS[name]
        results[name] = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
            f"{platform.python_version()}",
            "found": measure(),
        }
        file.write_text(json.dumps(results, indent=2) + "\n")
        (HERE / "results.md").write_text(_markdown(results))
    print(_markdown(results))


def _markdown(results: dict[str, Any]) -> str:
    lines = ["# Benchmarks", "", "`make bench` writes this page.", ""]
    for name, (_, show) in SECTIONS.items():
        if name in results:
            about = results[name]
            lines += [f"## {name.replace('_', ' ').capitalize()}", ""]
            lines += [f"{about['at']}, {about['machine']}.", "", *show(about["found"]), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*SECTIONS, []])
    main(parser.parse_args().names)
