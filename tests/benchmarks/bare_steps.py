"""The arithmetic of a grid by itself: steps and evaluations on tensors that lie ready.

One process per slot at the same time, since two busy cores are slower than one; one thread each.
A step is forward, loss, backward and update as our training does them, without its loop; the loop
is measured beside it.

    python -m tests.benchmarks.bare_steps --dataset california_housing --epochs 60 --workers 2
"""

import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Any

from tests.benchmarks.grid import ALPHA, EPSILONS, SEED, TEACHER, Grid

LOOP_EPOCHS = 4
LEAST_S, LEAST_TIMES = 1.5, 3
"""A measurement goes on until both are reached."""

_barrier: Barrier


def _begin_with(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _measure(grid: Grid) -> dict[str, float]:
    from data.load import load
    from models.layers import DropoutStream, attach_streams
    from trials.attack_settings import Attacks
    from trials.course import BLOCK_ROWS, build_model
    from trials.device import configure
    from trials.evaluate import evaluate, outputs
    from trials.losses import objective_loss
    from trials.optimizers import build_optimizer
    from trials.spec import HARD, Guide, Objective, Recipe, Segment, TeacherRule, TrialSpec
    from trials.train import train

    configure()
    rows = grid.data_spec()
    loaded = load(rows)
    size = grid.batch_size or len(loaded.train)
    guided = Objective(
        hard=ALPHA, soft=1 - ALPHA, soft_loss="mse" if loaded.task == "regression" else "kl",
        guides=(Guide(TeacherRule(("the teacher",), "test")),),
    )  # fmt: skip

    def spec(model: str, objective: Objective) -> TrialSpec:
        recipe = Recipe(model, grid.batch_size or None)
        return TrialSpec(SEED, rows, recipe, (Segment(LOOP_EPOCHS, objective),))

    teacher = build_model(spec(TEACHER, HARD), loaded)
    guidance = outputs(teacher, loaded.train, loaded.inputs)

    def step(model: str, objective: Objective) -> Callable[[], object]:
        network = build_model(spec(model, objective), loaded).train()
        attach_streams(network, DropoutStream(SEED))
        optimizer = build_optimizer(spec(model, objective).recipe, network)
        x, y, said = loaded.inputs(loaded.train.x[:size]), loaded.train.y[:size], guidance[:size]
        block = size if grid.batch_size else BLOCK_ROWS

        def once() -> None:
            optimizer.zero_grad()
            for first in range(0, size, block):
                part = slice(first, first + block)
                taught = [said[part]] if objective.guides else []
                losses = objective_loss(objective, loaded.task, network(x[part]), y[part], taught)
                (losses.sum() / size).backward()
            optimizer.step()

        return once

    def loop(model: str, objective: Objective) -> Callable[[], object]:
        taught = {rule.key: guidance for rule in objective.rules}
        whole = spec(model, objective)
        return lambda: train(whole, loaded, taught).snapshot.progress.wall_s / LOOP_EPOCHS

    def evaluation(model: str) -> Callable[[], object]:
        network = build_model(spec(model, HARD), loaded)
        return lambda: evaluate(
            network, loaded.test, task=loaded.task, inputs=loaded.inputs, low=loaded.input_low,
            high=loaded.input_high, under=Attacks(EPSILONS),
        )  # fmt: skip

    found = {"steps_per_epoch": float(-(-len(loaded.train) // size))}
    for name, once in {
        "teacher_step_s": step(TEACHER, HARD),
        "student_step_s": step("student", HARD),
        "guided_step_s": step("student", guided),
        "teacher_evaluation_s": evaluation(TEACHER),
        "student_evaluation_s": evaluation("student"),
    }.items():
        found[name] = _seconds(once)
    for name, objective in {"student_epoch_s": HARD, "guided_epoch_s": guided}.items():
        found[name] = _seconds(loop("student", objective), float)
    return found


def _seconds(once: Callable[[], object], took: Callable[[Any], float] | None = None) -> float:
    """Median seconds of something, all processes beginning together.

    Args:
        once: what to measure.
        took: its seconds from its answer, where it measures itself.
    """
    once()
    _barrier.wait()
    seconds: list[float] = []
    while sum(seconds) < LEAST_S or len(seconds) < LEAST_TIMES:
        began = time.perf_counter()
        answer = once()
        seconds.append(took(answer) if took else time.perf_counter() - began)
    return statistics.median(seconds)


def main() -> None:
    """Measures and prints JSON: the mean over the processes."""
    grid, options = Grid.parse(__doc__, "workers")
    workers = int(options.workers)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(workers)
    with ProcessPoolExecutor(workers, context, _begin_with, (barrier,)) as pool:
        found = [
            future.result() for future in [pool.submit(_measure, grid) for _ in range(workers)]
        ]
    print(json.dumps({name: statistics.mean(each[name] for each in found) for name in found[0]}))


if __name__ == "__main__":
    main()
