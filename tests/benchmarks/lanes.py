"""Epochs of California Housing's student in lanes against one trial after the other.

Random rows, guided, all 16,512 of them one batch. Lanes cost the same however many are taken, so a
trial's share is an epoch of all lanes by their number. On a CPU there is nothing to fill: lanes are for
GPUs (`tests.benchmarks.gpu` measures them there), and this says what they would cost elsewhere.

    python -m tests.benchmarks.lanes
"""

import json
import statistics
import time

import torch

import data
from data.load import LoadedData
from tests.benchmarks.steps import HOUSES, _rows
from trials.course import Course
from trials.device import configure
from trials.engine import LANES, Engine
from trials.lanes import Lanes
from trials.spec import Guide, Objective, Recipe, Segment, TeacherRule, TrialSpec
from trials.train import train

RULE = TeacherRule(("0" * 24,), "test")
EPOCHS, TURNS = 3, 5


def spec_of(epochs: int, seed: int = 1) -> TrialSpec:
    """A guided training of the student."""
    objective = Objective(0.6, 0.4, "mse", guides=(Guide(RULE),))
    recipe = Recipe("student", None)
    rows = data.DataSpec("california_housing")
    return TrialSpec(seed, rows, recipe, (Segment(epochs, objective),))


def lanes_epoch_s(loaded: LoadedData, occupied: int, epochs: int) -> float:
    """Seconds of an epoch of all lanes, of which some are taken; the first epoch is not counted."""
    teachers = {RULE.key: torch.zeros_like(loaded.train.y)}
    lanes = Lanes(spec_of(1), loaded)
    for seed in range(occupied):
        lanes.join(Course(spec_of(epochs + 1, seed), loaded.task), teachers)
    lanes.step()  # reads its losses, so it is done when it returns
    began = time.perf_counter()
    for _ in range(epochs):
        lanes.step()
    return (time.perf_counter() - began) / epochs


def alone_epoch_s(loaded: LoadedData, engine: Engine, epochs: int) -> float:
    """Seconds of an epoch of a training that has its steps for itself."""
    teachers = {RULE.key: torch.zeros_like(loaded.train.y)}
    device = loaded.train.y.device
    trained = train(spec_of(epochs), loaded, teachers, device=device, engine=engine)
    return trained.snapshot.progress.wall_s / epochs


def measure() -> dict[str, float]:
    """Medians over turns, on one thread."""
    configure()
    loaded = _rows("california_housing")
    turns = [
        (
            alone_epoch_s(loaded, "eager", EPOCHS),
            lanes_epoch_s(loaded, 1, EPOCHS),
            lanes_epoch_s(loaded, LANES, EPOCHS),
        )
        for _ in range(TURNS)
    ]
    shares = [eager * LANES / every for eager, _, every in turns]
    return {
        "rows": HOUSES,
        "lanes": LANES,
        "eager_ms": 1000 * statistics.median(eager for eager, _, _ in turns),
        "one_ms": 1000 * statistics.median(one for _, one, _ in turns),
        "all_ms": 1000 * statistics.median(every for _, _, every in turns),
        "ratio": statistics.median(shares),
        "least": min(shares),
        "most": max(shares),
    }


def markdown(found: dict[str, float]) -> list[str]:
    """One sentence."""
    each = found["all_ms"] / found["lanes"]
    text = (
        f"California Housing's student, guided, {found['rows']:,} rows, one CPU thread: an epoch takes "
        f"{found['eager_ms']:.0f} ms as eager steps. All {found['lanes']} lanes take {found['all_ms']:.0f} ms "
        f"together, {each:.0f} ms a trial (with one lane taken, {found['one_ms']:.0f} ms): "
        f"{found['ratio']:.2f} ({found['least']:.2f}-{found['most']:.2f}) times the throughput of eager steps."
    )
    return [text]


if __name__ == "__main__":
    print(json.dumps(measure()))
