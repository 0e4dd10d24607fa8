import numpy as np
import pytest

from analysis.curves import loss_curves
from tests.analysis.tables import cell, table


def curve(seed: int, losses: list[float], steps: list[int] | None, **more: object) -> dict:
    return cell("baseline", seed, 80.0, train_loss=losses, train_loss_step=steps, **more)


def test_curves_of_unequal_length_by_hand():
    frame = table([curve(1, [4.0, 2.0, 1.0], [5, 10, 15]), curve(2, [2.0, 1.0], [5, 10])])
    found = loss_curves(frame)
    assert found["step"].tolist() == [5, 10, 15]
    assert found["epoch"].tolist() == [0.5, 1.0, 1.5]
    assert found["n"].tolist() == [2, 2, 1]
    assert found["mean"].tolist() == [3.0, 1.5, 1.0]
    assert found["deviation"].tolist() == pytest.approx(
        [np.sqrt(2), np.sqrt(0.5), np.nan], nan_ok=True
    )


def test_without_steps_the_points_are_counted():
    found = loss_curves(table([curve(1, [4.0, 2.0], None, steps_per_epoch=None)]))
    assert found["step"].tolist() == [1, 2]
    assert found["epoch"].isna().all()


def test_losses_that_are_not_finite_lower_n():
    frame = table([curve(1, [4.0, np.nan], [5, 10]), curve(2, [2.0, 1.0], [5, 10])])
    assert loss_curves(frame)["n"].tolist() == [2, 1]


def test_thinning_keeps_both_ends():
    losses = [float(x) for x in range(1000)]
    found = loss_curves(table([curve(1, losses, list(range(1, 1001)))]), points=200)
    assert len(found) == 200
    assert found["step"].iloc[[0, -1]].tolist() == [1, 1000]


def test_steps_must_fit_the_losses():
    with pytest.raises(ValueError, match="1 steps for 2 losses"):
        loss_curves(table([curve(1, [4.0, 2.0], [5])]))


def test_cells_without_a_curve_give_an_empty_table():
    found = loss_curves(table([cell("baseline", 1, 80.0, train_loss=None)]))
    assert found.empty
    assert {"dataset", "role", "step", "epoch", "n", "mean"} <= set(found.columns)


def test_published_curves_end_after_all_epochs(published):
    found = loss_curves(published[published["role"] == "baseline"])
    last = found.groupby("dataset")[["epoch", "n"]].last()
    # 14 whole epochs and 700 of 782 batches; 1500 full-batch epochs.
    assert last.loc["cifar10", "epoch"] == pytest.approx(14 + 700 / 782)
    assert last.loc["california_housing", "epoch"] == 1500
    assert last["n"].tolist() == [15, 15]
