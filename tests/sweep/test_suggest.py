"""Suggestions: those of Optuna itself, a pure function of the history, in the study's own numbers."""

from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.suggest import Choice, Domain, Range, Settings, Suggester, Value, count, every

PLANE = (("x", Range(0.0, 1.0)), ("y", Range(0.0, 2.0)))


def score(values: dict[str, Any]) -> float:
    return -abs(values["x"] - 0.7) - abs(values["y"] - 0.2)


def asked(suggester: Suggester, times: int, told: Any = score) -> list[dict[str, Value]]:
    found = []
    for _ in range(times):
        number, values = suggester.ask() or (0, {})
        found.append(values)
        result = told(values)
        suggester.tell(number, None if result is None else (result,))
    return found


def test_they_are_those_of_optuna_asked_by_itself() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=3)
    )  # fmt: skip
    expected = []
    for number in range(20):
        trial = study.ask()
        values = {"x": trial.suggest_float("x", 0, 1), "y": trial.suggest_float("y", 0, 2)}
        expected.append(values)
        if number % 6 == 5:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, score(values))
    numbers = iter(range(20))
    found = asked(
        Suggester(Settings(PLANE, seed=3)), 20,
        lambda values: None if next(numbers) % 6 == 5 else score(values),
    )  # fmt: skip
    assert found == expected


def test_histories_beside_each_other_do_not_mix() -> None:
    settings_ = Settings(PLANE, seed=1)
    alone = asked(Suggester(settings_), 14)
    turned = asked(Suggester(settings_), 14, lambda values: -score(values))
    assert alone[:10] == turned[:10]  # drawn at random before there is a history
    assert alone[10:] != turned[10:]
    one, other = Suggester(settings_), Suggester(settings_)
    mixed: tuple[list[Any], list[Any]] = ([], [])
    for _ in range(14):
        mixed[0].extend(asked(one, 1))
        mixed[1].extend(asked(other, 1, lambda values: -score(values)))
    assert mixed == (alone, turned)
    assert asked(Suggester(settings_), 14) == alone


def test_what_was_known_before_steers_at_once() -> None:
    known = tuple(
        ((("x", x / 20), ("y", 0.0)), (-abs(x / 20 - 0.5),)) for x in range(20)
    )  # fmt: skip
    found = asked(Suggester(Settings(PLANE, known=known)), 12)
    far = asked(Suggester(Settings(PLANE)), 12)
    near = [abs(float(values["x"]) - 0.5) for values in found]
    assert sum(near) < sum(abs(float(values["x"]) - 0.5) for values in far)
    failed = tuple((values, None) for values, _ in known)
    assert asked(Suggester(Settings(PLANE, known=failed)), 3)  # no figures: nothing to go by


def test_several_objectives_know_what_was_before_too() -> None:
    space: tuple[tuple[str, Domain], ...] = (
        ("x", Range(0.0, 1.0, 0.1)), ("t", Choice(("a", "b"))),
    )  # fmt: skip
    known = (((("x", 0.3), ("t", "a")), (1.0, 2.0)), ((("x", 0.4), ("t", "b")), None))
    suggester = Suggester(Settings(space, objectives=2, known=known))
    for _ in range(12):
        number, values = suggester.ask() or (0, {})
        assert space[0][1].holds(values["x"]) == values["x"]
        suggester.tell(number, (float(values["x"]), -float(values["x"])))


def test_points_given_up_early_are_told_with_what_they_reached() -> None:
    suggester = Suggester(Settings(PLANE))
    for _ in range(15):
        number, values = suggester.ask() or (0, {})
        suggester.stop(number, [(1, score(values)), (3, score(values))])
    # Nothing was trained to its end, and yet suggestions follow the rungs: the last are near the best.
    _, values = suggester.ask() or (0, {})
    assert score(values) > -1.2


def test_a_grid_is_gone_through_in_its_order() -> None:
    space: tuple[tuple[str, Domain], ...] = (
        ("a", Range(0.1, 0.4, 0.1)), ("n", Range(1, 2, 1, whole=True)),
    )  # fmt: skip
    assert count(space) == 8
    suggester = Suggester(Settings(space, "grid"))
    found = [answer[1] for answer in iter(suggester.ask, None)]
    assert found == list(every(space))
    # As they would be written, not 0.30000000000000004.
    assert [values["a"] for values in found] == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4]
    assert [values["n"] for values in found[:3]] == [1, 2, 1]
    with pytest.raises(ValueError, match="finite"):
        Suggester(Settings(PLANE, "grid"))


@settings(max_examples=50, deadline=None)
@given(st.integers(-20, 20), st.integers(1, 40), st.sampled_from([0.1, 0.05, 0.25, 0.001]))
def test_values_with_a_step_are_those_one_would_write(low: int, steps: int, step: float) -> None:
    digits = 3
    domain = Range(round(low * step, digits), round((low + steps) * step, digits), step)
    assert domain.size == steps + 1
    points = [domain.at(number) for number in range(steps + 1)]
    assert all(len(repr(value).split(".")[1]) <= digits for value in points)
    assert all(domain.holds(float(value)) == value for value in points)
    assert domain.holds(float(points[0]) + step / 3) is None


def test_values_between_two_ends_may_be_rounded_and_stay_between_them() -> None:
    domain = Range(1 / 3, 2 / 3, digits=3)
    assert [domain.snapped(value) for value in (0.41234, 1 / 3, 0.66666)] == [0.412, 1 / 3, 2 / 3]
    assert Range(1e-4, 1e-1, digits=3).snapped(0.00123456) == 0.00123
    # What a grid had before is the same point with all its digits.
    assert domain.holds(0.41234) == 0.41234
    assert domain.holds(0.7) is None
    assert domain.holds("0.5") is None


def test_a_choice_holds_its_own_values_alone() -> None:
    choice = Choice((64, "full"))
    assert (choice.holds(64.0), choice.holds("full"), choice.holds(32)) == (64, "full", None)


@pytest.mark.filterwarnings("error")
def test_a_step_need_not_end_at_the_greatest_value() -> None:
    space: tuple[tuple[str, Domain], ...] = (
        ("a", Range(0.0, 1.0, 0.3)), ("n", Range(1, 8, 3, whole=True)),
    )  # fmt: skip
    found = asked(Suggester(Settings(space, "random")), 60, lambda values: 0.0)
    assert {values["a"] for values in found} == {0.0, 0.3, 0.6, 0.9}
    assert {values["n"] for values in found} == {1, 4, 7}


def test_every_sampler_gives_points_of_the_space() -> None:
    space: tuple[tuple[str, Domain], ...] = (
        ("rate", Range(1e-4, 1e-1, log=True)), ("n", Range(2, 8, 2, whole=True)),
        ("t", Choice(("a", "b"))),
    )  # fmt: skip
    for sampler in ("tpe", "random", "gp"):
        suggester = Suggester(Settings(space, sampler, parallel=True))  # type: ignore[arg-type]
        for values in asked(suggester, 12, lambda values: float(values["n"])):
            assert 1e-4 <= float(values["rate"]) <= 1e-1
            assert values["n"] in (2, 4, 6, 8)
            assert isinstance(values["n"], int)
            assert values["t"] in ("a", "b")
