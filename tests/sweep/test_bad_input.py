"""A mistake is refused at once: the message names the key, the value and what is allowed."""

import copy
import math
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sweep.errors import StudyError
from sweep.expand import cells, expand, smoke_study
from sweep.follow import Finding
from sweep.study import MAX_STUDY_BYTES, SECTIONS, Study, count_cells, load_study

GOOD: dict[str, Any] = {
    "name": "good",
    "seeds": [1, 2],
    "grid": {"teacher": ["small"], "alpha": [0.5], "switch_epoch": [1, 3]},
    "recipe": {"epochs": 3, "batch_size": 32},
    "teacher": {"select_on": "test"},
    "datasets": {"digits": {}},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """The good study with one key set."""
    raw = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    table = raw
    for key in parents:
        table = table.setdefault(key, {})
    table[last] = value
    return raw


def refusal(source: Any, overrides: Any = ()) -> str:
    """The message with which a study is refused, within a second of work."""
    began = time.process_time()
    with pytest.raises(StudyError) as caught:
        load_study(source, overrides)
    assert time.process_time() - began < 1
    return str(caught.value)


def test_the_good_study_is_good() -> None:
    assert len(cells(load_study(GOOD))) == 2 + 2 + 4


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        # Unknown things
        ("gird", {}, ["'gird'", "did you mean grid"]),
        ("recipe.epoch", 3, ["'recipe.epoch'", "did you mean epochs"]),
        ("grid.alphas", [0.5], ["'grid.alphas'", "did you mean alpha"]),
        ("datasets.digits.grid.swich_epoch", [1], ["datasets.digits.grid.swich_epoch"]),
        ("datasets.digits.studnet", "large", ["datasets.digits.studnet", "did you mean student"]),
        ("teacher.recipe", {"epoch": 3}, ["teacher.recipe.epoch", "did you mean epochs"]),
        ("datasets", {"digit": {}}, ["datasets.digit", "'digit'", "cifar10", "digits"]),
        ("datasets.digits.student", "huge", ["datasets.digits.student", "'huge'", "large"]),
        ("grid.teacher", ["tiny"], ["grid.teacher", "'tiny'", "small", "medium"]),
        ("recipe.init", "kaiming", ["recipe.init", "'kaiming'", "'he'", "'xavier'", "'lecun'"]),
        ("recipe.optimizer", "adamw", ["recipe.optimizer", "'adamw'", "'adam'", "'sgd'"]),
        ("recipe.soft_loss", "l1", ["recipe.soft_loss", "'l1'", "'kl'", "'mse'"]),
        ("recipe.precision", "float16", ["recipe.precision", "'float16'", "'bfloat16'"]),
        ("recipe.lr_schedule", "cosine", ["recipe.lr_schedule = 'cosine'", "section"]),
        ("recipe.lr_schedule", {"knd": "step"}, ["'recipe.lr_schedule.knd'", "mean kind"]),
        ("recipe.lr_schedule", {"factor": 0.1}, ["recipe.lr_schedule.kind: missing"]),
        ("recipe.lr_schedule.kind", "linear", ["lr_schedule.kind = 'linear'", "'cosine'"]),
        ("recipe.early_stop", 3, ["recipe.early_stop = 3", "section"]),
        ("recipe.early_stop.wait", 3, ["'recipe.early_stop.wait'", "patience"]),
        ("recipe.early_stop.monitor", "test_loss", ["'test_loss'", "'validation_loss'"]),
        ("teacher.recipe", {"lr_schedule": 1}, ["teacher.recipe.lr_schedule = 1", "section"]),
        (
            "teacher.recipe", {"early_stop": {"pation": 1}},
            ["'teacher.recipe.early_stop.pation'", "did you mean patience"],
        ),
        ("evaluation.keep", "all", ["evaluation.keep", "'all'", "'weights'"]),
        ("teacher.select_on", "train", ["teacher.select_on", "'train'", "'test'", "'validation'"]),
        ("teacher.select_by", "f1", ["teacher.select_by", "'f1'", "'metric'", "'loss'"]),
        # Wrong types
        ("recipe.epochs", "3", ["recipe.epochs = '3'", "number"]),
        ("recipe.epochs", True, ["recipe.epochs = true", "number"]),
        ("recipe.epochs", 2.5, ["recipe.epochs = 2.5", "whole number"]),
        ("recipe.epochs", [3], ["recipe.epochs = [3]", "whole number"]),
        ("recipe.epochs", None, ["recipe.epochs", "whole number"]),
        ("recipe.learning_rate", "0.1", ["recipe.learning_rate = '0.1'", "number"]),
        ("recipe.learning_rate", False, ["recipe.learning_rate = false", "number"]),
        ("recipe.batch_size", "big", ["recipe.batch_size = 'big'", "'full'"]),
        ("grid.alpha", 0.5, ["grid.alpha = 0.5", "list"]),
        ("grid.alpha", ["0.5"], ["grid.alpha[0] = '0.5'", "number"]),
        ("grid.alpha", [True], ["grid.alpha[0] = true", "number"]),
        ("grid.alpha", {"a": 1}, ["grid.alpha", "list"]),
        ("grid.teacher", "small", ["grid.teacher = 'small'", "list"]),
        ("grid.teacher", [3], ["grid.teacher[0] = 3", "text"]),
        ("seeds", 5, ["seeds = 5", "list"]),
        ("seeds", ["a"], ["seeds[0] = 'a'", "number"]),
        ("seeds", [1.5], ["seeds[0] = 1.5", "whole number"]),
        ("name", 3, ["name = 3", "text"]),
        ("title", date(2025, 1, 1), ["title", "2025-01-01", "text"]),
        ("datasets.digits.baseline", "yes", ["datasets.digits.baseline = 'yes'", "true or false"]),
        ("datasets.digits.baseline", 1, ["datasets.digits.baseline = 1", "true or false"]),
        ("recipe", [1], ["recipe = [1]", "section"]),
        ("datasets", ["digits"], ['datasets = ["digits"]', "section", "[datasets.digits]"]),
        ("datasets", [{}], ["datasets", "section"]),
        ("datasets", 5, ["datasets = 5", "section"]),
        ("datasets", {}, ["datasets", "at least one", "digits"]),
        ("datasets.digits", 5, ["datasets.digits = 5", "section"]),
        ("teacher.recipe", "x", ["teacher.recipe = 'x'", "section"]),
        # Values out of range
        ("recipe.epochs", -1, ["recipe.epochs = -1", "greater than or equal to 1"]),
        ("recipe.epochs", 10**7 + 1, ["recipe.epochs = 10000001", "10000000"]),
        ("grid.epochs", [10**7 + 1], ["grid.epochs[0] = 10000001", "10000000"]),
        ("recipe.epochs", 2**63, ["recipe.epochs", "64"]),
        ("recipe.batch_size", 0, ["recipe.batch_size = 0", "1"]),
        ("recipe.learning_rate", 0, ["recipe.learning_rate = 0", "greater than 0"]),
        ("recipe.learning_rate", math.nan, ["recipe.learning_rate = NaN", "finite"]),
        ("recipe.learning_rate", math.inf, ["recipe.learning_rate = Infinity", "finite"]),
        ("recipe.weight_decay", -0.1, ["recipe.weight_decay = -0.1", "0"]),
        ("recipe.momentum", 0.9, ["recipe", "momentum", "'sgd'"]),
        ("teacher.recipe", {"momentum": 0.9}, ["teacher.recipe:", "momentum", "'sgd'"]),
        ("teacher.recipe", {"epochs": 0}, ["teacher.recipe.epochs = 0", "1"]),
        ("teacher.recipe", {"epochs": "3"}, ["teacher.recipe.epochs = '3'", "number"]),
        ("grid.alpha", [1.1], ["grid.alpha[0] = 1.1", "less than or equal to 1"]),
        ("grid.alpha", [-0.1], ["grid.alpha[0] = -0.1", "greater than or equal to 0"]),
        ("grid.alpha", [math.nan], ["grid.alpha[0] = NaN", "finite"]),
        ("grid.temperature", [0], ["grid.temperature[0] = 0", "greater than 0"]),
        ("grid.switch_epoch", [-1], ["grid.switch_epoch[0] = -1", "0"]),
        ("grid.switch_epoch", [1, 4], ["grid.switch_epoch = 4", "0..3", "past_end"]),
        ("grid.epochs", [3, 2], ["switch_epoch = 3", "0..2"]),
        ("evaluation.fgsm_epsilons", [-0.1], ["evaluation.fgsm_epsilons[0] = -0.1", "0"]),
        ("evaluation.pgd_epsilons", [-0.1], ["evaluation.pgd_epsilons[0] = -0.1", "0"]),
        ("evaluation.pgd_steps", 0, ["evaluation.pgd_steps = 0", "1"]),
        ("evaluation.pgd_steps", 1001, ["evaluation.pgd_steps = 1001", "1000"]),
        ("evaluation.pgd_step_size", 0, ["evaluation.pgd_step_size = 0", "greater than 0"]),
        ("evaluation.pgd_random_start", 1, ["evaluation.pgd_random_start = 1", "true or false"]),
        ("evaluation.input_noise", [math.inf], ["evaluation.input_noise[0] = Infinity", "finite"]),
        (
            "evaluation.input_noise_kind", "pink",
            ["evaluation.input_noise_kind = 'pink'", "'gaussian' or 'uniform'"],
        ),
        ("evaluation.weight_noise", ["a"], ["evaluation.weight_noise[0] = 'a'", "number"]),
        (
            "evaluation.weight_noise_kind", "large",
            ["evaluation.weight_noise_kind = 'large'", "'absolute' or 'relative'"],
        ),
        ("evaluation.noise_repeats", 0, ["evaluation.noise_repeats = 0", "1"]),
        (
            "evaluation.fgsm_samples", "wrong",
            ["evaluation.fgsm_samples = 'wrong'", "'correct' or 'all'"],
        ),
        ("evaluation.fgsm_clip", 0, ["evaluation.fgsm_clip = 0", "true or false"]),
        (
            "evaluation.weight_noise_redraw", "epoch",
            ["evaluation.weight_noise_redraw = 'epoch'", "'repeat' or 'batch'"],
        ),
        ("evaluation.validation", 1, ["evaluation.validation = 1", "true or false"]),
        ("evaluation.every_epochs", -1, ["evaluation.every_epochs = -1", "0"]),
        ("seeds", [-1], ["seeds[0] = -1", "0"]),
        ("split.validation", 1.0, ["split.validation = 1.0", "less than 1"]),
        ("split.validation", 0.9999, ["split", "0.9999", "1437"]),
        ("split.train_size", 0, ["split.train_size = 0", "1"]),
        ("split.train_size", 1438, ["split", "train_size = 1438", "at most 1437"]),
        # Tables within the recipe
        ("recipe.lr_schedule.kind", "step", ["recipe.lr_schedule.factor: missing", "'step'"]),
        (
            "recipe.lr_schedule", {"kind": "step", "factor": 0.1},
            ["recipe.lr_schedule.milestones: missing"],
        ),
        (
            "recipe.lr_schedule", {"kind": "exponential", "factor": 1.5},
            ["recipe.lr_schedule.factor = 1.5", "above 0 and below 1"],
        ),
        (
            "recipe.lr_schedule", {"kind": "exponential", "factor": "x"},
            ["recipe.lr_schedule.factor = 'x'", "number"],
        ),
        (
            "recipe.lr_schedule", {"kind": "step", "factor": 0.1, "milestones": [3, 2]},
            ["recipe.lr_schedule.milestones = [3, 2]", "ascending"],
        ),
        (
            "recipe.lr_schedule", {"kind": "step", "factor": 0.1, "milestones": 3},
            ["recipe.lr_schedule.milestones = 3", "list"],
        ),
        (
            "recipe.lr_schedule", {"kind": "cosine", "patience": 3},
            ["recipe.lr_schedule.patience = 3", "left out unless kind is plateau"],
        ),
        (
            "recipe.lr_schedule", {"kind": "cosine", "minimum": 0.5},
            ["recipe.lr_schedule.minimum = 0.5", "at most learning_rate, 0.001"],
        ),
        (
            "datasets.digits.recipe.lr_schedule", {"kind": "cosine", "horizon": 0},
            ["datasets.digits.recipe.lr_schedule.horizon = 0", "1 or more"],
        ),
        (
            "teacher.recipe", {"lr_schedule": {"kind": "step"}},
            ["teacher.recipe.lr_schedule.factor: missing"],
        ),
        ("recipe.early_stop.patience", -1, ["recipe.early_stop.patience = -1", "0 or more"]),
        ("recipe.early_stop.patience", 1.5, ["recipe.early_stop.patience = 1.5", "whole number"]),
        ("recipe.early_stop.min_delta", -1, ["recipe.early_stop.min_delta = -1.0", "0 or more"]),
        ("recipe.early_stop.min_delta", math.inf, ["min_delta = Infinity", "finite"]),
        ("recipe.early_stop.restore_best", 1, ["restore_best = 1", "true or false"]),
        # Empty or twice
        ("grid.alpha", [], ["empty grid", "alpha"]),
        ("grid.teacher", [], ["empty grid", "teacher"]),
        ("grid.switch_epoch", [], ["empty grid", "switch_epoch"]),
        ("grid.temperature", [], ["empty grid", "temperature"]),
        ("seeds", [], ["seeds = []", "at least one"]),
        ("teacher.seeds", [], ["teacher.seeds = []", "at least one"]),
        ("seeds", [1, 2, 1], ["seed 1 is given twice"]),
        ("teacher.seeds", [7, 7], ["seed 7 is given twice"]),
        ("grid.alpha", [0.5, 0.5], ["grid", "alpha = 0.5 is given twice"]),
        ("grid.alpha", [1, 1.0], ["grid", "alpha", "twice"]),
        ("evaluation.fgsm_epsilons", [0.1, 0.1], ["fgsm_epsilons", "0.1 is given twice"]),
        ("evaluation.weight_noise", [0.1, 0.1], ["weight_noise", "0.1 is given twice"]),
        # Ranges
        ("grid.switch_epoch", {"start": 1}, ["grid.switch_epoch", "{start = 1, stop = 15"]),
        ("grid.switch_epoch", {"start": 1, "stop": 2, "end": 3}, ["grid.switch_epoch", "stop"]),
        ("grid.switch_epoch", {"start": "1", "stop": 2}, ["grid.switch_epoch", "whole numbers"]),
        ("grid.switch_epoch", {"start": 1, "stop": 2.5}, ["grid.switch_epoch", "whole numbers"]),
        ("grid.switch_epoch", {"start": True, "stop": 2}, ["grid.switch_epoch", "whole numbers"]),
        ("grid.switch_epoch", {"start": 2, "stop": 1}, ["grid.switch_epoch", "stop >= start"]),
        ("grid.switch_epoch", {"start": 1, "stop": 2, "step": 0}, ["step >= 1"]),
        ("grid.switch_epoch", {"start": -3, "stop": 2}, ["grid.switch_epoch[0] = -3", "0"]),
        ("grid.switch_epoch", {"start": 1, "stop": 10**9}, ["grid.switch_epoch", "at most"]),
        # More than one section
        ("teacher.select_on", "validation", ["select_on = 'validation'", "split.validation"]),
        ("evaluation.validation", True, ["evaluation.validation = true", "split.validation"]),
        (
            "recipe.lr_schedule", {"kind": "plateau", "factor": 0.5, "patience": 1},
            ["recipe.lr_schedule.monitor = 'validation_loss'", "split.validation", "train_loss"],
        ),
        (
            "recipe.early_stop", {"patience": 3, "monitor": "validation_metric"},
            ["recipe.early_stop.monitor = 'validation_metric'", "split.validation"],
        ),
        (
            "recipe.early_stop.restore_best", True,
            ["recipe.early_stop.monitor = 'validation_loss'", "split.validation"],
        ),
        (
            "teacher.recipe", {"early_stop": {"patience": 3}},
            ["teacher.recipe.early_stop.monitor = 'validation_loss'", "split.validation"],
        ),
        # Axes
        ("grid.student", ["huge"], ["grid.student", "'huge'", "large"]),
        ("grid.start", ["zeropad"], ["grid.start = 'zeropad'", "did you mean zero-pad"]),
        ("grid.ramp", ["liner"], ["grid.ramp = 'liner'", "did you mean linear"]),
        ("grid.begin_epoch", [1], ["grid.begin_epoch = 1", "below every switch_epoch", "one is 1"]),
        ("grid.begin_epoch", [-1], ["grid.begin_epoch[0] = -1", "0"]),
        ("grid.teacher", ["small+small"], ["grid.teacher", "'small' is given twice"]),
        ("grid.teacher", ["small:0"], ["grid.teacher", "'small:0'", "weights above 0"]),
        ("grid.teacher", ["small:x+large"], ["grid.teacher", "'small:x+large'", "above 0"]),
        ("grid.teacher", ["small+huge"], ["grid.teacher", "'huge'", "large"]),
        ("grid.train_fraction", [1.5], ["grid.train_fraction", "1.5", "at most 1"]),
        ("grid.label_noise", [1.0], ["grid.label_noise", "1.0", "below 1"]),
        ("grid.target_noise", [0.1], ["grid.target_noise", "0.1", "no regression"]),
        ("grid.corruption", ["fog"], ["grid.corruption[0] = 'fog'", "'blur'"]),
        ("grid.corruption", ["blur"], ["grid.corruption", "corruption_strength"]),
        ("grid.teacher_epochs", [0], ["grid.teacher_epochs[0] = 0", "1"]),
        # Rows and recipes
        ("split.classes", [11], ["split", "classes", "11"]),
        ("split.scaling", "log", ["split.scaling = 'log'", "'symmetric'"]),
        ("split.image_size", 0, ["split.image_size = 0", "1"]),
        ("split.label_noise", -0.1, ["split.label_noise = -0.1", "0"]),
        ("split.corruption_on", "test", ["split.corruption_on = 'test'", "'train' or 'all'"]),
        ("recipe.shuffle", "no", ["recipe.shuffle = 'no'", "true or false"]),
        ("recipe.frozen_epochs", -1, ["recipe.frozen_epochs = -1", "0"]),
        ("recipe.pretrained", "", ["recipe.pretrained = ''", "1 character"]),
        ("recipe.pretrained", "nowhere.pt", ["recipe.pretrained", "nowhere.pt"]),
        ("recipe.augment", {"pad": -1}, ["recipe.augment.pad = -1", "0"]),
        ("recipe.augment", {"rotation": 181}, ["recipe.augment.rotation = 181", "180"]),
        ("recipe.augment", {"flop": True}, ["'recipe.augment.flop'", "did you mean flip"]),
        ("teacher.match", "all", ["teacher.match = 'all'", "'best' or 'seed'"]),
        (
            "teacher", {"match": "seed", "seeds": [1]},
            ["teacher.match = 'seed'", "every seed", "teacher.seeds lacks 2"],
        ),
        ("teacher.split", {"clases": [1]}, ["'teacher.split.clases'", "did you mean classes"]),
        ("teacher.split", {"scaling": "unit"}, ["teacher.split.scaling = 'unit'", "'symmetric'"]),
        ("teacher.split", {"image_size": 4}, ["teacher.split.image_size = 4", "of the students"]),
        ("teacher.split", {"label_noise": 2}, ["teacher.split.label_noise = 2", "less than 1"]),
        ("ramps", {"mine": [1.5]}, ["ramps.mine[0] = 1.5", "1"]),
        ("ramps", {"mine": 1}, ["ramps.mine = 1", "list"]),
        # What students begin with
        ("starts", {"x": {"grwth": "copy"}}, ["'starts.x.grwth'", "did you mean growth"]),
        ("starts", {"x": {"growth": "glue"}}, ["starts.x.growth = 'glue'", "'zero-pad'"]),
        ("starts", {"x": {"head": "new"}}, ["starts.x", "head = 'new'", "growth"]),
        ("starts", {"x": {"split": {"validation": 0.1}}}, ["starts.x", "split", "training"]),
        (
            "starts", {"x": {"training": {}, "objective": {"hard": 0}}},
            ["starts.x.objective", "nothing is minimised"],
        ),
        (
            "starts", {"x": {"training": {}, "objective": {"anchr": 1}}},
            ["'starts.x.objective.anchr'", "did you mean anchor"],
        ),
        (
            "starts", {"x": {"training": {}, "objective": {"curvature": -1}}},
            ["starts.x.objective.curvature = -1", "0"],
        ),
        (
            "starts", {"x": {"training": {"epoch": 1}}},
            ["'starts.x.training.epoch'", "did you mean epochs"],
        ),
        ("starts", {"x": {"frozen_epochs": -1}}, ["starts.x.frozen_epochs = -1", "0"]),
        ("starts", 3, ["starts = 3", "section"]),
    ],
)  # fmt: skip
def test_refused_by_key_value_and_what_is_allowed(
    path: str, value: object, parts: list[str]
) -> None:
    message = refusal(changed(path, value))
    for part in parts:
        assert part in message


BEGUN: dict[str, Any] = {
    "name": "begun",
    "seeds": [1, 2],
    "grid": {"teacher": ["mlp-4"], "alpha": [0.5], "switch_epoch": [1, 3], "start": ["near"]},
    "recipe": {"epochs": 3, "batch_size": 32},
    "split": {"validation": 0.1},
    "evaluation": {"fgsm_epsilons": [0.1]},
    "datasets": {"digits": {"student": "mlp-6"}},
    "starts": {"near": {"training": {"epochs": 1}, "objective": {"anchor": 0.5}}},
    "search": {"found": {"start": "near", "weights": ["hard"], "trials": 2}},
    "then": [{"best": ["alpha"], "grid": {"init": ["he"]}}],
}
"""A study with something of everything that comes before or after."""


def test_the_study_that_begins_and_goes_on_is_good() -> None:
    assert cells(load_study(BEGUN))


THEN = {"best": ["alpha"], "grid": {"init": ["he"]}}


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        # What students begin with, where it is asked for
        ({"grid.teacher": ["mlp-4-3"]}, ["grid.start = 'near'", "objective.anchor", "dense layers"]),
        (
            {"grid.start": ["net2net"], "grid.teacher": ["mlp-8"]},
            ["grid.start = 'net2net'", "cannot grow", "too narrow"],
        ),
        ({"grid.start": ["copy"]}, ["grid.start = 'copy'", "cannot grow", "same layers"]),
        ({"grid.teacher": ["mlp-4+mlp-5"]}, ["grid.start = 'near'", "one teacher", "mlp-4+mlp-5"]),
        ({"starts.near.student": "huge"}, ["starts.near.student", "'huge'"]),
        ({"starts.near.training.epochs": 0}, ["starts.near.training.epochs = 0", "1"]),
        (
            {"starts.near.training.lr_schedule": {"kind": "step"}},
            ["starts.near.training.lr_schedule.factor: missing"],
        ),
        (
            {"starts.near.training.learning_rate": "x"},
            ["starts.near.training.learning_rate = 'x'", "number"],
        ),
        ({"starts.near.split": {"classes": [12]}}, ["starts.near.split", "12"]),
        ({"starts.near.split": {"image_size": 4}}, ["starts.near.split.image_size = 4", "None"]),
        ({"starts.near.split": {"scaling": "unit"}}, ["starts.near.split.scaling = 'unit'"]),
        (
            {"starts.near.training.pretrained": "nowhere.pt"},
            ["starts.near.training.pretrained", "nowhere.pt"],
        ),
        # Later grids
        ({"then": 3}, ["then = 3", "list"]),
        ({"then": [3]}, ["then[0] = 3", "section"]),
        ({"then": [{**THEN, "bst": 1}]}, ["'then[0].bst'", "did you mean best"]),
        ({"then": [{"best": ["alpha"]}]}, ["then[0].grid: missing"]),
        ({"then": [{**THEN, "best": []}]}, ["then[0].best = []", "1"]),
        ({"then": [{**THEN, "best": ["alpha", "alpha"]}]}, ["then[0].best", "given twice"]),
        ({"then": [{**THEN, "best": ["alfa"]}]}, ["then[0]", "'alfa'", "did you mean alpha"]),
        ({"then": [{**THEN, "best": ["past_end"]}]}, ["then[0]", "'past_end'", "alpha"]),
        ({"then": [{**THEN, "best": ["teacher"]}]}, ["then[0].best = 'teacher'", "each student"]),
        ({"then": [{**THEN, "best": ["student"]}]}, ["then[0].best = 'student'", "each student"]),
        (
            {"then": [{**THEN, "best": ["ramp"]}]},
            ["then[0].best = 'ramp'", "axis of the grid before", "switch_epoch"],
        ),
        ({"then": [{**THEN, "best": ["init"]}]}, ["then[0]", "both name init"]),
        ({"then": [{**THEN, "grid": {"init": ["hee"]}}]}, ["then[0].grid.init", "'hee'", "'he'"]),
        ({"then": [{**THEN, "grid": {"switch_epoch": [9]}}]}, ["switch_epoch = 9", "0..3"]),
        ({"then": [{**THEN, "grid": {"ramp": ["x"]}}]}, ["grid.ramp = 'x'", "linear"]),
        ({"then": [{**THEN, "grid": {"start": ["x"]}}]}, ["grid.start = 'x'", "near"]),
        ({"then": [{**THEN, "select_on": "train"}]}, ["then[0].select_on = 'train'", "'test'"]),
        ({"then": [{**THEN, "select_by": "f1"}]}, ["then[0].select_by = 'f1'", "'metric'"]),
        (
            {"split.validation": 0, "teacher.select_on": "test", "search": {}},
            ["then[0].select_on = 'validation'", "split.validation"],
        ),
        # Searches
        ({"search.found.strt": 1}, ["'search.found.strt'", "did you mean start"]),
        ({"search.found.start": "neer"}, ["search.found.start = 'neer'", "did you mean near"]),
        (
            {"starts.plain": {"init": "he"}, "search.found.start": "plain"},
            ["search.found.start = 'plain'", "a training"],
        ),
        ({"search.found.weights": []}, ["search.found.weights = []", "1"]),
        ({"search.found.weights": ["soft"]}, ["search.found.weights[0] = 'soft'", "'anchor'"]),
        ({"search.found.weights": ["hard", "hard"]}, ["search.found", "'hard' is given twice"]),
        ({"search.found.low": 1}, ["search.found", "high = 1.0", "above low"]),
        ({"search.found.low": -1}, ["search.found.low = -1", "0"]),
        ({"search.found.trials": 0}, ["search.found.trials = 0", "1"]),
        ({"search.found.trials": 10_001}, ["search.found.trials = 10001", "10000"]),
        ({"search.found.attack": "fgsm"}, ["search.found", "attack and epsilon"]),
        (
            {"search.found.attack": "pgd-20", "search.found.epsilon": 0.1},
            ["search.found.attack = 'pgd-20 0.1'", "fgsm 0.1"],
        ),
        (
            {"search.found.attack": "fgsm", "search.found.epsilon": 0.1},
            ["search.found.select_on = 'validation'", "evaluation.validation"],
        ),
        ({"search.found.seeds": [3]}, ["search.found.seeds = 3", "seeds of the study"]),
        ({"search.found.seeds": [1, 1]}, ["search.found.seeds", "seed 1 is given twice"]),
        ({"search.found.epochs": 0}, ["search.found.epochs = 0", "1"]),
        (
            {"grid.begin_epoch": [2], "grid.switch_epoch": [3], "search.found.epochs": 2},
            ["search.found.epochs = 2", "above grid.begin_epoch, 2"],
        ),
        ({"starts.found": {"init": "he"}}, ["search.found", "a start has this name"]),
        ({"starts.found-02": {"init": "he"}}, ["starts.found-02", "another name", "search.found"]),
        (
            {"starts.near.objective.amplitude": 0, "search.found.weights": ["noisy"]},
            ["starts.near.objective.amplitude = 0.0", "above 0", "search.found"],
        ),
        (
            {
                "starts.near.objective": {"hard": 1}, "search.found.weights": ["anchor"],
                "grid.start": ["scratch"], "grid.teacher": ["mlp-4+mlp-5"],
            },
            ["search.found.start = 'near'", "one teacher"],
        ),
    ],
)  # fmt: skip
def test_what_comes_before_and_after_is_refused_likewise(
    overrides: dict[str, Any], parts: list[str]
) -> None:
    message = refusal(copy.deepcopy(BEGUN), overrides)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "/tmp/x", "", ".", "A", "a b", "x\n", "é", "a" * 65]
)
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    message = refusal(changed("name", name))
    assert message.startswith("name = ")
    assert "lower-case letters, digits" in message


@pytest.mark.parametrize("key", ["name", "seeds", "recipe", "datasets"])
def test_a_missing_key_is_named(key: str) -> None:
    raw = copy.deepcopy(GOOD)
    del raw[key]
    message = refusal(raw)
    assert f"{key}: missing" in message


def test_missing_keys_of_the_recipe_are_named_together() -> None:
    assert refusal(changed("recipe", {})) == "recipe.epochs: missing\nrecipe.batch_size: missing"


def test_a_key_is_named_where_it_was_written() -> None:
    assert refusal(changed("datasets.digits.recipe", {"epochs": -1})).startswith(
        "datasets.digits.recipe.epochs = -1"
    )
    assert refusal(changed("recipe.epochs", -1)).startswith("recipe.epochs = -1")


def test_a_minimum_above_a_swept_learning_rate_is_refused() -> None:
    raw = changed("recipe.lr_schedule", {"kind": "cosine", "minimum": 0.0005})
    load_study(raw)
    raw["grid"]["learning_rate"] = [0.001, 0.0001]
    assert "lr_schedule.minimum = 0.0005: must be at most learning_rate, 0.0001" in refusal(raw)


def test_kl_on_a_regression_is_refused() -> None:
    raw = changed("recipe", {"epochs": 3, "batch_size": "full", "soft_loss": "kl"})
    raw["datasets"] = {"california_housing": {}}
    message = refusal(raw)
    assert "datasets.california_housing.recipe.soft_loss = 'kl'" in message
    assert "mse" in message


def test_neither_baseline_nor_grid_is_an_empty_grid() -> None:
    raw = changed("datasets.digits.baseline", False)
    raw["grid"] = {}
    assert "empty grid" in refusal(raw)


@pytest.mark.parametrize(
    "make",
    [
        lambda: changed("grid.switch_epoch", {"start": 0, "stop": 10**9}),
        lambda: changed("grid.switch_epoch", {"start": -(10**9), "stop": 10**9}),
        lambda: changed("seeds", range(10**9)),
        lambda: changed(
            "grid",
            {
                "teacher": ["small", "medium", "large"],
                "alpha": [n / 999 for n in range(1000)],
                "switch_epoch": [1, 2, 3],
                "temperature": [1 + n for n in range(400)],
                "learning_rate": [n / 1000 for n in range(1, 280)],
            },
        ),
    ],
    ids=["range", "negative range", "seeds", "product"],
)
def test_a_grid_of_a_thousand_million_points_is_never_made(
    make: Callable[[], dict[str, Any]],
) -> None:
    raw = make()
    tracemalloc.start()
    try:
        refusal(raw)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_the_size_of_a_grid_too_large_is_named() -> None:
    raw = changed("grid.alpha", [n / 999 for n in range(1000)])
    raw["grid"]["temperature"] = [1 + n for n in range(1000)]
    assert "4,000,004 cells; at most 1,000,000" in refusal(raw)


@pytest.mark.parametrize("path", ["seeds", "teacher.seeds", "grid.alpha", "grid.switch_epoch"])
def test_a_long_list_of_bad_values_is_one_message(path: str) -> None:
    message = refusal(changed(path, [-1] * 100_000))
    assert f"{path}[0] = -1" in message
    assert len(message) < 1000


def test_past_the_end_can_be_allowed_and_is_the_end() -> None:
    raw = changed("grid", {"teacher": ["small"], "alpha": [0.5], "switch_epoch": [15, 16]})
    raw["recipe"]["epochs"] = 15
    raw["seeds"] = [1]
    assert "grid.switch_epoch = 16" in refusal(raw)
    raw["grid"]["past_end"] = "allow"
    asked = [c for c in cells(load_study(raw)) if c.role == "student"]
    assert [cell.switch_epoch for cell in asked] == [15, 16]
    assert asked[0].trial_id == asked[1].trial_id


# Files


def test_an_unknown_study_is_named_with_the_nearest_one() -> None:
    message = refusal("quikstart")
    assert "'quikstart'" in message
    assert "did you mean quickstart?" in message
    assert "thesis-california" in message


@pytest.mark.parametrize("source", ["absent.toml", "some/where", "../x", "\0", "", "a" * 5000])
def test_a_study_that_is_no_file_is_refused(source: str) -> None:
    assert repr(source) in refusal(source)


def test_a_directory_is_no_study(tmp_path: Path) -> None:
    assert f"{str(tmp_path)!r} is a directory" in refusal(tmp_path)


def test_a_device_is_no_study() -> None:
    assert "'/dev/zero' is not a regular file" in refusal("/dev/zero")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"name = ", "not valid TOML"),
        (b"name = 'x'\nname = 'y'", "not valid TOML"),
        ("näme = 'x'".encode("latin-1"), "not UTF-8"),
        (b"\xff\xfe" + "name = 'x'".encode("utf-16-le"), "not UTF-8"),
        (b"x = " + b"[" * 50_000, "not valid TOML"),
        (b"x = " + b"[" * 20 + b"]" * 20, "nested"),
        (b".".join([b"a"] * 100_000) + b" = 1", "nested"),
        (b"[" + b".".join([b"a"] * 100_000) + b"]", "nested"),
        (b"[grid]\nx.y.z.a.b.c.d.e.f.g = 1", "nested"),
        (b"# " + b"x" * MAX_STUDY_BYTES, "larger than 1,000,000 bytes"),
        (b"seeds = [" + b"9" * 5000 + b"]", "not valid TOML"),
        (b"seeds = [0x" + b"f" * 5000 + b"]", "at most 64"),
        (b"", "datasets: missing"),
        (b"datasets = ['digits']", "datasets.digits"),
        (b"[[datasets]]\ndigits = 1", "section"),
        (b"[grid]\nalpha = [nan]\n[datasets.digits]", "grid.alpha[0] = NaN"),
        (b"[grid]\nalpha = [-inf]\n[datasets.digits]", "grid.alpha[0] = -Infinity"),
    ],
)
def test_a_file_that_is_no_study_is_refused(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(content)
    assert part in refusal(path)


def test_an_integer_too_long_to_print_is_refused() -> None:
    assert refusal(changed("recipe.epochs", 16**5000)).startswith("recipe.epochs: an integer of ")


def test_a_mapping_nested_in_itself_is_refused() -> None:
    raw = changed("title", "x")
    raw["grid"]["alpha"] = raw
    assert "nested more than 8 levels" in refusal(raw)


@pytest.mark.parametrize("value", [{1, 2}, object(), b"x", range(3), (n for n in (1, 2)), 1j])
def test_a_value_toml_does_not_have_is_refused(value: object) -> None:
    assert refusal(changed("seeds", value)).startswith("seeds: a value of type ")


# Anything at all

_KEYS = st.sampled_from(
    [
        "name", "title", "question", "seeds", "datasets", *SECTIONS, "digits", "cifar10",
        "california_housing", "alpha", "switch_epoch", "temperature", "past_end", "epochs",
        "batch_size", "optimizer", "learning_rate", "momentum", "init", "train_size", "validation",
        "split_seed", "select_on", "select_by", "student", "baseline", "start", "stop", "step", "x",
        "lr_schedule", "early_stop", "kind", "factor", "milestones", "patience", "monitor",
    ]
)  # fmt: skip
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.dates()
    | st.sampled_from(["small", "test", "full", "adam", 0, 1, 0.5, 2**63, -1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(_KEYS, _VALUES, max_size=6))
@example({"datasets": [[1]]})
@example({"datasets": {"digits": {"grid": []}}})
def test_junk_is_refused_in_words(raw: dict[str, Any]) -> None:
    with suppress(StudyError):  # and nothing else is raised
        assert isinstance(load_study(raw), Study)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "seeds", "name", "datasets.digits.recipe", "datasets.digits.grid", "recipe",
                    "datasets", "recipe.epochs", "grid.alpha", "grid.switch_epoch", "split",
                    "grid.batch_size", "split.train_size", "split.validation", "teacher.recipe",
                    "datasets.digits.student", "datasets.digits", "teacher.seeds", "grid.teacher",
                    "evaluation", "evaluation.fgsm_epsilons", "evaluation.pgd_step_size", "grid.switch_epoch.stop",
                    "recipe.lr_schedule", "recipe.lr_schedule.kind", "recipe.lr_schedule.factor",
                    "datasets.digits.recipe.early_stop", "recipe.early_stop.patience",
                ]
            ),
            _VALUES,
        ),
        min_size=1,
        max_size=2,
    )
)  # fmt: skip
@example([("datasets", ["digits"]), ("recipe.epochs", 2)])
def test_one_bad_value_in_a_good_study_is_refused_in_words(
    overrides: list[tuple[str, Any]],
) -> None:
    with suppress(StudyError):
        assert isinstance(load_study(GOOD, dict(overrides)), Study)


_LATER_KEYS = [
    "starts", "starts.near", "starts.near.growth", "starts.near.head", "starts.near.student",
    "starts.near.training", "starts.near.training.epochs", "starts.near.split",
    "starts.near.objective", "starts.near.objective.hard", "starts.near.objective.amplitude",
    "starts.near.frozen_epochs", "starts.near.init", "search", "search.found", "search.found.start",
    "search.found.weights", "search.found.low", "search.found.trials", "search.found.epsilon",
    "search.found.seeds", "search.found.epochs", "then", "ramps", "ramps.mine", "grid.start",
    "grid.ramp", "grid.begin_epoch", "grid.teacher_epochs", "grid.label_noise", "grid.corruption",
    "grid.train_fraction", "split.classes", "split.image_size", "split.label_noise_part",
    "recipe.augment", "recipe.augment.pad", "recipe.pretrained", "recipe.frozen_epochs",
    "recipe.shuffle", "teacher.match", "teacher.split", "teacher.split.classes",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(_LATER_KEYS), _VALUES), min_size=1, max_size=2))
@example([("then", [{"best": ["alpha"], "grid": []}])])
@example([("then", [[]])])
@example([("starts.near", None)])
@example([("grid.teacher", ["+"])])
def test_one_bad_value_of_what_comes_before_and_after_is_refused_in_words(
    overrides: list[tuple[str, Any]],
) -> None:
    with suppress(StudyError):
        assert isinstance(load_study(BEGUN, dict(overrides)), Study)


_LIKELY: dict[str, list[Any]] = {
    "grid.start": [[], ["scratch"], ["near", "zero-pad"], ["uniform-pad"], ["copy"], ["net2net"]],
    "grid.teacher": [["mlp-4"], ["mlp-6", "mlp-4"], ["mlp-4+mlp-5"], ["mlp-8-4"]],
    "grid.student": [[], ["mlp-6", "mlp-7"], ["mlp-6-5"]],
    "grid.ramp": [[], ["none", "linear"], ["mine"], ["cosine"]],
    "grid.begin_epoch": [[], [0], [0, 1]],
    "grid.switch_epoch": [[0, 1, 3], [2, 3], [3]],
    "grid.batch_size": [[], [16, "full"]],
    "grid.epochs": [[], [1, 3], [3]],
    "grid.label_noise": [[], [0, 0.1]],
    "grid.train_fraction": [[], [0.5, 1]],
    "grid.teacher_epochs": [[], [1, 2]],
    "grid.past_end": ["allow", "refuse"],
    "split.classes": [None, [0, 1, 2]],
    "split.train_size": [None, 100],
    "teacher.split": [{}, {"classes": [0, 1]}, {"train_fraction": 0.5}, {"train_size": 50}],
    "teacher.match": ["best", "seed"],
    "recipe.augment": [{}, {"flip": True}],
    "recipe.frozen_epochs": [0, 1, 9],
    "starts.near.growth": ["none", "copy", "uniform-pad"],
    "starts.near.split": [{}, {"classes": [0, 1]}, {"train_fraction": 0.5}],
    "starts.near.objective": [
        {"anchor": 0.5}, {"noisy": 1}, {"amplitude": 0}, {"curvature": 1, "hard": 0},
    ],
    "starts.near.student": [None, "mlp-9"],
    "search": [{}, BEGUN["search"]],
    "search.found.weights": [["hard"], ["anchor", "noisy"], ["curvature"]],
    "search.found.epochs": [None, 1, 5],
    "search.found.seeds": [None, [2]],
    "then": [
        [], BEGUN["then"],
        [{"best": ["switch_epoch", "ramp"], "grid": {"init": ["he"]}}],
        [{"best": ["batch_size"], "grid": {"start": ["zero-pad"], "alpha": [0.1]}}],
        [
            {"best": ["alpha"], "grid": {"begin_epoch": [0, 1]}},
            {"best": ["begin_epoch", "switch_epoch"], "grid": {"ramp": ["linear"]}},
        ],
        [{"best": ["label_noise"], "grid": {"epochs": [2], "switch_epoch": [1]}}],
        [{"best": ["epochs", "start"], "grid": {"teacher": ["mlp-5"]}}],
        [{"best": ["train_fraction", "teacher_epochs"], "grid": {"student": ["mlp-9"]}}],
    ],
}  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(list(_LIKELY)), min_size=1, max_size=6, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({key: st.sampled_from(_LIKELY[key]) for key in keys})
    ),
    st.integers(0, 3),
)
def test_what_is_not_refused_can_be_asked_for(overrides: dict[str, Any], bad: int) -> None:
    """Whatever answers come, every grid that follows is one, and so is the short version of it."""
    raw = {**copy.deepcopy(BEGUN), "ramps": {"mine": [0, 0.5]}}
    with suppress(StudyError):
        study = load_study(raw, overrides)
        assert Study.model_validate_json(study.to_json()) == study
        known: dict[str, Finding] = {}
        for _ in range(6):
            found = expand(study, known)
            known |= {
                cell.trial_id: _finding(cell.trial_id, bad)
                for cell in found.cells
                if cell.trial_id not in known
            }
        assert len(expand(study, known).cells) <= count_cells(study)
        assert bad or not expand(study, known).waiting
        assert cells(smoke_study(study))


def _finding(trial_id: str, bad: int) -> Finding:
    number = int(trial_id, 16)
    if number % 5 < bad:
        return Finding(True, True, {})
    return Finding(True, False, {("validation", "metric"): number % 97, ("test", "metric"): 1.0})
