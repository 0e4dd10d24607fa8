"""What a GPU makes of the home study: seconds per trial, use of its arithmetic, trials at a time.

Random data of the real shapes; needs torch, torchvision, scikit-learn and numpy alone. For each
dataset one epoch of the student and of its teachers is timed as captured steps, and the evaluation with
its attack; then several processes train at a time. California Housing's student is also timed in lanes,
one taken and all, in one process and in several. From the planned epochs of the
thesis follows its time on one such GPU. Repeats are interleaved; medians and ranges are given.

    python -m tests.benchmarks.gpu [--device cuda] [--repeats 3] [--rows 0] [--at-a-time 1,2,4,8]

prints JSON. `--device cpu --rows 256` tries the whole in a minute.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import data
import models.initialise
from data.load import LoadedData, Split
from tests.benchmarks.lanes import lanes_epoch_s
from trials.attack_settings import Attacks
from trials.device import configure, numerics_class
from trials.engine import LANES, lane_group, plain_engine
from trials.evaluate import evaluate
from trials.spec import Guide, Objective, Precision, Recipe, Segment, TeacherRule, TrialSpec
from trials.train import train

EPSILONS = (0.005, 0.01, 0.05)
RULE = TeacherRule(("0" * 24,), "test")
PEAK_TFLOPS = {"float32": 494.7, "bfloat16": 989.5}
"""Of an H200 (and H100 SXM), dense: TF32 and bf16 tensor cores, by NVIDIA's data sheet."""


@dataclass(frozen=True)
class Work:
    """A dataset of the home study.

    Attributes:
        batch_size: rows of a minibatch; None for all.
        planned: epochs of the thesis after sharing, by network; see `sweep plan thesis --json`.
        trials: trained networks by network, each evaluated once.
    """

    batch_size: int | None
    planned: dict[str, int]
    trials: dict[str, int]


def _work(batch_size: int | None, unit: int) -> Work:
    # A tree of 15 switch points: a trunk of 15 units and forks of 14, 13, ..., 0; 3 x 3 x 15 trees.
    students = 135 * (15 + sum(range(15))) * unit + 15 * 15 * unit
    teachers = dict.fromkeys(("small", "medium", "large"), 15 * 15 * unit)
    trials = {"student": 2025 + 15, **dict.fromkeys(teachers, 15)}
    return Work(batch_size, {"student": students, **teachers}, trials)


THESIS = {
    "cifar10": _work(64, 1),
    "fashion_mnist": _work(64, 1),
    "california_housing": _work(None, 100),
}


def random_data(name: str, rows: int, device: torch.device) -> LoadedData:
    """A dataset of random rows with the shapes of a real one; 0 rows stands for all."""
    entry = data.get(name)
    draw = torch.Generator().manual_seed(0)
    splits = {}
    for split, real in (("train", entry.train_rows or 0), ("test", entry.test_rows or 0)):
        count = min(rows, real) if rows else real
        if entry.is_image:
            x = torch.randint(0, 256, (count, *entry.input_shape), generator=draw).to(torch.uint8)
            y = torch.randint(0, entry.outputs, (count,), generator=draw)
        else:
            x = torch.randn(count, *entry.input_shape, generator=draw)
            y = torch.randn(count, entry.outputs, generator=draw)
        splits[split] = Split(x, y)
    return LoadedData(
        name, entry.task, entry.outputs, entry.input_shape, "random", splits["train"], None,
        splits["test"], -1.0, 1.0, entry.pixel_max if entry.is_image else None,
    ).to(device)  # fmt: skip


def spec_of(name: str, model: str, precision: Precision, epochs: int, guided: bool) -> TrialSpec:
    """A training of the home study."""
    soft = "kl" if data.get(name).task == "classification" else "mse"
    objective = Objective(0.6, 0.4, soft, 1.0, (Guide(RULE),)) if guided else Objective()  # type: ignore[arg-type]
    recipe = Recipe(model, THESIS[name].batch_size, precision=precision)
    return TrialSpec(1, data.DataSpec(name), recipe, (Segment(epochs, objective),))


def train_s(loaded: LoadedData, spec: TrialSpec, device: torch.device) -> float:
    """Seconds of a training, start and end included."""
    outputs = torch.zeros(len(loaded.train.y), loaded.outputs, device=device)
    _wait(device)
    began = time.perf_counter()
    engine = plain_engine(device.type)
    train(spec, loaded, {RULE.key: outputs}, device=device, engine=engine)
    _wait(device)
    return time.perf_counter() - began


def epoch_s(loaded: LoadedData, name: str, model: str, precision: Precision, guided: bool,
            device: torch.device) -> tuple[float, float]:  # fmt: skip
    """Seconds of an epoch, and of starting and ending a training: from two lengths."""
    short = 1 if THESIS[name].batch_size else 50
    times = [
        train_s(loaded, spec_of(name, model, precision, epochs, guided), device)
        for epochs in (short, 3 * short)
    ]
    each = (times[1] - times[0]) / (2 * short)
    return each, max(0.0, times[0] - short * each)


def evaluate_s(loaded: LoadedData, name: str, device: torch.device) -> float:
    """Seconds of a trial's evaluation."""
    model = models.initialise.build(
        name, "student", loaded.input_shape, loaded.outputs, "default", 1
    ).to(device)
    _wait(device)
    began = time.perf_counter()
    evaluate(
        model, loaded.test, task=loaded.task, inputs=loaded.inputs, low=loaded.input_low,
        high=loaded.input_high, under=Attacks(EPSILONS),
    )  # fmt: skip
    _wait(device)
    return time.perf_counter() - began


def flops_of_epoch(loaded: LoadedData, name: str, model: str) -> int:
    """Floating-point operations of the products of one epoch, forward and backward."""
    network = models.initialise.build(
        name, model, loaded.input_shape, loaded.outputs, "default", 1
    ).to(loaded.train.x.device)
    rows = min(64, len(loaded.train.y))
    with FlopCounterMode(display=False) as counter:
        network(loaded.inputs(loaded.train.x[:rows])).sum().backward()
    return counter.get_total_flops() * len(loaded.train.y) // rows


def at_a_time(
    name: str, processes: int, seconds: float, arguments: list[str], side_by_side: bool = False
) -> float:
    """Epochs a second of several processes that train the student on one device, maybe in lanes."""
    command = [sys.executable, "-m", "tests.benchmarks.gpu", *arguments,
               "--worker", name, "--seconds", str(seconds),
               *(["--side-by-side"] if side_by_side else [])]  # fmt: skip
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for process in started:  # each says when it is ready
        assert process.stdout is not None
        process.stdout.readline()
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    rates = [json.loads(process.communicate()[0])["epochs_per_s"] for process in started]
    return float(sum(rates))


def worker(
    name: str, rows: int, seconds: float, device: torch.device, side_by_side: bool = False
) -> None:
    """Trains for a while and prints epochs a second; the other end of `at_a_time`.

    In lanes all start together, and each does a number of epochs.
    """
    loaded = random_data(name, rows, device)
    epochs = 1 if THESIS[name].batch_size else 200
    spec = spec_of(name, "student", "float32", epochs, True)
    if side_by_side:
        lanes_epoch_s(loaded, LANES, 1)
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps({"epochs_per_s": LANES / lanes_epoch_s(loaded, LANES, 4 * epochs)}))
        return
    train_s(loaded, spec, device)
    print("ready", flush=True)
    sys.stdin.readline()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        train_s(loaded, spec, device)
        done += epochs
    print(json.dumps({"epochs_per_s": done / (time.perf_counter() - began)}))


def spread(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def measure(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Everything."""
    found: dict[str, Any] = {"device": asdict(numerics_class(device)), "datasets": {}}
    passed = ["--device", options.device, "--rows", str(options.rows)]
    for name, work in THESIS.items():
        loaded = random_data(name, options.rows, device)
        entry: dict[str, Any] = {"rows": len(loaded.train.y), "epoch_s": {}, "start_s": {}}
        for _ in range(options.repeats):
            for model in work.planned:
                for precision in ("float32", "bfloat16"):
                    if precision == "bfloat16" and model != "student":
                        continue
                    each, start = epoch_s(
                        loaded, name, model, precision, model == "student", device
                    )
                    entry["epoch_s"].setdefault(f"{model} {precision}", []).append(each)
                    entry["start_s"].setdefault(f"{model} {precision}", []).append(start)
            entry.setdefault("evaluate_s", []).append(evaluate_s(loaded, name, device))
        flops = flops_of_epoch(loaded, name, "student")
        entry["epoch_flops"] = flops
        entry["percent_of_peak"] = {
            precision: 100
            * flops
            / statistics.median(entry["epoch_s"][f"student {precision}"])
            / (peak * 1e12)
            for precision, peak in PEAK_TFLOPS.items()
        }
        for key in ("epoch_s", "start_s"):
            entry[key] = {which: spread(values) for which, values in entry[key].items()}
        entry["evaluate_s"] = spread(entry["evaluate_s"])
        entry["epochs_per_s_at_a_time"] = {
            str(count): at_a_time(name, count, options.seconds, passed)
            for count in map(int, options.at_a_time.split(","))
        }
        if lane_group(spec_of(name, "student", "float32", 1, True)) is not None:
            entry["lanes"] = LANES
            entry["lanes_epoch_s"] = {
                f"{taken} taken": spread(
                    [lanes_epoch_s(loaded, taken, 50) for _ in range(options.repeats)]
                )
                for taken in (1, LANES)
            }
            entry["epochs_per_s_in_lanes"] = {
                str(count): at_a_time(name, count, options.seconds, passed, side_by_side=True)
                for count in map(int, options.at_a_time.split(","))
            }
        found["datasets"][name] = entry
    found["thesis_minutes"] = projected(found["datasets"])
    return found


def projected(datasets: dict[str, Any]) -> dict[str, float]:
    """Minutes of the whole thesis on one such device, one trial at a time and at the best number.

    The best may be in lanes, where that is faster.
    """
    alone = best = 0.0
    for name, entry in datasets.items():
        work = THESIS[name]
        rates = entry["epochs_per_s_at_a_time"]
        best_rate = max([*rates.values(), *entry.get("epochs_per_s_in_lanes", {}).values()])
        gain = best_rate / rates[min(rates, key=int)]
        seconds = sum(
            entry["epoch_s"][f"{model} float32"]["median"] * epochs
            for model, epochs in work.planned.items()
        ) + entry["evaluate_s"]["median"] * sum(work.trials.values())
        alone += seconds
        best += seconds / gain
    return {"one at a time": alone / 60, "best number at a time": best / 60}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=0, help="of each split; 0 for the real number")
    parser.add_argument("--at-a-time", default="1,2,4,8")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each number at a time")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--side-by-side", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device")
    configure()
    chosen = torch.device(given.device)
    if given.worker:
        worker(given.worker, given.rows, given.seconds, chosen, given.side_by_side)
    else:
        print(json.dumps(measure(given, chosen), indent=2))
