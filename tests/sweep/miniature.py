"""The home study in miniature: a few made-up rows of the real shapes, a few epochs, one seed.

What a study is about stays as it is: its datasets, networks, teachers and alphas. The other built-in
studies have tiny variants of their own.
"""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from data.catalog import DatasetEntry
from sweep.study import Recipe, Study, load_study
from tests.data.miniature import unpinned

HOME = ("quickstart", "thesis", "thesis-california", "thesis-cifar10", "thesis-fashion-mnist")
BATCH_ROWS = 8


def datasets() -> tuple[DatasetEntry, ...]:
    """The unpinned entries of all datasets of the home study."""
    names = sorted({dataset for name in HOME for dataset in load_study(name).datasets})
    return tuple(map(unpinned, names))


def shortened(name: str, *, epochs: int = 3, alphas: int | None = None) -> Study:
    """A built-in study of one seed, with two teachers of each kind, all of whose weights are kept.

    The learning rate is five times as high, so that something is learned in so few steps.

    Args:
        name: of the study.
        epochs: of the longest training; others, and switch epochs, in proportion.
        alphas: the first so many; None for all.
    """
    whole = load_study(name)
    overrides: dict[str, Any] = {"seeds": whole.seeds[:1], "evaluation.keep": "weights"}
    for dataset, section in whole.datasets.items():
        grid, teacher = section.grid, section.teacher
        share = Fraction(epochs, max(grid.epochs, default=section.recipe.epochs))
        changes: dict[str, dict[str, Any]] = {
            "recipe": _short_recipe(section.recipe, share),
            "grid": {
                "alpha": grid.alpha[:alphas],
                "switch_epoch": _short(grid.switch_epoch, share),
                "epochs": _short(grid.epochs, share),
            },
        }
        if grid.teacher:
            changes["teacher"] = {"seeds": (teacher.seeds or whole.seeds)[:2]}
        if teacher.recipe:
            changes["teacher.recipe"] = _short_recipe(section.teacher_recipe(), share)
        if section.split.train_size:
            changes["split"] = {"train_size": BATCH_ROWS}
        for table, keys in changes.items():
            for key, value in keys.items():
                overrides[f"datasets.{dataset}.{table}.{key}"] = value
    return load_study(name, overrides)


def _short(counts: Iterable[int], share: Fraction) -> list[int]:
    return sorted({math.ceil(count * share) for count in counts})


def _short_recipe(recipe: Recipe, share: Fraction) -> dict[str, Any]:
    rows = None if recipe.batch_size is None else BATCH_ROWS
    return {
        "epochs": math.ceil(recipe.epochs * share),
        "batch_size": rows,
        "learning_rate": 5 * recipe.learning_rate,
    }
