"""Every distinct piece of training stands in the plan once."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import data
from sweep.expand import cells
from sweep.plan import Plan, Stage, plan
from sweep.study import load_study
from trials.spec import (
    HARD,
    EarlyStop,
    Guide,
    LrSchedule,
    Objective,
    Recipe,
    Segment,
    TeacherRule,
    TrialSpec,
    cut,
)

ROWS = data.DataSpec("digits")
RECIPE = Recipe("student", 64)
SMALL = TeacherRule(("a" * 24, "b" * 24), "test")
LARGE = TeacherRule(("c" * 24,), "validation")
A = Objective(0.1, 0.9, guides=(Guide(SMALL),))
B = Objective(0.6, 0.4, guides=(Guide(SMALL),))
C = Objective(0.6, 0.4, guides=(Guide(LARGE),))
OBJECTIVES = {"h": HARD, "a": A, "b": B, "c": C}


def trial(letters: str, seed: int = 1) -> TrialSpec:
    """A trial by the objective of each epoch: `aah` is two epochs of A and one alone."""
    return TrialSpec(seed, ROWS, RECIPE, tuple(Segment(1, OBJECTIVES[x]) for x in letters))


def letters(spec: TrialSpec, start: int = 0) -> str:
    names = {objective.key: letter for letter, objective in OBJECTIVES.items()}
    parts = cut(spec.schedule, start, spec.epochs)
    return "".join(names[part.objective.key] * part.epochs for part in parts)


def path(found: Plan, key: str) -> list[Stage]:
    stages = [found.stages[key]]
    while stages[-1].parent is not None:
        stages.append(found.stages[stages[-1].parent])
    return stages[::-1]


TRIALS = st.lists(
    st.tuples(st.text("hab", min_size=1, max_size=7), st.integers(1, 3)), min_size=1, max_size=25
)


@settings(max_examples=150, deadline=None)
@given(TRIALS)
@example([("aaa", 1), ("aaaaa", 1), ("aaaah", 1), ("a", 1)])  # ends inside another's segment
@example([("aaahh", 1), ("aaahh", 1), ("aaahh", 2)])
@example([("hah", 1), ("haha", 1), ("ha", 1)])
def test_every_prefix_is_trained_exactly_once(asked: list[tuple[str, int]]) -> None:
    specs = [trial(word, seed) for word, seed in asked]
    found = plan(specs)
    wanted = {(seed, word[:n]) for word, seed in asked for n in range(1, len(word) + 1)}
    trained: Counter[tuple[int, str]] = Counter()
    for stage in found.stages.values():
        word = letters(stage.spec)
        trained.update((stage.spec.seed, word[:n]) for n in range(stage.start + 1, stage.stop + 1))
    assert trained == Counter(wanted)
    assert found.epochs == len(wanted)


@settings(max_examples=100, deadline=None)
@given(TRIALS)
@example([("aaa", 1), ("aaaaa", 1), ("aaaah", 1), ("a", 1)])
def test_the_path_to_a_trials_end_spells_its_schedule(asked: list[tuple[str, int]]) -> None:
    found = plan(trial(word, seed) for word, seed in asked)
    ends = {trial(word, seed).trial_id: (word, seed) for word, seed in asked}
    assert {key for key, stage in found.stages.items() if stage.ends_trial} == set(ends)
    passing: Counter[str] = Counter()
    for trial_id, (word, seed) in ends.items():
        stages = path(found, trial_id)
        assert "".join(letters(stage.spec, stage.start) for stage in stages) == word
        assert {stage.spec.seed for stage in stages} == {seed}
        passing.update(stage.key for stage in stages)
    assert {key: stage.trials for key, stage in found.stages.items()} == passing


@settings(max_examples=100, deadline=None)
@given(TRIALS)
def test_parents_come_first_and_stages_follow_them(asked: list[tuple[str, int]]) -> None:
    found = plan(trial(word, seed) for word, seed in asked)
    seen: set[str] = set()
    for key, stage in found.stages.items():
        assert key == stage.key == stage.spec.trial_id
        assert stage.epochs > 0
        if stage.parent is None:
            assert stage.start == 0
            assert key in found.roots
        else:
            parent = found.stages[stage.parent]
            assert stage.parent in seen
            assert stage.start == parent.stop
            assert key in found.children[stage.parent]
            assert letters(stage.spec).startswith(letters(parent.spec))
            # A stage ends for a reason: a trial ends there, or ways part.
            assert parent.ends_trial or len(found.children[parent.key]) > 1
        seen.add(key)


RECIPES = {
    "constant": RECIPE,
    "step": replace(RECIPE, lr_schedule=LrSchedule("step", 0.1, (5,))),
    "cosine 3": replace(RECIPE, lr_schedule=LrSchedule("cosine", horizon=3)),
    "cosine 7": replace(RECIPE, lr_schedule=LrSchedule("cosine", horizon=7)),
    "stop": replace(RECIPE, early_stop=EarlyStop(3, monitor="train_loss")),
    "stop later": replace(RECIPE, early_stop=EarlyStop(4, monitor="train_loss")),
    "bfloat16": replace(RECIPE, precision="bfloat16"),
}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.text("ha", min_size=1, max_size=6), st.sampled_from(sorted(RECIPES))),
        min_size=1,
        max_size=15,
    )
)
@example([("hhh", "cosine 3"), ("hhhhhhh", "cosine 7"), ("hhhhh", "cosine 7"), ("h", "stop")])
def test_trials_share_within_a_recipe_and_never_across_horizons_or_rules(
    asked: list[tuple[str, str]],
) -> None:
    specs = [replace(trial(word), recipe=RECIPES[name]) for word, name in asked]
    found = plan(specs)
    wanted = {(name, word[:n]) for word, name in asked for n in range(1, len(word) + 1)}
    assert found.epochs == len(wanted)
    for stage in found.stages.values():
        below = {trial.recipe for trial in specs if trial.trial_id in
                 {s.key for s in found.below(stage.key)}}  # fmt: skip
        assert below == {stage.spec.recipe}


@settings(max_examples=50, deadline=None)
@given(TRIALS)
def test_without_sharing_every_trial_is_trained_alone(asked: list[tuple[str, int]]) -> None:
    found = plan((trial(word, seed) for word, seed in asked), share=False)
    assert found.epochs == sum(len(word) for word, _ in set(asked))
    assert len(found.stages) == len(set(asked))
    assert all(s.parent is None and s.ends_trial and s.trials == 1 for s in found.stages.values())


@settings(max_examples=50, deadline=None)
@given(TRIALS, st.randoms())
def test_the_order_in_which_trials_are_asked_for_does_not_matter(
    asked: list[tuple[str, int]], random: object
) -> None:
    shuffled = list(asked)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (plan(trial(w, s) for w, s in order) for order in (asked, shuffled))
    assert dict(one.stages) == dict(other.stages)


def test_a_trial_that_ends_inside_anothers_segment_cuts_it() -> None:
    found = plan([trial("aaaaahh"), trial("aaa"), trial("aaah")])
    shape = {letters(s.spec): (s.start, s.ends_trial, s.trials) for s in found.stages.values()}
    assert shape == {
        "aaa": (0, True, 3),
        "aaah": (3, True, 1),
        "aaaaahh": (3, True, 1),
    }


def test_equal_trials_are_trained_once_and_others_apart() -> None:
    same = [trial("aah"), trial("aah"), trial("aah", seed=2)]
    assert plan(same).epochs == 6
    other_recipe = replace(trial("aah"), recipe=Recipe("student", 32))
    other_rows = replace(trial("aah"), data=data.DataSpec("digits", train_size=100))
    assert plan([trial("aah"), other_recipe, other_rows]).epochs == 9


def test_the_home_study_forks_a_trunk() -> None:
    # Switch epochs 1..15 of 15: a guided trunk of 15 and tails of 14, 13, ..., 0.
    words = ["a" * k + "h" * (15 - k) for k in range(1, 16)]
    found = plan(trial(word) for word in words)
    assert found.epochs == 15 + sum(range(15)) == 120
    assert plan((trial(word) for word in words), share=False).epochs == 225
    assert len(found.roots) == 1
    # The baseline shares nothing with trials that begin guided.
    assert plan([trial("h" * 15), *(trial(word) for word in words)]).epochs == 135


def test_a_fork_at_every_one_of_1500_epochs_is_planned_in_a_moment() -> None:
    def switched(k: int) -> TrialSpec:
        return TrialSpec(1, ROWS, RECIPE, (Segment(k, A), Segment(1500 - k)))

    found = plan(switched(k) for k in range(1, 1501))
    assert found.epochs == 1500 + sum(range(1500))
    assert len(path(found, switched(1500).trial_id)) == 1500
    assert len(found.below(found.roots[0])) == len(found.stages) == 1500 + 1499


@pytest.mark.parametrize(("word", "rules"), [("hh", ()), ("hha", (SMALL,)), ("ac", (SMALL, LARGE))])
def test_a_stage_names_the_teachers_it_needs(word: str, rules: tuple[TeacherRule, ...]) -> None:
    (stage,) = plan([trial(word)]).stages.values()
    assert stage.rules == rules


def test_a_stage_needs_only_its_own_teachers() -> None:
    found = plan([trial("aac"), trial("aah")])
    needs = {letters(stage.spec): stage.rules for stage in found.stages.values()}
    assert needs == {"aa": (SMALL,), "aac": (LARGE,), "aah": ()}


def test_below_a_stage_are_all_that_go_on_from_it_parents_first() -> None:
    found = plan([trial("aah"), trial("aaa"), trial("aab"), trial("aabh"), trial("h")])
    below = [letters(stage.spec) for stage in found.below(trial("aa").trial_id)]
    assert below[0] == "aa"
    assert set(below) == {"aa", "aah", "aaa", "aab", "aabh"}
    assert below.index("aab") < below.index("aabh")


def test_nothing_to_train_is_an_empty_plan() -> None:
    assert plan([]).epochs == 0
    assert plan([]).roots == ()


# Computed before schedules were shared and keys reused. Where one of these has to change, see
# `test_golden_ids` in tests/trials/test_spec.py.
@pytest.mark.parametrize(
    ("name", "trials", "first", "last", "stages", "keys"),
    [
        ("quickstart", "fd15581e637c233e", "f0bd1ccb6070a9ff79c282ed", "f0e887e8b97aabd5d263e466",
         255, "429e48542f8fdbb3"),
        ("thesis", "7d7c99b623c133d3", "585f8a21f70f39780e9874b5", "a4ca21681b6cab29c606ea80",
         11925, "0d9162e16dfd20ef"),
        ("axes", "b5a3b87bc87b173a", "25956f60147ca61347c43c3d", "46cf73a97de74acb7fb12a1d",
         3080, "6f5a92f2dc19d966"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("numerics_one")
def test_golden_plans(
    name: str, trials: str, first: str, last: str, stages: int, keys: str
) -> None:
    found = cells(load_study(AXES if name == "axes" else name))
    assert (found[0].trial_id, found[-1].trial_id) == (first, last)
    assert _sha256(cell.trial_id for cell in found) == trials
    planned = plan(cell.spec for cell in found).stages.values()
    assert len(planned) == stages
    assert keys == _sha256(
        sorted(f"{s.key} {s.parent} {s.start} {s.stop} {s.trials} {s.ends_trial}" for s in planned)
    )


AXES = {
    "name": "axes",
    "seeds": [1, 2, 3],
    "grid": {
        "teacher": ["small", "medium"],
        "alpha": [0.0, 0.3, 1.0],
        "switch_epoch": [0, 1, 4, 9],
        "past_end": "allow",
        "temperature": [1, 2.5],
        "epochs": [4, 6],
        "batch_size": [32, "full"],
        "learning_rate": [0.001, 0.1],
        "weight_decay": [0, 0.0005],
        "init": ["he", "default"],
    },
    "recipe": {"epochs": 3, "batch_size": 16, "optimizer": "sgd", "momentum": 0.9},
    "split": {"train_size": 100, "validation": 0.2, "split_seed": 3},
    "teacher": {"select_by": "loss", "seeds": [5, 6], "recipe": {"epochs": 2}},
    "datasets": {"digits": {}, "california_housing": {"grid": {"alpha": [0.5]}}},
}


def _sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def test_stages_keep_the_trials_they_are_made_from() -> None:
    """A stage that ends a trial trains that trial: no second value of it is kept."""
    specs = [trial(word) for word in ("aah", "aaa", "hhh")]
    found = plan(specs)
    for spec in specs:
        assert found.stages[spec.trial_id].spec is spec


def test_a_rule_that_guides_several_parts_of_a_stage_is_named_once() -> None:
    (stage,) = plan([trial("aabbcc")]).stages.values()
    assert stage.rules == stage.spec.rules == (SMALL, LARGE)
