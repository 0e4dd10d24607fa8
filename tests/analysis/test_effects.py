from itertools import product

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.anova import anova_lm

import analysis
from analysis.anova import interactions, type_two
from analysis.effects import dataset_effects, factor_effects
from analysis.figures import effects as figure
from tests.analysis.tables import cell, grid, table

NAMES = {
    "C(teacher)": "teacher",
    "C(alpha)": "alpha",
    "C(switch_epoch)": "switch_epoch",
    "C(teacher):C(alpha)": "teacher × alpha",
    "C(teacher):C(switch_epoch)": "teacher × switch_epoch",
    "C(alpha):C(switch_epoch)": "alpha × switch_epoch",
    "C(teacher):C(alpha):C(switch_epoch)": "teacher × alpha × switch_epoch",
    "C(seed)": "seed",
    "Residual": "residual",
}


def of_statsmodels(students: pd.DataFrame) -> pd.DataFrame:
    data = students.assign(switch_epoch=students["switch_epoch"].astype(int))
    model = smf.ols("test_metric ~ C(teacher)*C(alpha)*C(switch_epoch) + C(seed)", data=data).fit()
    return anova_lm(model, typ=2).rename(index=NAMES)


def students_of(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[(frame["role"] == "student") & frame["test_metric"].notna()]


def test_two_by_two_by_hand():
    # Cells of two seeds: teacher a, alpha 1/2: (1, 3), (5, 7); b: (2, 4), (10, 12). Means 2, 6, 3,
    # 11; all 5.5. Teachers 4 and 7: 4 * 1.5**2 * 2 = 18. Alphas 2.5 and 8.5: 72. Interaction: every
    # cell is 1 off: 8. Seeds -1 and +1 in every cell: 8. Nothing is left.
    values = [1.0, 3.0, 5.0, 7.0, 2.0, 4.0, 10.0, 12.0]
    factors = pd.DataFrame(
        [(t, a, s) for t in "ab" for a in (1, 2) for s in (0, 1)], columns=["t", "a", "s"]
    )
    result = type_two(pd.Series(values), factors, [("t",), ("a",), ("t", "a"), ("s",)])
    assert result["term"].tolist() == ["t", "a", "t × a", "s", "residual"]
    assert result["sum_squares"].tolist() == pytest.approx([18, 72, 8, 8, 0])
    assert result["df"].tolist() == [1, 1, 1, 1, 3]
    assert result["eta2"].tolist() == pytest.approx([18 / 106, 72 / 106, 8 / 106, 8 / 106, 0])
    assert result["f"].isna().all()


def test_one_way_by_hand():
    # Groups (1, 2, 3), (4, 5, 6): between 13.5 with 1, within 4 with 4 degrees of freedom.
    values, factors = pd.Series([1.0, 2, 3, 4, 5, 6]), pd.DataFrame({"g": list("aaabbb")})
    row = type_two(values, factors, [("g",)]).iloc[0]
    assert (row["sum_squares"], row["df"], row["f"]) == pytest.approx((13.5, 1, 13.5))
    assert row["p"] == pytest.approx(stats.f_oneway([1, 2, 3], [4, 5, 6]).pvalue)
    assert row["eta2"] == row["eta2_partial"] == pytest.approx(13.5 / 17.5)
    assert row["omega2"] == row["omega2_partial"] == pytest.approx(12.5 / 18.5)


def test_a_balanced_grid_adds_up_and_is_statsmodels():
    frame = grid(teachers=("small", "medium", "large"))
    result = factor_effects(frame).set_index("term")
    expected = of_statsmodels(students_of(frame))
    assert result["balanced"].all()
    assert result["sum_squares"].to_dict() == pytest.approx(expected["sum_sq"].to_dict())
    assert result["df"].to_dict() == expected["df"].to_dict()
    assert result["f"].drop("residual").to_dict() == pytest.approx(
        expected["F"].drop("residual").to_dict()
    )
    assert result["p"].drop("residual").to_dict() == pytest.approx(
        expected["PR(>F)"].drop("residual").to_dict()
    )
    assert result["eta2"].sum() == pytest.approx(1.0)
    assert (result["n_trials"].iloc[0], result["n_left_out"].iloc[0]) == (54, 0)


def test_an_unbalanced_grid_is_statsmodels_type_two():
    frame = grid(seeds=(1, 2, 3, 4))
    lost = students_of(frame).sample(9, random_state=3).index
    frame.loc[lost, ["status", "test_metric"]] = ["failed", np.nan]
    result = factor_effects(frame).set_index("term")
    expected = of_statsmodels(students_of(frame))
    assert not result["balanced"].any()
    assert (result["n_trials"].iloc[0], result["n_left_out"].iloc[0]) == (39, 9)
    assert result["sum_squares"].to_dict() == pytest.approx(expected["sum_sq"].to_dict())
    assert result["df"].to_dict() == expected["df"].to_dict()


def test_a_configuration_without_any_trial_costs_its_degree_of_freedom():
    frame = grid(seeds=(1, 2, 3))
    gone = (frame["teacher"] == "large") & (frame["alpha"] == 0.9) & (frame["switch_epoch"] == 3)
    frame = frame[~gone.fillna(False).astype(bool)]
    result = factor_effects(frame).set_index("term")
    assert result.loc["teacher × alpha × switch_epoch", "df"] == 1
    assert result["df"].sum() == 33 - 1

    # Independently: least squares on indicator columns, with and without the interaction.
    used = students_of(frame)
    y = used["test_metric"].to_numpy()

    def fit(*terms):
        columns = [np.ones((len(used), 1))]
        for term in terms:
            names = used[list(term)].astype(str).agg("|".join, axis=1)
            columns.append(pd.get_dummies(names).to_numpy(dtype=float))
        x = np.hstack(columns)
        residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        return float(residual @ residual)

    t, a, e, s = "teacher", "alpha", "switch_epoch", "seed"
    both = [(t, e), (a, e), (s,)]
    assert result.loc["teacher × alpha", "sum_squares"] == pytest.approx(
        fit(*both) - fit(*both, (t, a))
    )
    assert result.loc["residual", "sum_squares"] == pytest.approx(fit((t, a, e), (s,)))


def built(effect, seeds=5, **more) -> pd.DataFrame:
    """Students whose metric is a function of teacher, alpha, switch epoch and seed."""
    rows = [
        cell("student", s, effect(t, a, e, s), teacher=t, alpha=a, switch_epoch=e, **more)
        for t, a, e, s in product(("small", "large"), (0.1, 0.9), (1, 2, 3), range(seeds))
    ]
    return table(rows)


def test_each_term_gets_what_was_put_into_it():
    noise = np.random.default_rng(0).normal(0, 0.01, (2, 2, 3, 5))
    grids = {"small": 0, "large": 1}, {0.1: 0, 0.9: 1}

    def effect(t, a, e, s):
        sign = (2 * grids[0][t] - 1) * (2 * grids[1][a] - 1)
        return 80 + 3 * grids[0][t] + 2 * sign + s + noise[grids[0][t], grids[1][a], e - 1, s]

    result = factor_effects(built(effect)).set_index("term")
    # Of 60 trials: teacher 60 * 1.5**2, teacher × alpha 60 * 2**2, seed 12 * (4 + 1 + 0 + 1 + 4).
    assert result.loc["teacher", "sum_squares"] == pytest.approx(135, rel=0.01)
    assert result.loc["teacher × alpha", "sum_squares"] == pytest.approx(240, rel=0.01)
    assert result.loc["seed", "sum_squares"] == pytest.approx(120, rel=0.01)
    assert result.loc["alpha", "eta2"] < 1e-4
    assert result.loc["teacher × alpha", "omega2"] == pytest.approx(240 / 495, rel=0.01)


def test_omega_squared_of_pure_noise_is_zero_on_average():
    rng = np.random.default_rng(1)
    factors = built(lambda *_: 0.0)[["alpha", "switch_epoch"]]
    terms = interactions(["alpha", "switch_epoch"])
    tables = [type_two(pd.Series(rng.normal(size=60)), factors, terms) for _ in range(60)]
    mean = pd.concat(tables).groupby("term")[["eta2", "omega2"]].mean()
    assert mean.loc["alpha × switch_epoch", "eta2"] == pytest.approx(2 / 59, abs=0.01)
    assert abs(mean.loc["alpha × switch_epoch", "omega2"]) < 0.012


def test_further_parameters_are_factors_with_pairs():
    warm = [built(lambda t, a, e, s, k=k: 80 + k + s % 2, temperature=k) for k in (1.0, 4.0)]
    frame = pd.concat(warm)
    frame["trial_id"] += frame["temperature"].astype(str)
    result = factor_effects(frame).set_index("term")
    assert result.loc["temperature", "sum_squares"] == pytest.approx(120 * 1.5**2)
    assert "alpha × temperature" in result.index
    assert "teacher × alpha × temperature" not in result.index
    assert result["df"].sum() == 119


def test_trials_that_several_cells_asked_for_count_once():
    frame = built(lambda t, a, e, s: 80 + a + s)
    late = frame[frame["switch_epoch"] == 3].assign(switch_epoch=4)
    base = table([cell("baseline", s, 80.0 + s, trial_id=f"b{s}") for s in range(5)])
    hard = frame[frame["alpha"] == 0.9].assign(
        alpha=1.0, trial_id=lambda f: [f"b{s}" for s in f["seed"]]
    )
    result = factor_effects(pd.concat([frame, late, base, hard]))
    alone = factor_effects(frame)
    assert result["n_left_out"].iloc[0] == len(late) + len(hard)
    assert result["n_trials"].iloc[0] == len(frame)
    assert result["sum_squares"].tolist() == pytest.approx(alone["sum_squares"].tolist())


def test_datasets_and_metrics_are_kept_apart():
    frame = pd.concat([grid(), grid("mnist"), grid("california_housing", "mse")])
    result = factor_effects(frame)
    assert result["dataset"].unique().tolist() == ["california_housing", "digits", "mnist"]
    alone = factor_effects(grid())
    own = result[result["dataset"] == "digits"]
    assert own["sum_squares"].tolist() == pytest.approx(alone["sum_squares"].tolist())


def test_dataset_as_a_factor_for_those_that_share_a_metric():
    moved = grid("mnist")
    moved["test_metric"] += 10.0
    frame = pd.concat([grid(), moved, grid("california_housing", "mse")])
    result = dataset_effects(frame)
    assert set(result["datasets"]) == {"digits, mnist"}
    assert set(result["metric_name"]) == {"accuracy"}
    rows = result.set_index("term")
    # The same numbers 10 apart, 36 of them each: 72 * 5**2, and no interaction with the dataset.
    assert rows.loc["dataset", "sum_squares"] == pytest.approx(1800.0)
    assert rows.loc["dataset × alpha", "sum_squares"] == pytest.approx(0.0, abs=1e-8)
    assert rows.loc["dataset × teacher × alpha × switch_epoch", "df"] == 2
    assert rows.loc["dataset × seed", "df"] == 2
    alone = factor_effects(grid()).set_index("term")
    assert rows.loc["alpha", "sum_squares"] == pytest.approx(2 * alone.loc["alpha", "sum_squares"])
    assert dataset_effects(grid()).empty


def test_a_parameter_that_differs_between_datasets_is_part_of_the_dataset():
    other = grid("mnist")[lambda f: f["role"] != "teacher"]
    frame = pd.concat([grid(), other.assign(batch_size=8, model="other")])
    rows = dataset_effects(frame).set_index("term")
    assert not any("batch_size" in term or "model" in term for term in rows.index)
    assert rows.loc["dataset", "df"] == 1


@pytest.mark.parametrize(
    "frame",
    [
        grid(teachers=("small",), alphas=(0.1,), epochs=(1,)),
        grid(teachers=("small",), alphas=(0.1,), epochs=(1,), seeds=(1,)),
        grid(seeds=(1,)),
        built(lambda *_: 80.0),
    ],
    ids=["one configuration", "one trial", "one seed", "nothing varies"],
)
def test_small_studies(frame):
    result = factor_effects(frame)
    assert result["term"].iloc[-1] == "residual"
    assert result["df"].sum() == result["n_trials"].iloc[0] - 1
    assert not np.isinf(result.drop(columns=["dataset", "metric_name", "term"]).astype(float)).any(
        axis=None
    )
    assert len(analysis.variance_shares(frame).data) > 0


def test_without_students():
    frame = grid()[lambda f: f["role"] != "student"]
    assert factor_effects(frame).empty
    assert dataset_effects(frame).empty
    assert figure.effect_numbers(frame) is None
    with pytest.raises(ValueError, match="no student has a result"):
        analysis.variance_shares(frame)


def test_a_term_list_holds_all_interactions():
    assert interactions(["a", "b", "c"]) == [
        ("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c"),
    ]  # fmt: skip
    assert ("a", "b", "c") not in interactions(["a", "b", "c"], at_most=2)


def test_published_factor_effects_by_marginal_means(published):
    result = factor_effects(published).set_index(["dataset", "term"])
    assert result["balanced"].all()
    assert (result["n_trials"] == 2025).all()
    for dataset in ("cifar10", "california_housing"):
        own = published[(published["dataset"] == dataset) & (published["role"] == "student")]
        y, mean = own["test_metric"], own["test_metric"].mean()

        def between(*columns, own=own, y=y, mean=mean):
            group = y.groupby([own[c] for c in columns]).transform("mean")
            return float(((group - mean) ** 2).sum())

        part = result.loc[dataset]
        for factor in ("teacher", "alpha", "switch_epoch", "seed"):
            assert part.loc[factor, "sum_squares"] == pytest.approx(between(factor))
        assert part.loc["alpha × switch_epoch", "sum_squares"] == pytest.approx(
            between("alpha", "switch_epoch") - between("alpha") - between("switch_epoch")
        )
        assert part["sum_squares"].sum() == pytest.approx(float(((y - mean) ** 2).sum()))


def test_the_figure_shows_every_term_of_every_dataset(published):
    numbers = figure.effect_numbers(published)
    assert numbers is not None
    assert numbers.datasets == ("california_housing", "cifar10")
    assert len(numbers.bars) == 18
    assert (
        "CIFAR-10: of all settings alpha × switch epoch explains the largest share" in numbers.title
    )
    assert "variance (28 %, " in numbers.title
    assert "California Housing: of all settings switch epoch explains the largest" in numbers.title
    assert "variance (38 %, " in numbers.title
    for narrow in (False, True):
        drawn = figure.draw(numbers, narrow)
        bars = [trace for trace in drawn.data if trace.type == "bar"]
        assert sum(len(trace.x) for trace in bars) == 18
        assert sum(sum(trace.x) for trace in bars) == pytest.approx(200.0)
        assert drawn.layout.yaxis.categoryarray[0] == "residual"
        assert drawn.layout.yaxis.categoryarray[-1] == "teacher"


def test_the_figure_of_one_dataset():
    frame = pd.concat([grid(), grid("mnist")])
    numbers = figure.effect_numbers(frame, "mnist")
    assert numbers is not None
    assert numbers.datasets == ("mnist",)
    assert numbers.title.startswith("MNIST: ")
    with pytest.raises(ValueError, match="'cifar' is not one of digits, mnist"):
        figure.effect_numbers(frame, "cifar")
