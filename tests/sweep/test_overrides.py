"""`--set`: a key for every dataset or for one, with a value as TOML writes it."""

from typing import Any

import pytest

from sweep.errors import StudyError
from sweep.study import load_study

RAW: dict[str, Any] = {
    "name": "two",
    "seeds": [1],
    "grid": {"teacher": ["small"], "alpha": [0.5], "switch_epoch": [1]},
    "recipe": {"epochs": 5, "batch_size": 32},
    "teacher": {"select_on": "test"},
    "datasets": {"digits": {"recipe": {"epochs": 9}}, "mnist": {}},
}


def epochs(*overrides: str) -> tuple[int, int]:
    study = load_study(RAW, overrides)
    return study.datasets["digits"].recipe.epochs, study.datasets["mnist"].recipe.epochs


def test_a_dataset_overrides_a_section_only_in_the_keys_it_gives() -> None:
    assert epochs() == (9, 5)
    assert load_study(RAW).datasets["digits"].recipe.batch_size == 32


def test_a_section_key_holds_for_every_dataset_also_over_its_own() -> None:
    assert epochs("recipe.epochs=2") == (2, 2)


def test_a_dataset_key_holds_for_that_dataset_alone() -> None:
    assert epochs("datasets.digits.recipe.epochs=2") == (2, 5)
    assert epochs("datasets.mnist.recipe.epochs=2") == (9, 2)


def test_later_overrides_win() -> None:
    assert epochs("recipe.epochs=2", "datasets.mnist.recipe.epochs=3") == (2, 3)
    assert epochs("datasets.mnist.recipe.epochs=3", "recipe.epochs=2") == (2, 2)


def test_the_california_part_of_the_thesis_can_be_made_short() -> None:
    short = load_study("thesis", ["recipe.epochs=3", "grid.switch_epoch=[1, 3]", "seeds=[38]"])
    for dataset in short.datasets.values():
        assert dataset.recipe.epochs == 3
        assert dataset.grid.switch_epoch == (1, 3)
    assert short.seeds == (38,)
    assert short.datasets["california_housing"].recipe.batch_size is None


@pytest.mark.parametrize(
    ("override", "where", "value"),
    [
        ("title=plain text", ("title",), "plain text"),
        ("title='in quotes'", ("title",), "in quotes"),
        ('recipe.batch_size="full"', ("datasets", "digits", "recipe", "batch_size"), None),
        ("recipe.batch_size=full", ("datasets", "digits", "recipe", "batch_size"), None),
        ("recipe.learning_rate=1e-3", ("datasets", "digits", "recipe", "learning_rate"), 0.001),
        ("recipe.optimizer = sgd", ("datasets", "digits", "recipe", "optimizer"), "sgd"),
        ("seeds=[3, 1]", ("seeds",), (3, 1)),
        ("grid.alpha = [0, 1.0]", ("datasets", "mnist", "grid", "alpha"), (0.0, 1.0)),
        (
            "grid.switch_epoch={start=0, stop=4, step=2}",
            ("datasets", "mnist", "grid", "switch_epoch"),
            (0, 2, 4),
        ),
        ("datasets.mnist.baseline=false", ("datasets", "mnist", "baseline"), False),
        ("teacher.recipe.epochs=7", ("datasets", "mnist", "teacher", "recipe"), {"epochs": 7}),
    ],
)
def test_values_are_read_as_toml_and_anything_else_as_text(
    override: str, where: tuple[str, ...], value: object
) -> None:
    found: Any = load_study(RAW, [override])
    for key in where:
        found = found[key] if isinstance(found, dict) else getattr(found, key)
    assert found == value


STEPPED: dict[str, Any] = {
    **RAW,
    "split": {"validation": 0.1},
    "recipe": {
        **RAW["recipe"], "lr_schedule": {"kind": "step", "factor": 0.1, "milestones": [3]},
    },
    "datasets": {
        "digits": {"recipe": {"lr_schedule": {"milestones": [4]}}},
        "mnist": {
            "recipe": {"lr_schedule": {"kind": "plateau", "factor": 0.5, "patience": 2}},
        },
    },
}  # fmt: skip


def schedules(*overrides: str) -> tuple[str, str]:
    study = load_study(STEPPED, overrides)
    return (
        str(study.datasets["digits"].recipe.lr_schedule.over(5)),
        str(study.datasets["mnist"].recipe.lr_schedule.over(5)),
    )


def test_a_table_of_another_kind_is_whole_and_one_of_the_same_kind_is_merged() -> None:
    plateau = "plateau(factor=0.5, minimum=0.0, patience=2, threshold=0.0001, monitor={})"
    assert schedules() == ("step(factor=0.1, milestones=[4])", plateau.format("validation_loss"))
    assert schedules("datasets.mnist.recipe.lr_schedule.monitor=train_loss")[1] == (
        plateau.format("train_loss")
    )


def test_another_kind_may_be_set_and_what_belonged_to_the_old_one_falls_away() -> None:
    assert schedules("recipe.lr_schedule.kind=constant") == ("constant", "constant")
    cosine = "cosine(horizon=5, minimum=0.0, warmup_epochs=2)"
    assert schedules("recipe.lr_schedule.kind=cosine", "recipe.lr_schedule.warmup_epochs=2") == (
        cosine, cosine,
    )  # fmt: skip
    # In any order.
    assert schedules("recipe.lr_schedule.warmup_epochs=2", "recipe.lr_schedule.kind=cosine") == (
        cosine, cosine,
    )  # fmt: skip
    assert schedules("datasets.mnist.recipe.lr_schedule.kind=constant")[1] == "constant"
    assert schedules("datasets.mnist.recipe.lr_schedule.kind=constant")[0] == schedules()[0]


def test_the_same_kind_may_be_set_again() -> None:
    step = "step(factor=0.1, milestones=[3])"
    assert schedules("recipe.lr_schedule.kind=step") == (step, step)


def test_overrides_come_as_a_mapping_a_list_or_one_text() -> None:
    wanted = load_study(RAW, ["recipe.epochs=2"])
    assert load_study(RAW, {"recipe.epochs": 2}) == wanted
    assert load_study(RAW, "recipe.epochs=2") == wanted


def test_the_given_mapping_is_left_as_it_was() -> None:
    before = repr(RAW)
    load_study(RAW, ["recipe.epochs=2", "grid.alpha=[0.25]"])
    assert repr(RAW) == before


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("recipe.epochs", ["recipe.epochs", "key=value"]),
        ("=2", ["'=2'", "key=value"]),
        (".epochs=2", ["key=value"]),
        ("recipe..epochs=2", ["key=value"]),
        ("name.x=2", ["name.x = 2", "name is not a section"]),
        ("seeds.first=2", ["seeds.first", "seeds is not a section"]),
        ("grid.alpha.x=2", ["grid.alpha is not a section"]),
        ("recipe.epoch=2", ["'recipe.epoch'", "did you mean epochs"]),
        ("kind=cosine", ["unknown key 'kind'"]),
        ("recipe.kind=cosine", ["unknown key 'recipe.kind'"]),
        ("recipe.lr_schedule.kind=linear", ["recipe.lr_schedule.kind = 'linear'", "'cosine'"]),
        ("recipe.epochs=two", ["recipe.epochs = 'two'", "number"]),
        ("recipe.epochs=2\nalpha=1", ["recipe.epochs", "number"]),
        ("recipe.epochs=" + "9" * 5000, ["recipe.epochs", "number"]),
        ("recipe.epochs=" + "[" * 100 + "]" * 100, ["recipe.epochs", "nested"]),
        ("datasets.cats.recipe.epochs=2", ["datasets.cats", "digits"]),
    ],
)
def test_a_bad_override_is_named(override: str, parts: list[str]) -> None:
    with pytest.raises(StudyError) as caught:
        load_study(RAW, [override])
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("key", ["", "recipe.", 5, None])
def test_a_bad_key_of_a_mapping_is_named(key: Any) -> None:
    with pytest.raises(StudyError, match="dotted key"):
        load_study(RAW, {key: 1})
