from itertools import product

import numpy as np
import pandas as pd
import pytest

from analysis.best import best_configurations, win_shares
from tests.analysis.tables import cell, grid, table


def study(values: dict[str, list[float | None]], metric: str = "accuracy") -> pd.DataFrame:
    """Students named by their teacher, a value per seed; the baseline is "baseline"."""
    rows = []
    for name, own in values.items():
        more = {} if name == "baseline" else {"teacher": name}
        role = "baseline" if name == "baseline" else "student"
        rows += [cell(role, s, v, metric_name=metric, **more) for s, v in enumerate(own)]
    return table(rows)


THREE = {
    "baseline": [80.0, 80.0, 80.0],
    "a": [81.0, 82.0, 83.0],
    "b": [83.0, 81.0, 81.5],
    "c": [80.0, 84.0, 80.5],
}


def every_resample(values: dict[str, list[float]], sign: int = 1) -> tuple[dict[str, float], float]:
    """Win shares and optimism over all ways to draw the seeds, one by one."""
    names = [name for name in values if name != "baseline"]
    seeds = range(len(values[names[0]]))
    shares, optimism, draws = (
        dict.fromkeys(names, 0.0),
        0.0,
        list(product(seeds, repeat=len(seeds))),
    )
    for draw in draws:
        means = {n: sign * np.mean([values[n][s] for s in draw]) for n in names}
        top = [n for n in names if abs(means[n] - max(means.values())) < 1e-9]
        for name in top:
            shares[name] += 1 / len(top) / len(draws)
            flattered = means[name] - sign * np.mean(values[name])
            optimism += flattered / len(top) / len(draws)
    return shares, optimism


@pytest.mark.parametrize(("sign", "metric"), [(1, "accuracy"), (-1, "mse")])
def test_shares_and_optimism_are_those_of_all_resamples(sign, metric):
    shares, optimism = every_resample(THREE, sign)
    frame = study(THREE, metric)
    found = win_shares(frame, resamples=40_000).set_index("teacher")["win_share"]
    for name, share in shares.items():
        assert found[name] == pytest.approx(share, abs=0.01)
    best = best_configurations(frame, resamples=40_000).iloc[0]
    means = {name: sign * np.mean(THREE[name]) for name in shares}
    assert best["teacher"] == max(means, key=means.__getitem__)
    assert best["optimism"] == pytest.approx(optimism, abs=0.01)
    assert best["optimism"] > 0
    assert best["difference_corrected"] == pytest.approx(
        best["difference"] - sign * best["optimism"]
    )
    assert (
        abs(best["difference_corrected"]) < abs(best["difference"]) or best["difference"] * sign < 0
    )


def test_a_clear_winner_wins_always_and_owes_nothing_to_luck():
    values = {"baseline": [80.0] * 4, "a": [90.0, 91.0, 92.0, 93.0], "b": [10.0, 11.0, 9.0, 10.0]}
    best = best_configurations(study(values)).iloc[0]
    assert (best["teacher"], best["win_share"], best["winners_often"], best["winners_95"]) == (
        "a", 1.0, 1, 1,
    )  # fmt: skip
    assert best["optimism"] == pytest.approx(0.0, abs=0.05)
    assert (best["mean"], best["difference"], best["n"], best["candidates"]) == (91.5, 11.5, 4, 2)


def test_equal_configurations_share_their_wins():
    own = [81.3, 82.1, 83.7]
    shares = win_shares(study({"a": own, "b": own, "c": own, "d": own}))
    assert shares["win_share"].tolist() == pytest.approx([0.25] * 4)
    assert shares["in_set_95"].all()
    assert shares["best"].sum() == 1


def test_the_set_is_the_smallest_that_holds_the_wins(published):
    shares = win_shares(published)
    for _, part in shares.groupby("dataset"):
        assert part["win_share"].sum() == pytest.approx(1.0)
        assert part["win_share"].is_monotonic_decreasing
        held = part.loc[part["in_set_95"], "win_share"]
        assert held.sum() >= 0.95 > held.iloc[:-1].sum()
        assert part["in_set_95"].is_monotonic_decreasing
        assert part["often"].tolist() == (part["win_share"] >= 0.05).tolist()


def test_a_configuration_wins_only_with_seeds_it_has():
    # "a" is far better on the one seed that "b" lacks, and has no other.
    values = {"a": [90.0, 91.0, None, None], "b": [80.0, 80.0, 80.0, 80.0]}
    frame = study(values)
    best = best_configurations(frame, resamples=20_000).iloc[0]
    assert (best["teacher"], best["seeds"], best["incomplete"], best["n"]) == ("a", 4, 1, 2)
    # "a" takes part unless all four draws miss its two seeds.
    assert best["win_share"] == pytest.approx(1 - 0.5**4, abs=0.01)


def test_one_lucky_seed_is_no_candidate():
    values = {"a": [99.0, None, None], "b": [80.0, 81.0, 82.0], "c": [80.0, 80.0, None]}
    shares = win_shares(study(values))
    assert set(shares["teacher"]) == {"b", "c"}
    alone = best_configurations(study({"a": [99.0], "b": [80.0]})).iloc[0]
    assert (alone["teacher"], alone["win_share"], alone["optimism"]) == ("a", 1.0, 0.0)


def test_draws_follow_from_the_seed_alone():
    both = pd.concat([grid(), grid("california_housing", "mse")])
    once, again = best_configurations(both), best_configurations(both)
    pd.testing.assert_frame_equal(once, again)
    alone = best_configurations(grid())
    row = once[once["dataset"] == "digits"].reset_index(drop=True)
    assert row["win_share"].tolist() == alone["win_share"].tolist()
    other = best_configurations(grid(), seed=1)
    assert other["win_share"].tolist() != alone["win_share"].tolist()


def test_of_equally_good_configurations_the_bootstrap_sees_about_70_percent_of_the_luck():
    # The winner of k equal ones looks better by c = E[max of k means]. A resampled mean varies by
    # chance twice, in the sample and in the resample, so the expected maximum is c * sqrt(2), of
    # which the resample's half, c / sqrt(2), is the estimate.
    rng = np.random.default_rng(5)
    lucky, estimated = [], []
    for _ in range(25):
        values = {f"t{i}": list(80 + rng.normal(size=40)) for i in range(30)}
        best = best_configurations(study(values), resamples=200).iloc[0]
        lucky.append(best["mean"] - 80)
        estimated.append(best["optimism"])
    assert np.mean(estimated) / np.mean(lucky) == pytest.approx(np.sqrt(0.5), abs=0.08)


def test_without_students_or_resamples():
    baselines = grid()[lambda f: f["role"] == "baseline"]
    assert best_configurations(baselines).empty
    assert win_shares(baselines).empty
    with pytest.raises(ValueError, match="resamples: 0 is below 1"):
        win_shares(grid(), resamples=0)


def test_published_best_configurations(published):
    best = best_configurations(published).set_index("dataset")
    cifar, california = best.loc["cifar10"], best.loc["california_housing"]
    assert (cifar["teacher"], cifar["alpha"], cifar["switch_epoch"]) == ("small", 0.9, 15)
    assert (california["teacher"], california["alpha"], california["switch_epoch"]) == (
        "small", 0.1, 200,
    )  # fmt: skip
    # An independent bootstrap: another generator, one resample at a time.
    for dataset, direction in (("cifar10", 1), ("california_housing", -1)):
        own = published[(published["dataset"] == dataset) & (published["role"] == "student")]
        wide = own.pivot_table(
            index="seed", columns=["teacher", "alpha", "switch_epoch"], values="test_metric"
        )
        values, full = direction * wide.to_numpy(), direction * wide.to_numpy().mean(axis=0)
        state = np.random.RandomState(11)
        wins, optimism = 0, []
        for _ in range(3000):
            means = values[state.randint(15, size=15)].mean(axis=0)
            wins += int(means.argmax() == full.argmax())
            optimism.append(means.max() - full[means.argmax()])
        row = best.loc[dataset]
        assert row["win_share"] == pytest.approx(wins / 3000, abs=0.035)
        assert row["optimism"] == pytest.approx(np.mean(optimism), rel=0.1)
