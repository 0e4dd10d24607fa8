import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.cells import summarise
from analysis.interquartile import interquartile_means
from tests.analysis.tables import cell, table


def test_interquartile_mean_by_hand():
    # Of 1, 2, 4, 8, 100 one falls off at each end: 14 / 3. Of three values none does.
    values = pd.Series([8.0, 1.0, 100.0, 2.0, 4.0, 3.0, 9.0, 3.0, np.nan])
    groups = pd.Series([0, 0, 0, 0, 0, 2, 2, 2, 2])
    means = interquartile_means(values, groups, 4)
    assert means.tolist() == pytest.approx([14 / 3, np.nan, 5.0, np.nan], nan_ok=True)


@pytest.mark.parametrize("n", range(1, 18))
def test_interquartile_mean_is_scipys_trimmed_mean(n):
    values = np.random.default_rng(n).normal(size=n)
    found = interquartile_means(pd.Series(values), pd.Series(np.zeros(n, dtype=int)), 1)
    assert found.tolist() == pytest.approx([stats.trim_mean(values, 0.25)])


def test_every_configuration_gets_its_own():
    values = {"baseline": [1.0, 2.0, 3.0, 50.0], "student": [5.0, 6.0, 7.0, -90.0]}
    rows = [cell(role, s, v) for role, own in values.items() for s, v in enumerate(own)]
    summary = summarise(table(rows)).set_index("role")
    assert summary["iqm"].to_dict() == {"baseline": 2.5, "student": 5.5}


def test_published_interquartile_means(published):
    summary = summarise(published)
    row = summary[(summary["dataset"] == "cifar10") & (summary["role"] == "baseline")].iloc[0]
    raw = published[(published["dataset"] == "cifar10") & (published["role"] == "baseline")]
    assert row["iqm"] == pytest.approx(stats.trim_mean(raw["test_metric"], 0.25))
