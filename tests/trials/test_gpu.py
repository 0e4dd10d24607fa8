"""On a GPU: equal trials give equal bits there too, graphs and eager steps agree, co-located or not.

Tolerance between engines: a graph replays the very kernels of eager steps on the same numbers, but
libraries may choose others for the memory they are given, so losses may differ in the last digits.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import data
import models
from data.load import load
from models.home import Dense
from models.initialise import build
from trials.attack_settings import Attacks
from trials.course import Course
from trials.device import configure
from trials.engine import LANES, Engine, engine_for
from trials.evaluate import Evaluation, evaluate
from trials.lanes import Lane, Lanes
from trials.snapshot import Snapshot
from trials.spec import (
    HARD,
    EarlyStop,
    Guide,
    LrSchedule,
    Objective,
    Recipe,
    Segment,
    TeacherRule,
    TrialSpec,
    switched,
)
from trials.train import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

RULE = TeacherRule(("a" * 24,), "test")
GUIDED = Objective(0.5, 0.5, "kl", 2.0, (Guide(RULE),))
RECIPES = {
    "adam": Recipe("student", 60),  # 60 leaves a smaller last batch
    "full batch": Recipe("student", None),
    "momentum": Recipe("student", 60, "sgd", 0.05, momentum=0.9),
    "weight decay": Recipe("small", 60, weight_decay=0.01),
    "bfloat16": Recipe("student", 60, precision="bfloat16"),
    "watching": Recipe(
        "student",
        60,
        lr_schedule=LrSchedule("plateau", 0.5, patience=0, threshold=0.5),
        early_stop=EarlyStop(9, restore_best=True),
    ),
}
ENGINES: tuple[Engine, ...] = ("eager", "graph")


@pytest.fixture(autouse=True)
def _configured() -> None:
    configure()


def _spec(epochs: int, switch_epoch: int, recipe: str = "adam") -> TrialSpec:
    return TrialSpec(
        7,
        data.DataSpec("digits", train_size=256, validation=0.1),
        RECIPES[recipe],
        switched(GUIDED, switch_epoch, epochs, HARD),
    )


def _train(
    spec: TrialSpec, device: str, start: Snapshot | None = None, engine: Engine | None = None
) -> Snapshot:
    loaded = load(spec.data)
    teacher = torch.linspace(-2, 2, 256 * 10).reshape(256, 10).to(device)
    return train(
        spec, loaded, {RULE.key: teacher}, start=start, device=torch.device(device), engine=engine
    ).snapshot


def _same(one: Snapshot, other: Snapshot) -> bool:
    return (
        all(torch.equal(one.model[key], other.model[key]) for key in one.model)
        and all(torch.equal(one.optimizer[key], other.optimizer[key]) for key in one.optimizer)
        and all(torch.equal(one.best[key], other.best[key]) for key in one.best)
        and one.progress.train_loss == other.progress.train_loss
        and one.progress.curve == other.progress.curve
        and (one.plateau, one.early_stop) == (other.plateau, other.early_stop)
    )


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_training_repeats_bit_for_bit(engine: Engine, recipe: str) -> None:
    spec = _spec(3, 2, recipe)
    assert _same(_train(spec, "cuda", engine=engine), _train(spec, "cuda", engine=engine))


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_fork_equals_the_training_alone(engine: Engine, recipe: str) -> None:
    trunk = _train(_spec(3, 3, recipe).shortened(1), "cuda", engine=engine)
    forked = _train(_spec(3, 1, recipe), "cuda", Snapshot.from_bytes(trunk.to_bytes()), engine)
    assert _same(forked, _train(_spec(3, 1, recipe), "cuda", engine=engine))


@pytest.mark.parametrize("recipe", RECIPES)
def test_captured_steps_do_what_eager_ones_do(recipe: str) -> None:
    spec = _spec(3, 2, recipe)
    eager, graph = (_train(spec, "cuda", engine=engine) for engine in ENGINES)
    rough = 50 if recipe == "bfloat16" else 1
    assert graph.progress.train_loss == pytest.approx(eager.progress.train_loss, rel=rough * 1e-4)
    for key, tensor in eager.model.items():
        near = torch.allclose(graph.model[key], tensor, rtol=rough * 1e-3, atol=rough * 1e-4)
        assert near, key


def test_dropout_goes_on_between_replays() -> None:
    # With one mask for all steps, or another stream than eager steps, this would not hold.
    spec = replace(_spec(2, 0), recipe=Recipe("student", 60, "sgd", 1e-12))
    eager, graph = (_train(spec, "cuda", engine=engine) for engine in ENGINES)
    assert graph.progress.train_loss == pytest.approx(eager.progress.train_loss, rel=1e-5)
    one, two = graph.progress.train_loss[:2]
    assert one != two


CO_LOCATED = """
import sys, torch
sys.path.insert(0, {root!r})
from tests.trials.test_gpu import _spec, _train, configure
configure()
print("ready", flush=True)
sys.stdin.readline()
for _ in range(3):
    snapshot = _train(_spec(4, 2), "cuda")
open(sys.argv[1], "wb").write(snapshot.to_bytes())
"""


def test_who_else_is_on_the_device_changes_no_bit(tmp_path: Path) -> None:
    alone = _train(_spec(4, 2), "cuda")
    script = CO_LOCATED.format(root=str(Path(__file__).parents[2]))
    files = [tmp_path / str(number) for number in range(3)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for path in files
    ]  # fmt: skip
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
    for process in started:
        process.communicate("go\n", timeout=300)
        assert process.returncode == 0
    for path in files:
        assert _same(Snapshot.from_bytes(path.read_bytes()), alone)


def test_the_start_is_the_same_as_on_the_cpu() -> None:
    cpu, gpu = _train(_spec(1, 0).shortened(0), "cpu"), _train(_spec(1, 0).shortened(0), "cuda")
    assert all(torch.equal(cpu.model[key], gpu.model[key]) for key in cpu.model)


def test_bfloat16_is_another_training() -> None:
    one, full = _train(_spec(2, 1, "bfloat16"), "cuda"), _train(_spec(2, 1), "cuda")
    assert not _same(one, full)
    assert one.progress.train_loss == pytest.approx(full.progress.train_loss, rel=0.1)


# Side by side. The tables and the task are those of `toys`, the masks of dropout the device's own.

SOFT = Objective(0.4, 0.6, "mse", guides=(Guide(RULE),))


def _lane_spec(dropouts: int = 2, seed: int = 5, **recipe: object) -> TrialSpec:
    models.register(models.ModelEntry(f"dense-{dropouts}", Dense((40, 24), dropouts)))
    made = Recipe(f"dense-{dropouts}", None, learning_rate=0.01)
    return TrialSpec(
        seed,
        data.DataSpec("table", validation=0.1),
        replace(made, **recipe),  # type: ignore[arg-type]
        switched(SOFT, 4, 8),
    )


def _teachers(spec: TrialSpec) -> dict[str, torch.Tensor]:
    rows = len(load(spec.data).train.y)
    return {RULE.key: torch.linspace(-1, 1, rows).reshape(rows, 1).cuda()}


def _lanes(spec: TrialSpec) -> Lanes:
    return Lanes(spec, load(spec.data).to("cuda"))


def _join(lanes: Lanes, spec: TrialSpec, start: Snapshot | None = None) -> Lane:
    return lanes.join(Course(spec, "regression", start), _teachers(spec), start)


def _finish(lanes: Lanes) -> None:
    while lanes.free < LANES:
        lanes.step()


def _alone(spec: TrialSpec, engine: Engine | None = None) -> Snapshot:
    loaded, device = load(spec.data), torch.device("cuda")
    return train(spec, loaded, _teachers(spec), device=device, engine=engine).snapshot


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_every_lane_gives_the_same_bits(optimizer: str) -> None:
    spec = _lane_spec(optimizer=optimizer)
    assert engine_for("cuda", spec) == "lanes"
    expected = _alone(spec)
    lanes = _lanes(spec)
    found = [_join(lanes, spec) for _ in range(LANES)]
    _finish(lanes)
    assert all(_same(lane.result().snapshot, expected) for lane in found)


def test_neighbours_in_lanes_change_no_bit() -> None:
    spec, expected = _lane_spec(), _alone(_lane_spec())
    wild = _lane_spec(seed=9, learning_rate=1e9)
    lanes = _lanes(spec)
    neighbours = [_join(lanes, other) for other in (_lane_spec(seed=8), wild)]
    first = _join(lanes, spec)
    lanes.step()
    later = _join(lanes, spec)  # the graph is captured by now
    fork = Snapshot.from_bytes(_alone(spec.shortened(2)).to_bytes())
    forked = _join(lanes, spec, fork)
    _finish(lanes)
    for lane in (first, later, forked):
        assert _same(lane.result().snapshot, expected)
    assert neighbours[1].result().snapshot.progress.diverged_epoch is not None


def test_lanes_do_what_captured_steps_do() -> None:
    spec = _lane_spec(dropouts=0)
    lanes, graph = _alone(spec), _alone(spec, "graph")
    assert lanes.progress.train_loss == pytest.approx(graph.progress.train_loss, rel=1e-3)
    for key, tensor in graph.model.items():
        assert torch.allclose(lanes.model[key], tensor, rtol=1e-2, atol=1e-3), key


def test_lanes_draw_new_masks_every_epoch() -> None:
    still = replace(_lane_spec(learning_rate=1e-12), schedule=(Segment(3),))
    one, two, three = _alone(still).progress.train_loss
    assert len({one, two, three}) == 3
    other = _alone(replace(still, seed=6)).progress.train_loss
    assert set(other).isdisjoint({one, two, three})


def test_attacks_and_noise_are_the_same_twice_and_leave_the_weights() -> None:
    device = torch.device("cuda")
    loaded = load(data.DataSpec("digits")).to(device)
    model = build("digits", "student", (1, 8, 8), 10, "he", 4).to(device)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    under = Attacks(
        (0.05,), (0.05,), pgd_random_start=True, input_noise=(0.3,), weight_noise=(0.02,)
    )

    def run(seed: int) -> Evaluation:
        return evaluate(
            model, loaded.test, task=loaded.task, inputs=loaded.inputs, low=loaded.input_low,
            high=loaded.input_high, under=under, seed=seed,
        )  # fmt: skip

    assert run(1) == run(1)
    assert run(1).robustness[2:] != run(2).robustness[2:]
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
