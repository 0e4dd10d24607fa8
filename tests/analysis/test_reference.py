import pandas as pd
import pytest

from analysis import reference
from analysis.teachers import selection_splits, teacher_table
from tests.analysis.tables import grid


def plain(**more: object) -> pd.DataFrame:
    row = {"role": "baseline", "dataset": "cifar10", "model": "student", "seed": 1}
    return pd.DataFrame([row | {"test_metric": 76.5, "fgsm_0.01": 40.0, "fgsm_0.05": 9.0} | more])


def test_a_plain_table_becomes_cells():
    cells = reference.from_table(plain())
    row = cells.iloc[0]
    assert (row["metric_name"], row["status"]) == ("accuracy", "done")
    assert row["robustness"] == [
        {"attack": "fgsm", "epsilon": 0.01, "value": 40.0},
        {"attack": "fgsm", "epsilon": 0.05, "value": 9.0},
    ]
    assert pd.isna(row["alpha"])


def test_columns_of_attacks_with_settings_are_read():
    plain = pd.DataFrame(
        {
            "role": "baseline", "dataset": "digits", "model": "student", "seed": [1],
            "test_metric": 90.0, "pgd-step0.1_0.01": 50.0, "weight_noise-relative_0.2": 60.0,
        }
    )  # fmt: skip
    (points,) = reference.from_table(plain)["robustness"]
    assert points == [
        {"attack": "pgd-step0.1", "epsilon": 0.01, "value": 50.0},
        {"attack": "weight_noise-relative", "epsilon": 0.2, "value": 60.0},
    ]


def test_california_is_an_mse():
    cells = reference.from_table(plain(dataset="california_housing", test_metric=0.2))
    assert cells["metric_name"].tolist() == ["mse"]


def test_the_metric_of_an_unknown_dataset_is_not_guessed():
    with pytest.raises(ValueError, match="the metric of wine is not known"):
        reference.from_table(plain(dataset="wine"))
    known = reference.from_table(plain(dataset="wine", metric_name="mse"))
    assert known["metric_name"].tolist() == ["mse"]


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match="missing columns seed"):
        reference.from_table(plain().drop(columns="seed"))


def test_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        reference.read(tmp_path / "none.parquet")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"must end in \.parquet or \.csv"):
        reference.read(tmp_path / "a.txt")
    plain().to_csv(tmp_path / "a.csv", index=False)
    assert reference.read(tmp_path / "a.csv")["test_metric"].tolist() == [76.5]


def test_our_own_export_comes_back(tmp_path):
    frame = grid()
    frame.to_parquet(tmp_path / "export.parquet")
    cells = reference.read(tmp_path / "export.parquet")
    assert cells["test_metric"].tolist() == frame["test_metric"].tolist()
    assert list(cells["robustness"].iloc[0]) == frame["robustness"].iloc[0]


def test_published_teachers(published):
    table = teacher_table(published)
    chosen = table[table["chosen"]].set_index(["dataset", "model"])["seed"].to_dict()
    assert chosen == {
        ("cifar10", "small"): 10106,
        ("cifar10", "medium"): 12578,
        ("cifar10", "large"): 10106,
        ("california_housing", "small"): 1483,
        ("california_housing", "medium"): 9945,
        ("california_housing", "large"): 2324,
    }
    assert (table.loc[table["chosen"], "students"] == 675).all()
    assert selection_splits(published) == {"cifar10": ("test",), "california_housing": ("test",)}
