"""Every further axis: a trial is the same forked, alone, and paused after every epoch, to the bit."""

from pathlib import Path
from typing import Any

import pytest

from sweep.expand import Role, cells
from sweep.plan import plan
from sweep.service import Where, run_study
from sweep.store import Store
from sweep.study import Study, load_study
from tests.sweep.tiny import science

HERE = Where(local=True, gpus_per_trial=0.0)
PAUSING = Where(local=True, gpus_per_trial=0.0, durable_every_s=0.0)

RAW: dict[str, Any] = {
    "name": "axes",
    "seeds": [1],
    "grid": {"teacher": ["mlp-4"], "alpha": [0.1], "switch_epoch": [3]},
    "recipe": {"epochs": 4, "batch_size": 32, "learning_rate": 0.01},
    "split": {"train_size": 96, "validation": 0.1},
    "teacher": {"seeds": [1, 2], "recipe": {"epochs": 2}},
    "evaluation": {"fgsm_epsilons": [0.05], "keep": "weights"},
    "datasets": {"digits": {"student": "mlp-6-5"}},
}
TRAINING = {"epochs": 2, "learning_rate": 0.02}
EARLY = {
    "recipe.lr_schedule": {"kind": "plateau", "factor": 0.5, "patience": 0},
    "recipe.early_stop": {"patience": 1, "restore_best": True},
    "recipe.learning_rate": 0.1,
}

CASES: dict[str, tuple[dict[str, Any], int, int]] = {
    # Of each: the changes, epochs of the learners each alone, and planned. Teachers have 2 x 2.
    "windows": (
        {"grid.begin_epoch": [0, 1, 2]},
        4 * 4, 4 + (3 + 1) + (2 + 1) + (1 + 1),
    ),
    "ramps": (
        {"ramps": {"mine": [0, 0, 0.5]}, "grid.ramp": ["none", "linear", "mine"]},
        # 0.1 0.1 0.1 | 0.1 0.4 0.7 | 0.1 0.1 0.55, and 1 after each
        4 * 4, 4 + (3 + 1) + (2 + 1) + (1 + 1),
    ),
    "budgets": (
        {"grid.epochs": [2, 4], "grid.switch_epoch": [1, 4], "grid.past_end": "allow"},
        3 * (2 + 4), 4 + 4 + 3,
    ),
    "frozen": (
        {"recipe.frozen_epochs": 2, "grid.switch_epoch": [1, 3]},
        # head: 1 1 | 1 | G; G 1 1 1, G G G 1
        3 * 4, 4 + 1 + (3 + 3),
    ),
    "padded": (
        {"grid.start": ["zero-pad", "uniform-pad", "scratch"], "grid.epochs": [3, 4]},
        (3 + 4) * 4, 4 + 3 * 4,
    ),
    "net2net": ({"grid.start": ["net2net"], "grid.switch_epoch": [1, 3]}, 3 * 4, 4 + 4 + 3),
    "a training before": (
        {
            "starts": {
                "near": {
                    "training": TRAINING,
                    "split": {"classes": [0, 1, 2, 3, 4]},
                    "objective": {
                        "hard": 0.4, "noisy": 0.3, "amplitude": 0.05, "anchor": 0.2,
                        "curvature": 0.1,
                    },
                },
                "grown": {
                    "growth": "uniform-pad", "head": "new", "frozen_epochs": 1,
                    "training": TRAINING,
                    "objective": {"anchor": 0.1, "anchor_distance": "norm"},
                },
            },
            "grid.start": ["near", "grown"],
            "grid.epochs": [3, 4],
        },
        (3 + 4) * 3 + 2 * 2, 4 * 3 + 2 * 2,
    ),
    "several teachers": (
        {"grid.teacher": ["mlp-4", "mlp-4+mlp-5", "mlp-4:3+mlp-5"]},
        4 + 3 * 4 + 2 * 2, 4 + 3 * 4 + 2 * 2,
    ),
    "augmented, teachers asked": (
        {"recipe.augment": {"flip": True, "pad": 1}, "grid.switch_epoch": [1, 3]},
        3 * 4, 4 + 3 + 4,
    ),
    "wrong labels": (
        {"grid.label_noise": [0, 0.3], "grid.switch_epoch": [1, 3]},
        # Teachers see such labels too.
        2 * 3 * 4 + 2 * 2, 2 * (4 + 3 + 4) + 2 * 2,
    ),
    "few classes": (
        {
            "teacher.split": {"classes": [0, 1, 2]}, "split.classes": [0, 1, 2, 3],
            "grid.switch_epoch": [1, 3],
        },
        3 * 4, 4 + 3 + 4,
    ),
    "in the data's order, teachers by seed": (
        {"recipe.shuffle": False, "teacher.match": "seed", "grid.switch_epoch": [1, 3]},
        3 * 4, 4 + 3 + 4,
    ),
}  # fmt: skip


def study_of(changes: dict[str, Any]) -> Study:
    return load_study(RAW, changes)


def assert_same(one: Store, other: Store) -> None:
    rows, others = science(one), science(other)
    for name in rows.column_names:
        assert rows[name].equals(others[name]), name
    contents = [
        {path.name: path.read_bytes() for path in store.layout.weights("x").parent.iterdir()}
        for store in (one, other)
    ]
    assert contents[0] == contents[1]
    assert len(contents[0]) == len(rows)
    assert len(set(contents[0].values())) == len(rows), "every trial is a training of its own"


@pytest.mark.parametrize("case", CASES)
def test_forked_alone_and_paused_give_the_same(case: str, tmp_path: Path) -> None:
    changes, alone, planned = CASES[case]
    study = study_of(changes)
    specs = {c.trial_id: c.spec for c in cells(study)}.values()
    assert sum(spec.epochs for spec in specs) - 4 == alone
    assert plan(specs).epochs - 4 == planned
    stores = [Store(tmp_path / name) for name in ("forked", "alone", "paused")]
    forked = run_study(study, stores[0].layout.root, HERE)
    assert (forked.exit_status, forked.done) == (0, len(specs)), forked.failures
    assert forked.epochs == planned + 4
    apart = run_study(study, stores[1].layout.root, HERE, share=False)
    assert (apart.exit_status, apart.epochs) == (0, alone + 4)
    assert run_study(study, stores[2].layout.root, PAUSING).exit_status == 0
    assert_same(stores[0], stores[1])
    assert_same(stores[0], stores[2])


def test_with_early_stops_that_restore_the_best_epoch(tmp_path: Path) -> None:
    changes = {
        **CASES["a training before"][0], **EARLY, "grid.epochs": [8, 12], "seeds": [1, 2, 3],
    }  # fmt: skip
    study = study_of(changes)
    stores = [Store(tmp_path / name) for name in ("forked", "alone", "paused")]
    for store, where, share in zip(stores, (HERE, HERE, PAUSING), (True, False, True), strict=True):
        assert run_study(study, store.layout.root, where, share=share).exit_status == 0
    rows = science(stores[0])
    stopped = [n for n in rows["stopped_epoch"].to_pylist() if n is not None]
    assert stopped, "a rate at which some stop early"
    for store in stores[1:]:
        others = science(store)
        assert all(rows[name].equals(others[name]) for name in rows.column_names)


def test_what_students_begin_with_has_a_role_and_words_of_its_own() -> None:
    found = cells(study_of(CASES["a training before"][0]))
    starts = [c for c in found if c.role is Role.START]
    assert [
        (c.model, c.teacher, c.parameters["start"], c.parameters["epochs"]) for c in starts
    ] == [
        ("mlp-6-5", "mlp-4", "near", 2),
        ("mlp-6-5", "mlp-4", "grown", 2),
    ]
    assert [c.parameters["classes"] for c in starts] == ["0,1,2,3,4", None]
    students = [c for c in found if c.role is Role.STUDENT]
    assert [c.parameters["start"] for c in students] == ["near", "grown"] * 2
    for cell, before in zip(students, starts * 2, strict=True):
        assert cell.spec.start is not None
        assert cell.spec.start.source is not None
        assert cell.spec.start.source.pool == (before.trial_id,)
