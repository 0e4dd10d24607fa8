"""Later evaluations say the same, wherever they are made."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from sweep.service import Where, evaluate_study, run_study
from sweep.store import Store
from tests.sweep.tiny import tiny_study

STUDY = tiny_study(**{"evaluation.keep": "weights", "grid.switch_epoch": [1]})
STRONGER = tiny_study(
    **{
        "evaluation.keep": "weights",
        "grid.switch_epoch": [1],
        "evaluation.fgsm_epsilons": [0.05, 0.2],
        "evaluation.pgd_epsilons": [0.05],
        "evaluation.pgd_random_start": True,
        "evaluation.input_noise": [0.5],
        "evaluation.weight_noise": [0.1],
    }
)
NAMES = {("fgsm", 0.2), ("pgd-random", 0.05), ("input_noise", 0.5), ("weight_noise", 0.1)}


def points(store: Store) -> pa.Table:
    rows, damaged = store.evaluations.read()
    assert not damaged
    return rows.drop_columns(["finished_at"]).sort_by("evaluation_id")


@pytest.mark.slow
def test_points_are_the_same_in_this_process_on_ray_and_after_the_training(tmp_path: Path) -> None:
    run_study(STUDY, tmp_path / "here", Where(local=True))
    shutil.copytree(tmp_path / "here", tmp_path / "ray")
    places = {
        "here": Where(local=True),
        "ray": Where(workers=2, gpus_per_trial=0),
    }
    for name, where in places.items():
        summary = evaluate_study(STRONGER, tmp_path / name, where)
        assert (summary.evaluated, summary.complete, summary.failures) == (6, 0, ())
        assert evaluate_study(STRONGER, tmp_path / name, where).evaluated == 0
    here = points(Store(tmp_path / "here"))
    assert {(row["attack"], row["epsilon"]) for row in here.to_pylist()} == NAMES
    assert len(here) == 6 * len(NAMES)
    assert here.equals(points(Store(tmp_path / "ray")))

    # Measured at once, with the training, they are the same too: the noise is the trial's.
    run_study(STRONGER, tmp_path / "at once", Where(local=True))
    at_once = {
        (row["trial_id"], point["attack"], point["epsilon"]): point["value"]
        for row in Store(tmp_path / "at once").trials.read()[0].to_pylist()
        for point in row["robustness"]
    }
    for row in here.to_pylist():
        assert at_once[row["trial_id"], row["attack"], row["epsilon"]] == row["value"]
