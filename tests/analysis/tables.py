"""Small tables of cells for the tests, and the two that most tests use."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

SEEDS = (38, 1483, 2056)
BASE = {38: 80.0, 1483: 81.0, 2056: 79.0}


def cell(role: str, seed: int, value: float | None, **more: Any) -> dict[str, Any]:
    """A row as the store joins it; `value` None is a cell without a result."""
    student = role == "student"
    row: dict[str, Any] = {
        "role": role,
        "dataset": "digits",
        "model": "student" if role != "teacher" else "small",
        "teacher": "small" if student else None,
        "alpha": 0.1 if student else None,
        "switch_epoch": 2 if student else None,
        "temperature": 1.0 if student else None,
        "seed": seed,
        "batch_size": 64,
        "metric_name": None if value is None else "accuracy",
        "test_metric": value,
        "status": "missing" if value is None else "done",
        "train_loss": None if value is None else [1.0, 0.5],
        "train_loss_step": None if value is None else [10, 20],
        "steps_per_epoch": None if value is None else 10,
        "robustness": None,
        "selected_on": None,
        "teacher_trial_id": None,
        "wall_s": None if value is None else 2.0,
        "device_s": None if value is None else 1.5,
        "device_name": None if value is None else "cpu",
        "code_version": None if value is None else "abc",
        "data_fingerprint": None if value is None else "f00",
        "finished_at": None if value is None else pd.Timestamp("2025-01-01", tz="UTC"),
    }
    row |= more
    key = [row[c] for c in ("dataset", "role", "model", "teacher", "alpha", "switch_epoch")]
    row.setdefault("trial_id", "-".join(str(part) for part in [*key, seed]))
    return row


def table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a frame with the types of a Parquet file."""
    frame = pd.DataFrame(list(rows))
    frame["switch_epoch"] = frame["switch_epoch"].astype("Int64")
    return frame


def small_study() -> pd.DataFrame:
    """Baseline 80, 81, 79; students at switch 2 (+1, +2, +3) and 3 (one of three seeds missing)."""
    rows = [cell("baseline", seed, BASE[seed]) for seed in SEEDS]
    gains = dict(zip(SEEDS, (1.0, 2.0, 3.0), strict=True))
    rows += [cell("student", seed, BASE[seed] + gains[seed]) for seed in SEEDS]
    rows += [
        cell("student", seed, None if seed == 2056 else BASE[seed] - 1.0, switch_epoch=3)
        for seed in SEEDS
    ]
    return table(rows)


def grid(
    dataset: str = "digits",
    metric: str = "accuracy",
    teachers: Sequence[str] = ("small", "large"),
    alphas: Sequence[float] = (0.1, 0.9),
    epochs: Sequence[int] = (1, 2, 3),
    seeds: Sequence[int] = SEEDS,
    attacked: bool = True,
    by_class: bool = False,
) -> pd.DataFrame:
    """A full study with random results: teachers, baselines and students, attacked twice.

    With `by_class` each has the figures of two classes, of ten training rows with wrong labels, and
    of where its network looks in three images.
    """
    rng = np.random.default_rng(7)
    rows: list[dict[str, Any]] = []

    def add(role: str, seed: int, **more: Any) -> None:
        value = float(rng.normal(80, 1)) if metric == "accuracy" else float(rng.uniform(0.1, 0.3))
        points = [
            {"attack": "fgsm", "epsilon": e, "value": value * (1 - 4 * e)} for e in (0.01, 0.05)
        ]
        more["robustness"] = points if attacked else None
        if by_class:
            hits = [int(hit) for hit in rng.integers(60, 100, 2)]
            more["confusion"] = [[hits[0], 100 - hits[0]], [100 - hits[1], hits[1]]]
            more["per_class"] = [
                {"label": c, "precision": 0.5, "recall": h / 100, "f1": 0.5, "support": 100}
                for c, h in enumerate(hits)
            ]
            fixed = int(rng.integers(0, 11))
            more["perturbed"] = {
                "rows": 10, "corrected": fixed, "memorised": 10 - fixed, "other": 0
            }  # fmt: skip
            more["attributions"] = [
                {
                    "method": "expected-gradients", "explains": "label", "segmentation": "border-otsu",
                    "images": 3, "background_images": 9, "repeats": 1,
                    "row": np.arange(3), "share": rng.uniform(0, 1, 3),
                    "foreground": rng.uniform(0, 1, 3), "background": rng.uniform(0, 1, 3),
                }
            ]  # fmt: skip
        rows.append(cell(role, seed, value, dataset=dataset, metric_name=metric, **more))

    for model in teachers:
        for seed in seeds:
            add("teacher", seed, model=model)
    for seed in seeds:
        add("baseline", seed)
    for teacher in teachers:
        chosen = f"{dataset}-teacher-{teacher}-None-None-None-{seeds[0]}"
        for alpha in alphas:
            for epoch in epochs:
                for seed in seeds:
                    add(
                        "student",
                        seed,
                        teacher=teacher,
                        alpha=alpha,
                        switch_epoch=epoch,
                        teacher_trial_id=chosen,
                        selected_on="validation",
                    )
    return table(rows)
