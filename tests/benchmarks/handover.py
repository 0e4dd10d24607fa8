"""What it takes to hand results over to other tools, and to be scraped by Prometheus.

The made-up records of `growth`: the thesis, 6,255 trials whose loss curves have 105, 135 and 1,500
points (3.6 million in all), is handed over to each tool, and then again with nothing new; and
101,490 trials are scraped: first, again with nothing new, and after 50 new records.
Reported: seconds, processor seconds and peak memory of a process each.

    python -m tests.benchmarks.handover [TOOL ...]

On two cores that seven others shared, in processor seconds: TensorBoard 70, wandb 79, MLflow about 0.05
for a trial with a curve of 15 points and 0.13 with one of 600 (its store takes a row for each point);
peak memory 270 MB. Reading 101,490 trials for any of them takes 21 s and 340 MB. A scrape at 101,490
trials: 0.7 s the first, 0.003 s with nothing new, 0.13 s after new records.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.growth import called, study_file, timed

TOOLS = ("tensorboard", "wandb-offline", "mlflow")
SCRAPED = 100_000


def hand_over(folder: Path, tool: str) -> None:
    """Prints what it takes once, and again."""
    from sweep.handover.handing import hand_over
    from sweep.results import Results

    for expected in ("added", "unchanged"):
        handed, spent = timed(
            lambda: hand_over(Results(folder / "full"), "thesis", tool, folder / tool)
        )
        assert getattr(handed, expected) == 6_255
        _print(f"{tool}, {expected}", spent)


def scrape(folder: Path, _: str) -> None:
    """Prints what a scrape takes."""
    from sweep.metrics import Metrics
    from sweep.results import Results

    results = Results(folder / "full")
    metrics = Metrics(results)
    _print("first scrape", timed(metrics.exposition)[1])
    _print("nothing new", timed(metrics.exposition)[1])
    results.store.trials.publish([{"trial_id": f"new-{n}", "status": "done"} for n in range(50)])
    _print("after 50 new records", timed(metrics.exposition)[1])


def _print(what: str, spent: dict[str, float]) -> None:
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"what": what, **spent, "peak_mb": round(peak_mb)}), flush=True)


CALLS: dict[str, Callable[[Path, str], None]] = {"hand_over": hand_over, "scrape": scrape}


def in_process(call: str, folder: Path, tool: str = "") -> None:
    """Runs one of `CALLS` in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.handover", "--call", call, str(folder)]
    subprocess.run([*command, tool], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tools", nargs="*", metavar="TOOL", help=", ".join(TOOLS))
    parser.add_argument("--call", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        CALLS[options.call[0]](Path(options.call[1]), options.tools[0])
        sys.exit()
    with tempfile.TemporaryDirectory() as name:
        thesis, growth = Path(name) / "thesis", Path(name) / "growth"
        for made in (thesis, growth):
            made.mkdir()
        called("fill_thesis", thesis, 1)
        for tool in options.tools or TOOLS:
            in_process("hand_over", thesis, tool)
        (growth / "growth.toml").write_text(study_file(SCRAPED))
        called("fill", growth, 1)
        in_process("scrape", growth, "none")
