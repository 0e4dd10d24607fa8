"""Students that grow from teachers of their own seed, from study to answers."""

import pytest
import torch

import data
from data.load import load
from models.matching import common_block
from sweep import Results, load_study, run_study
from sweep.service import Where

SOME = (0, 1, 2)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Two seeds of every way to start, over one epoch."""
    folder = tmp_path_factory.mktemp("growing")
    study = load_study(
        {
            "name": "growing",
            "seeds": [1, 2],
            "grid": {"teacher": ["mlp-6"], "start": ["scratch", "zero-pad", "net2net", "near"]},
            "recipe": {"epochs": 1, "batch_size": 64, "learning_rate": 1e-9},
            "split": {"scaling": "unit"},
            "teacher": {
                "match": "seed",
                "recipe": {"epochs": 3, "learning_rate": 0.01},
                "split": {"classes": list(SOME)},
            },
            "evaluation": {"keep": "weights"},
            "starts": {
                "near": {
                    "objective": {"hard": 1, "anchor": 1},
                    "training": {"epochs": 2, "learning_rate": 0.01},
                    "split": {"classes": list(SOME)},
                }
            },
            "datasets": {"digits": {"student": "mlp-9"}},
        }
    )
    assert run_study(study, folder, Where(local=True)).exit_status == 0
    return Results(folder)


def _id(results: Results, **words: object) -> str:
    cells = results.cells("growing")
    for column, value in words.items():
        cells = cells[cells[column] == value]
    (found,) = cells["trial_id"]
    return str(found)


@pytest.mark.parametrize("seed", [1, 2])
def test_students_grow_from_the_teacher_of_their_own_seed(results: Results, seed: int) -> None:
    teacher = results.model(_id(results, role="teacher", seed=seed))
    rows = load(data.DataSpec("digits", scaling="unit"))
    x = rows.inputs(rows.test.x)
    small = dict(teacher.model.named_parameters())  # type: ignore[union-attr]
    with torch.no_grad():
        for start in ("zero-pad", "net2net"):
            grown = results.model(_id(results, start=start, seed=seed))
            # A learning rate of 1e-9 leaves the weights where they began.
            torch.testing.assert_close(grown(x), teacher.model(x), atol=1e-4, rtol=1e-4)  # type: ignore[operator]
        large = dict(results.model(_id(results, start="zero-pad", seed=seed)).named_parameters())
        for name, block in common_block(small, large).items():
            torch.testing.assert_close(large[name][block], small[name], atol=1e-6, rtol=0)
            large[name][block] = 0
            assert large[name].abs().max() < 1e-6
        other = results.model(_id(results, start="net2net", seed=3 - seed))
        assert (other(x) - teacher.model(x)).abs().max() > 0.1  # type: ignore[operator]


def test_a_training_that_comes_before_is_a_trial_of_its_own(results: Results) -> None:
    before = _id(results, role="start", seed=1)
    student = results.trial(_id(results, start="near", role="student", seed=1))
    assert student["teacher_trial_ids"] == [before]
    assert student["selected_on"] is None  # nothing was chosen
    start = results.trial(before)
    assert start["classes"] == "0,1,2"
    assert start["teacher_trial_ids"] == [_id(results, role="teacher", seed=1)]
    with torch.no_grad():
        trained, grown = results.model(before), results.model(student["trial_id"])
        for name, weights in trained.model.named_parameters():  # type: ignore[union-attr]
            torch.testing.assert_close(weights, grown.get_parameter(name), atol=1e-6, rtol=0)


def test_a_network_of_some_classes_says_nothing_about_the_others(results: Results) -> None:
    rows = load(data.DataSpec("digits"))
    with torch.no_grad():
        said = results.model(_id(results, role="teacher", seed=1))(rows.inputs(rows.test.x))
    assert said[:, len(SOME) :].abs().max() == 0
    assert said[:, : len(SOME)].abs().max() > 0


def test_a_start_from_scratch_is_the_baseline(results: Results) -> None:
    scratch = _id(results, role="student", start="scratch", seed=1)
    assert scratch == _id(results, role="baseline", seed=1)
