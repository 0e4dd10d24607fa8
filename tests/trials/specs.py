"""Trials that tests are about; free of torch, as planning is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from data import DataSpec
from data.augment import Augment
from trials.spec import (
    EarlyStop,
    Guide,
    LrSchedule,
    Objective,
    Recipe,
    SoftLoss,
    Start,
    TeacherRule,
    Terms,
    TrialSpec,
    switched,
)

RULE = TeacherRule(("teacher-a", "teacher-b"), "test")
OTHER_RULE = TeacherRule(("teacher-c",), "validation", "loss")
CONSTANT, NEVER = LrSchedule(), EarlyStop()
THIRD_RULE = TeacherRule(("teacher-d",), "test")


def guided(
    alpha: float, *rules: TeacherRule, kind: SoftLoss = "kl", temperature: float = 1.0
) -> Objective:
    """`alpha` hard + `1 - alpha` soft, from equally weighted teachers."""
    guides = tuple(Guide(rule) for rule in rules or (RULE,))
    return Objective(alpha, 1 - alpha, kind, temperature, guides)


STUDENT = TrialSpec(38, DataSpec("digits"), Recipe("student", 64), switched(guided(0.6), 5, 15))


def at(objective: Objective, switch_epoch: int) -> TrialSpec:
    return replace(STUDENT, schedule=switched(objective, switch_epoch, 15))


def scheduled(lr_schedule: LrSchedule = CONSTANT, early_stop: EarlyStop = NEVER) -> TrialSpec:
    recipe = replace(STUDENT.recipe, lr_schedule=lr_schedule, early_stop=early_stop)
    rows = replace(STUDENT.data, validation=0.1) if recipe.watches_validation else STUDENT.data
    return replace(STUDENT, data=rows, recipe=recipe)


def mixture(*weights: float) -> Objective:
    rules = (RULE, OTHER_RULE, THIRD_RULE)
    return Objective(
        0.5, 0.5, guides=tuple(Guide(r, w) for r, w in zip(rules, weights, strict=False))
    )


def _data(**options: Any) -> TrialSpec:
    return replace(STUDENT, data=DataSpec("digits", **options))


def _chosen(pool: tuple[str, ...] = RULE.pool, **changes: str) -> TrialSpec:
    rule = TeacherRule(pool, **{"select_on": "test", **changes})  # type: ignore[arg-type]
    return at(guided(0.6, rule), 5)


def _recipe(**options: Any) -> TrialSpec:
    return replace(STUDENT, recipe=Recipe("student", 64, **options))


def _terms(**terms: Any) -> TrialSpec:
    return at(replace(guided(0.6), terms=Terms(**terms)), 5)


DIFFERENT: dict[str, Callable[[], TrialSpec]] = {
    "itself": lambda: STUDENT,
    "seed": lambda: replace(STUDENT, seed=39),
    "dataset": lambda: replace(STUDENT, data=DataSpec("cifar10")),
    "train_size": lambda: replace(STUDENT, data=DataSpec("digits", 200)),
    "validation": lambda: replace(STUDENT, data=DataSpec("digits", validation=0.1)),
    "split_seed": lambda: replace(STUDENT, data=DataSpec("digits", 200, split_seed=1)),
    "train_fraction": lambda: _data(train_fraction=0.5),
    "classes": lambda: _data(classes=(0, 1)),
    "other classes": lambda: _data(classes=(0, 2)),
    "scaling": lambda: _data(scaling="standard"),
    "imagenet's scaling": lambda: replace(STUDENT, data=DataSpec("cifar10", scaling="imagenet")),
    "image_size": lambda: _data(image_size=16),
    "label_noise": lambda: _data(label_noise=0.2),
    "label_noise_part": lambda: _data(label_noise=0.2, label_noise_part=0.5),
    "regression": lambda: replace(STUDENT, data=DataSpec("california_housing")),
    "target_noise": lambda: replace(STUDENT, data=DataSpec("california_housing", target_noise=0.1)),
    "corruption": lambda: _data(corruption="blur", corruption_strength=0.5),
    "another corruption": lambda: _data(corruption="center-black", corruption_strength=0.5),
    "corruption_strength": lambda: _data(corruption="blur", corruption_strength=1),
    "corruption_fraction": lambda: _data(
        corruption="blur", corruption_strength=0.5, corruption_fraction=0.5
    ),
    "corruption_on": lambda: _data(corruption="blur", corruption_strength=0.5, corruption_on="all"),
    "model": lambda: replace(STUDENT, recipe=Recipe("large", 64)),
    "batch_size": lambda: replace(STUDENT, recipe=Recipe("student", 32)),
    "whole batch": lambda: replace(STUDENT, recipe=Recipe("student", None)),
    "optimizer": lambda: replace(STUDENT, recipe=Recipe("student", 64, "sgd")),
    "momentum": lambda: replace(STUDENT, recipe=Recipe("student", 64, "sgd", momentum=0.9)),
    "learning_rate": lambda: replace(STUDENT, recipe=Recipe("student", 64, learning_rate=0.01)),
    "weight_decay": lambda: replace(STUDENT, recipe=Recipe("student", 64, weight_decay=0.01)),
    "init": lambda: replace(STUDENT, recipe=Recipe("student", 64, init="he")),
    "precision": lambda: replace(STUDENT, recipe=Recipe("student", 64, precision="bfloat16")),
    "lr_schedule": lambda: scheduled(LrSchedule("step", 0.1, (10,))),
    "early_stop": lambda: scheduled(early_stop=EarlyStop(5, monitor="train_loss")),
    "shuffle": lambda: _recipe(shuffle=False),
    "augment": lambda: _recipe(augment=Augment(flip=True)),
    "flip": lambda: _recipe(augment=Augment(flip=True, pad=1)),
    "pad": lambda: _recipe(augment=Augment(pad=2)),
    "rotation": lambda: _recipe(augment=Augment(rotation=15)),
    "terms": lambda: _terms(noisy=0.5, amplitude=0.1),
    "noisy": lambda: _terms(noisy=0.4, amplitude=0.1),
    "amplitude": lambda: _terms(noisy=0.5, amplitude=0.2),
    "anchor": lambda: _terms(anchor=0.5, anchor_to=RULE),
    "anchor_to": lambda: _terms(anchor=0.5, anchor_to=OTHER_RULE),
    "anchor_distance": lambda: _terms(anchor=0.5, anchor_to=RULE, anchor_distance="norm"),
    "weaker anchor": lambda: _terms(anchor=0.25, anchor_to=RULE),
    "curvature": lambda: _terms(curvature=0.5),
    "curvature_gradient": lambda: _terms(curvature=0.5, curvature_gradient=False),
    "trains": lambda: at(replace(guided(0.6), trains="head"), 5),
    "start": lambda: replace(STUDENT, start=Start(RULE)),
    "source": lambda: replace(STUDENT, start=Start(OTHER_RULE)),
    "growth": lambda: replace(STUDENT, start=Start(RULE, "zero-pad")),
    "head": lambda: replace(STUDENT, start=Start(RULE, "zero-pad", "new")),
    "pretrained": lambda: replace(STUDENT, start=Start(pretrained="sha256:1")),
    "switch_epoch": lambda: at(guided(0.6), 6),
    "epochs": lambda: replace(STUDENT, schedule=switched(guided(0.6), 5, 16)),
    "baseline": lambda: at(guided(0.6), 0),
    "alpha": lambda: at(guided(0.9), 5),
    "hard": lambda: at(replace(guided(0.6), hard=0.7), 5),
    "soft": lambda: at(replace(guided(0.6), soft=0.7), 5),
    "soft_loss": lambda: at(guided(0.6, kind="mse"), 5),
    "temperature": lambda: at(guided(0.6, temperature=2.0), 5),
    "weaker hard loss": lambda: at(Objective(hard=0.5), 5),
    "select_on": lambda: _chosen(select_on="validation"),
    "select_by": lambda: _chosen(select_by="loss"),
    "pool": lambda: _chosen(("teacher-a",)),
    "larger pool": lambda: _chosen((*RULE.pool, "teacher-c")),
    "two teachers": lambda: at(guided(0.6, RULE, OTHER_RULE), 5),
    "weights": lambda: at(Objective(0.6, 0.4, guides=mixture(1, 3).guides), 5),
    "weights, turned": lambda: at(Objective(0.6, 0.4, guides=mixture(3, 1).guides), 5),
}
