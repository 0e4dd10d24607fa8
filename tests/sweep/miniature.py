"""The built-in studies in miniature: a few made-up rows of the real shapes, a few epochs, one seed.

What a study is about stays as it is: its datasets, networks, teachers and alphas. Made for any
built-in study, so one that is added later is covered as well; where its networks are too large, or
its rows too few, for a process per trial, its tiny variant stands for it.
"""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from data.catalog import DatasetEntry
from sweep.study import SPLIT_AXES, Recipe, Study, builtin_names, load_study
from tests.data.miniature import unpinned

HOME = ("quickstart", "thesis", "thesis-california", "thesis-cifar10", "thesis-fashion-mnist")
BATCH_ROWS = 8
NOISY_ROWS = 40
"""Of which 5 % are some."""
LARGE = ("resnet18", "resnet50", "wide", "mobilenetv3", "vit")


def names() -> list[str]:
    """The built-in studies that have a miniature: all but those for which a tiny one stands."""
    return [name for name in builtin_names() if name.endswith("-tiny") or not _is_large(name)]


def _is_large(name: str) -> bool:
    """Whether networks are torchvision's, or the noise is of too few of a few made-up labels."""
    sections = load_study(name).datasets.values()
    networks = {network for one in sections for network in (*one.students, *one.grid.teacher)}
    return any(network.split("-")[0] in LARGE for network in networks) or any(
        one.split.label_noise or one.grid.label_noise for one in sections
    )


def datasets() -> tuple[DatasetEntry, ...]:
    """The unpinned entries of all datasets of built-in studies."""
    asked = sorted({dataset for name in names() for dataset in load_study(name).datasets})
    return tuple(map(unpinned, asked))


def shortened(name: str, *, epochs: int = 3, alphas: int | None = None) -> Study:
    """A built-in study of one seed, with two teachers of each kind, all of whose weights are kept.

    The learning rate of Adam is five times as high, so that something is learned in so few steps. Of
    axes that are about the data and of teachers' epochs the last value stands for all, and grids that
    depend on answers, and searches, are left out.

    Args:
        name: of the study.
        epochs: of the longest training; others, and switch epochs, in proportion.
        alphas: the first so many; None for all.
    """
    whole = load_study(name)
    overrides: dict[str, Any] = {"seeds": whole.seeds[:1], "evaluation.keep": "weights"}
    overrides |= {"expected": [], "then": [], "search": {}, "tune": None}
    for dataset, section in whole.datasets.items():
        grid, teacher = section.grid, section.teacher
        share = Fraction(epochs, max(grid.epochs, default=section.recipe.epochs))
        changes: dict[str, dict[str, Any]] = {
            "recipe": _short_recipe(section.recipe, share),
            "grid": {
                "alpha": grid.alpha[:alphas],
                "switch_epoch": _short(grid.switch_epoch, share),
                "begin_epoch": _short(grid.begin_epoch, share),
                "epochs": _short(grid.epochs, share),
                "teacher_epochs": _short(grid.teacher_epochs, share)[-1:],
                **{axis: getattr(grid, axis)[-1:] for axis in SPLIT_AXES},
            },
        }
        if grid.teacher:
            changes["teacher"] = {"seeds": (teacher.seeds or whole.seeds)[:2]}
        if teacher.recipe:
            changes["teacher.recipe"] = _short_recipe(section.teacher_recipe(), share)
        if section.split.train_size:
            noisy = section.split.label_noise or grid.label_noise
            changes["split"] = {"train_size": NOISY_ROWS if noisy else BATCH_ROWS}
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
        "learning_rate": (5 if recipe.optimizer == "adam" else 1) * recipe.learning_rate,
    }
