# mypy: disable-error-code="arg-type"
# Many values here are wrong on purpose.

import dataclasses
import hashlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import data
import models
from data import DataSpec
from tests.trials.specs import (
    DIFFERENT,
    OTHER_RULE,
    RULE,
    STUDENT,
    THIRD_RULE,
    at,
    guided,
    mixture,
)
from trials.spec import (
    HARD,
    Guide,
    Objective,
    Recipe,
    Schedule,
    Segment,
    TeacherRule,
    TrialSpec,
    cut,
    epoch_count,
    schedule,
    stage_key,
    switched,
)
from trials.task import Measures, StageTask

NAN = float("nan")
INF = float("inf")


# Schedules


def test_baseline_alpha_1_and_switch_0_are_one_trial() -> None:
    baseline = replace(STUDENT, schedule=(Segment(15),))
    same = [baseline, at(guided(0.1), 0), at(guided(1.0), 7), at(guided(1.0), 15)]
    same.append(at(guided(1.0, OTHER_RULE, temperature=4.0), 3))
    assert {spec.trial_id for spec in same} == {baseline.trial_id}
    assert set(same) == {baseline}
    assert all(spec.rules == () for spec in same)
    assert at(guided(0.1), 1) != baseline


def test_never_switched_is_one_trial_however_it_is_asked_for() -> None:
    assert at(guided(0.1), 15) == at(guided(0.1), 16) == at(guided(0.1), 10**6)
    assert at(guided(0.1), 15).schedule == (Segment(15, guided(0.1)),)
    assert at(guided(0.1), 14) != at(guided(0.1), 15)


def test_the_home_schedule() -> None:
    objective = guided(0.6)
    assert STUDENT.schedule == (Segment(5, objective), Segment(10, HARD))
    assert (objective.hard, objective.soft) == (0.6, 0.4)
    assert STUDENT.epochs == 15
    assert STUDENT.rules == (RULE,)


def test_another_objective_may_follow() -> None:
    found = switched(guided(0.6), 5, 15, then=guided(0.9))
    assert found == (Segment(5, guided(0.6)), Segment(10, guided(0.9)))
    assert switched(guided(0.6), 5, 15, then=guided(0.6)) == (Segment(15, guided(0.6)),)


def test_rules_are_listed_once_in_order_of_first_use() -> None:
    parts = (Segment(1, guided(0.5, OTHER_RULE)), Segment(1, guided(0.5)))
    assert replace(STUDENT, schedule=parts + parts).rules == (OTHER_RULE, RULE)


OBJECTIVES = (HARD, guided(0.1), guided(0.6), guided(0.6, OTHER_RULE))
SEGMENTS = st.lists(
    st.builds(Segment, st.integers(0, 6), st.sampled_from(OBJECTIVES)), max_size=6
)  # fmt: skip


def by_epoch(segments: list[Segment] | Schedule) -> list[Objective]:
    return [segment.objective for segment in segments for _ in range(segment.epochs)]


@given(SEGMENTS)
def test_the_canonical_form_keeps_every_epoch_and_is_minimal(segments: list[Segment]) -> None:
    found = schedule(segments)
    assert by_epoch(found) == by_epoch(segments)
    assert epoch_count(found) == len(by_epoch(segments))
    assert all(segment.epochs > 0 for segment in found)
    assert all(a.objective != b.objective for a, b in itertools.pairwise(found))
    assert schedule(found) == found


@given(SEGMENTS)
def test_trials_are_equal_as_far_as_their_epochs_are(segments: list[Segment]) -> None:
    one_by_one = [Segment(1, objective) for objective in by_epoch(segments)]
    assert replace(STUDENT, schedule=tuple(segments)) == replace(
        STUDENT, schedule=tuple(one_by_one)
    )


@given(SEGMENTS, st.integers(0, 40), st.integers(0, 40))
def test_a_cut_is_a_slice(segments: list[Segment], start: int, stop: int) -> None:
    whole = schedule(segments)
    assert by_epoch(cut(whole, start, stop)) == by_epoch(whole)[start:stop]


@given(SEGMENTS, st.lists(st.integers(0, 40), max_size=5))
def test_cut_pieces_concatenate_to_the_whole(segments: list[Segment], places: list[int]) -> None:
    whole = schedule(segments)
    ends = [0, *sorted(places), 40]
    pieces = [cut(whole, start, stop) for start, stop in itertools.pairwise(ends)]
    assert schedule(segment for piece in pieces for segment in piece) == whole
    assert sum(map(epoch_count, pieces)) == epoch_count(whole)
    assert all(piece == schedule(piece) for piece in pieces)


@given(st.integers(0, 20))
def test_a_shortened_trial_is_the_stage_that_ends_there(epochs: int) -> None:
    short = STUDENT.shortened(epochs)
    assert short.epochs == min(epochs, 15)
    assert short.base == STUDENT.base
    assert short.trial_id == stage_key(STUDENT.base, cut(STUDENT.schedule, 0, epochs))
    assert (short.trial_id == STUDENT.trial_id) == (epochs >= 15)


def test_forks_share_their_trunk_and_nothing_else() -> None:
    five, nine = at(guided(0.6), 5), at(guided(0.6), 9)
    assert five.shortened(5).trial_id == nine.shortened(5).trial_id
    assert five.shortened(6).trial_id != nine.shortened(6).trial_id


# Objectives


def test_weights_of_teachers_are_normalised() -> None:
    weights = {guide.teacher: guide.weight for guide in mixture(1, 3).guides}
    assert weights == {RULE: 0.25, OTHER_RULE: 0.75}
    assert mixture(1, 3) == mixture(2, 6) == mixture(0.25, 0.75)
    assert mixture(1, 3).key == mixture(2, 6).key
    assert mixture(1, 3) != mixture(3, 1)
    assert mixture(5) == guided(0.5)


@given(st.lists(st.floats(1e-6, 1e6), min_size=3, max_size=3))
def test_the_order_of_teachers_is_irrelevant(weights: list[float]) -> None:
    guides = [Guide(r, w) for r, w in zip((RULE, OTHER_RULE, THIRD_RULE), weights, strict=True)]
    made = {Objective(0.5, 0.5, guides=order) for order in itertools.permutations(guides)}
    assert len(made) == len({objective.key for objective in made}) == 1


def test_the_order_of_teachers_is_irrelevant_where_rounding_is_not() -> None:
    assert (0.1 + 0.2) + 0.3 != (0.3 + 0.2) + 0.1
    guides = (Guide(RULE, 0.1), Guide(OTHER_RULE, 0.2), Guide(THIRD_RULE, 0.3))
    one, other = Objective(0.5, 0.5, guides=guides), Objective(0.5, 0.5, guides=guides[::-1])
    assert one.key == other.key


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=3))
def test_an_objective_made_from_itself_is_itself(weights: list[float]) -> None:
    # `replace` makes ramps of alpha: it must not move the weights of the teachers.
    objective = mixture(*weights)
    assert sum(guide.weight for guide in objective.guides) == pytest.approx(1, abs=1e-15)
    assert replace(objective, hard=objective.hard) == objective


def test_temperature_matters_where_there_is_a_softmax_only() -> None:
    assert guided(0.5, temperature=4.0) != guided(0.5)
    assert guided(0.5, kind="mse", temperature=4.0) == guided(0.5, kind="mse")
    assert Objective(temperature=4.0) == Objective(soft_loss="mse") == HARD
    assert guided(0.5, temperature=2).key == guided(0.5, temperature=2.0).key


def test_a_rule_is_its_pool_whatever_the_order() -> None:
    rule = TeacherRule(("b", "a", "b"), "test")
    assert rule.pool == ("a", "b")
    assert rule == TeacherRule(("a", "b"), "test")
    assert rule.key == TeacherRule(("a", "b"), "test").key


# Identity


def test_everything_that_can_change_the_training_changes_the_id() -> None:
    ids = {name: make().trial_id for name, make in DIFFERENT.items()}
    assert len(set(ids.values())) == len(ids), ids
    assert all(len(i) == 24 and set(i) <= set("0123456789abcdef") for i in ids.values())


def test_every_field_is_covered_above() -> None:
    for kind in (DataSpec, Recipe, Objective, TeacherRule):
        fields = {field.name for field in dataclasses.fields(kind)}
        # A name is a dataset, guides are teachers; `precision` has one value so far.
        assert fields - set(DIFFERENT) - {"name", "guides", "precision"} == set(), kind


def test_versions_of_data_and_network_change_the_id() -> None:
    ids = {STUDENT.trial_id}
    digits = data.get("digits")
    for entry in (replace(digits, version=2), replace(digits, fingerprint="0" * 64)):
        data.register(entry, replace=True)
        ids.add(replace(STUDENT).trial_id)
    data.register(digits, replace=True)
    network = models.get("digits", "student")
    models.register(replace(network, version=2), replace=True)
    ids.add(replace(STUDENT).trial_id)
    assert len(ids) == 4
    models.register(network, replace=True)
    assert replace(STUDENT).trial_id == STUDENT.trial_id


def test_nothing_else_changes_the_id() -> None:
    expected = STUDENT.trial_id
    task = StageTask(STUDENT, 0, True, True, True, Measures((0.1,), 3), {"a": "b"}, ("c",))
    assert task.key == expected
    assert replace(task, measures=Measures(), keep_weights=False, start_epoch=5).key == expected
    # Where the data lies and what else is registered.
    data.register(replace(data.get("digits"), source="elsewhere"), replace=True)
    models.register(models.ModelEntry("another", "a:b", "digits", 7))
    assert replace(STUDENT).trial_id == expected
    # How a value is spelt.
    assert replace(STUDENT, recipe=Recipe("student", 64, learning_rate=1e-3)).trial_id == expected
    assert replace(STUDENT, recipe=Recipe("student", 64, weight_decay=-0.0)).trial_id == expected
    assert replace(STUDENT, data=DataSpec("digits", validation=0)).trial_id == expected
    assert replace(STUDENT, data=DataSpec("digits", split_seed=3)).trial_id == expected


def canonical_id(*bases_and_schedules: str) -> str:
    return hashlib.sha256("".join(bases_and_schedules).encode()).hexdigest()[:24]


# The canonical form, written out. Where one of these ids has to change, results have another
# meaning (raise NUMERICS_VERSION) or the canonical form is another, and every store is orphaned.
FINGERPRINT = "0a8d93f26eb1c0423efbb5049c31607c22eb0298d8388c12a36f8ecf0e920bb7"
BASE = (
    '{{"data":{{"name":"digits"}},"dataset":[1,"' + FINGERPRINT + '"],"network":1,"numerics":2,'
    '"recipe":{{"batch_size":64,"model":"{model}"}},"seed":38}}'
)
HARD_TEXT = '{"guides":[],"hard":1.0,"soft":0.0,"soft_loss":null,"temperature":1.0}'


def one_segment(model: str) -> str:
    base = canonical_id(BASE.format(model=model))
    return canonical_id(f'["{base}",[[15,"{canonical_id(HARD_TEXT)}"]]]')


def test_golden_ids() -> None:
    teacher = TrialSpec(38, DataSpec("digits"), Recipe("small", 64), (Segment(15),))
    assert teacher.trial_id == one_segment("small") == "95a7ad39bf57937372805e20"
    baseline = replace(teacher, recipe=Recipe("student", 64))
    assert baseline.trial_id == one_segment("student") == "f40bcc562dc35bc4d20d4ae8"
    rule = TeacherRule((teacher.trial_id,), "test")
    student = replace(baseline, schedule=switched(guided(0.6, rule), 5, 15))
    rule_key = canonical_id(f'[["{teacher.trial_id}"],"test","metric"]')
    guided_key = canonical_id(
        f'{{"guides":[["{rule_key}",1.0]],"hard":0.6,"soft":0.4,"soft_loss":"kl",'
        '"temperature":1.0}'
    )
    base = canonical_id(BASE.format(model="student"))
    expected = canonical_id(f'["{base}",[[5,"{guided_key}"],[10,"{canonical_id(HARD_TEXT)}"]]]')
    assert student.trial_id == expected == "4a319eb94ef34f33c7cc7487"


def test_ids_are_the_same_in_every_process() -> None:
    code = """
from tests.trials.specs import DIFFERENT
for name, make in sorted(DIFFERENT.items(), reverse=True):
    print(make().trial_id, name)
"""
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, check=True, text=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    here = [f"{make().trial_id} {name}\n" for name, make in sorted(DIFFERENT.items(), reverse=True)]
    assert printed == {"".join(here)}


# Bad input


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrialSpec(-1, STUDENT.data, STUDENT.recipe, ()), "seed = -1"),
        (lambda: TrialSpec(1.0, STUDENT.data, STUDENT.recipe, ()), r"seed = 1\.0"),
        (lambda: TrialSpec(True, STUDENT.data, STUDENT.recipe, ()), "seed = True"),
        (lambda: TrialSpec(NAN, STUDENT.data, STUDENT.recipe, ()), "seed = nan"),
        (lambda: Segment(-1), "epochs = -1"),
        (lambda: Segment(5.0), r"epochs = 5\.0"),
        (lambda: Segment(NAN), "epochs = nan"),
        (lambda: switched(HARD, -1, 15), "switch_epoch = -1"),
        (lambda: switched(HARD, NAN, 15), "switch_epoch = nan"),
        (lambda: switched(HARD, 5, -1), "epochs = -1"),
        (lambda: Objective(hard=NAN), "hard = nan"),
        (lambda: Objective(hard=-0.1), r"hard = -0\.1"),
        (lambda: Objective(soft=NAN, guides=(Guide(RULE),)), "soft = nan"),
        (lambda: Objective(soft=INF, guides=(Guide(RULE),)), "soft = inf"),
        (lambda: Objective(hard=0), r"hard \+ soft = 0"),
        (lambda: Objective(0.5, 0.5), "guides = .*teacher"),
        (lambda: guided(0.5, temperature=0), "temperature = 0"),
        (lambda: guided(0.5, temperature=NAN), "temperature = nan"),
        (lambda: guided(0.5, kind="l1"), "soft_loss = 'l1': must be kl, mse"),
        (lambda: Guide(RULE, 0), "weight = 0"),
        (lambda: Guide(RULE, NAN), "weight = nan"),
        (lambda: TeacherRule((), "test"), r"pool = \(\)"),
        (lambda: TeacherRule(("a",), "train"), "select_on = 'train': must be test, validation"),
        (lambda: TeacherRule(("a",), "test", "mood"), "select_by = 'mood': must be metric, loss"),
        (lambda: Recipe("student", 0), "batch_size = 0"),
        (lambda: Recipe("student", 64.0), r"batch_size = 64\.0"),
        (lambda: Recipe("student", NAN), "batch_size = nan"),
        (lambda: Recipe("student", 64, "lion"), "optimizer = 'lion': must be adam, sgd"),
        (lambda: Recipe("student", 64, learning_rate=NAN), "learning_rate = nan"),
        (lambda: Recipe("student", 64, learning_rate=-1), r"learning_rate = -1"),
        (lambda: Recipe("student", 64, weight_decay=INF), "weight_decay = inf"),
        (lambda: Recipe("student", 64, momentum=0.9), r"momentum = 0\.9: must be 0 unless"),
        (lambda: Recipe("student", 64, precision="float8"), "precision = 'float8'.*float32"),
        (lambda: DataSpec("digits", validation=NAN), "validation = nan"),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_names_have_no_id() -> None:
    with pytest.raises(ValueError, match="'huge'"):
        _ = replace(STUDENT, recipe=Recipe("huge", 64)).trial_id
