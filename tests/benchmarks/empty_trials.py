"""What 10,000 trials cost when training costs nothing.

Every trial goes through planning, a Ray worker, and durable, batched publication; only the training
is replaced by a stand-in that answers at once. Reported: seconds from the first submission to the
folded store, the rate, and the driver's memory at the start and at the end.

    python -m tests.benchmarks.empty_trials [--trials 10000] [--workers 2]
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.shared import SharedData
from trials.task import LoadTask, Prepared, StageOutcome, StageTask, TeacherOutputs, TrialResult


def empty_stage(
    task: StageTask | LoadTask,
    start: bytes | None,
    teachers: Sequence[TeacherOutputs],
    workshop: Any,
) -> StageOutcome | Prepared:
    """Answers like a trained stage, or a loaded dataset, at once."""
    if isinstance(task, LoadTask):
        return Prepared(SharedData({}, {}))
    result = TrialResult(
        status="done", metric_name="accuracy", test_metric=50.0, test_loss=1.0,
        validation_metric=None, validation_loss=None, mae=None, r2=None,
        train_loss=(1.0,), train_loss_step=(1,), steps_per_epoch=1, curve=(), robustness=(),
        zero_gradients_percent=None,
        per_class=None, confusion=None, epochs_run=1, diverged_epoch=None, stopped_epoch=None,
        best_epoch=None, teacher_trial_ids=(),
        wall_s=0.0, train_s=0.0, evaluate_s=0.0, stage_s=0.0, device_s=0.0, peak_memory_bytes=0,
        device_name="none", numerics_class="none", data_fingerprint="none",
        finished_at=datetime.now(UTC),
    )  # fmt: skip
    return StageOutcome(task.key, task.spec.epochs, None, result)


def measure(trials: int, workers: int) -> dict[str, float]:
    """Runs so many empty trials and says what they cost."""
    from sweep.cells import demand
    from sweep.run import run
    from sweep.service import Where, executor
    from sweep.store import Store
    from sweep.study import load_study

    study = load_study(
        {
            "name": "empty",
            "seeds": list(range(trials)),
            "recipe": {"epochs": 1, "batch_size": 64},
            "datasets": {"digits": {}},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        began = time.perf_counter()
        with executor(Where(workers=workers, gpus_per_trial=0.0), empty_stage) as pool:
            warm = run(demand(study, store, seeds=2 * workers), store, pool)
            started = time.perf_counter()
            with store.writing():
                wanted = demand(study, store)
                planned = time.perf_counter()
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                summary = run(wanted, store, pool)
                ran = time.perf_counter()
            done = time.perf_counter()
        rows, damaged = store.trials.read(["trial_id"])
        assert (rows.num_rows, damaged, warm.done) == (trials, [], 2 * workers)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "trials": summary.done,
        "workers": workers,
        "start_up_s": started - began,
        "demand_s": planned - started,
        "run_s": ran - planned,
        "fold_s": done - ran,
        "total_s": done - started,
        "trials_per_s": summary.done / (done - started),
        "peak_mb_before": before / 1024,
        "peak_mb_after": after / 1024,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    print(json.dumps(measure(options.trials, options.workers), indent=2))
