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
from data.augment import Augment
from tests.trials.specs import (
    DIFFERENT,
    OTHER_RULE,
    RULE,
    STUDENT,
    THIRD_RULE,
    at,
    guided,
    mixture,
    scheduled,
)
from trials.attack_settings import Attacks
from trials.spec import (
    HARD,
    EarlyStop,
    Guide,
    LrSchedule,
    Objective,
    Recipe,
    Schedule,
    Segment,
    Start,
    TeacherRule,
    Terms,
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
    for kind in (DataSpec, Recipe, Objective, Terms, TeacherRule, Start, Augment):
        fields = {field.name for field in dataclasses.fields(kind)}
        named = {"name", "guides", "location"}  # dataset, teachers, and where weights lie
        assert fields - set(DIFFERENT) - named == set(), kind


PLATEAU = LrSchedule("plateau", 0.2, patience=5)
STOP = EarlyStop(10)
SCHEDULES: dict[str, tuple[LrSchedule, LrSchedule]] = {
    "kind": (LrSchedule("exponential", 0.1), LrSchedule("step", 0.1, (1,))),
    "factor": (LrSchedule("exponential", 0.1), LrSchedule("exponential", 0.2)),
    "milestones": (LrSchedule("step", 0.1, (10,)), LrSchedule("step", 0.1, (10, 12))),
    "start_epoch": (LrSchedule("exponential", 0.1), LrSchedule("exponential", 0.1, start_epoch=1)),
    "horizon": (LrSchedule("cosine", horizon=15), LrSchedule("cosine", horizon=16)),
    "minimum": (PLATEAU, replace(PLATEAU, minimum=1e-5)),
    "patience": (PLATEAU, replace(PLATEAU, patience=6)),
    "threshold": (PLATEAU, replace(PLATEAU, threshold=0.0)),
    "monitor": (PLATEAU, replace(PLATEAU, monitor="validation_metric")),
    "warmup_epochs": (LrSchedule(), LrSchedule(warmup_epochs=1)),
}
RULES: dict[str, tuple[EarlyStop, EarlyStop]] = {
    "patience": (STOP, EarlyStop(11)),
    "min_delta": (STOP, EarlyStop(10, 0.1)),
    "monitor": (STOP, EarlyStop(10, monitor="validation_metric")),
    "restore_best": (STOP, EarlyStop(10, restore_best=True)),
}


def test_every_setting_of_a_schedule_or_a_rule_changes_the_id_and_every_stage_key() -> None:
    assert set(SCHEDULES) == {field.name for field in dataclasses.fields(LrSchedule)}
    assert set(RULES) == {field.name for field in dataclasses.fields(EarlyStop)}
    pairs = [(scheduled(a), scheduled(b)) for a, b in SCHEDULES.values()]
    pairs += [(scheduled(early_stop=a), scheduled(early_stop=b)) for a, b in RULES.values()]
    ids = set()
    for one, other in pairs:
        for epochs in (1, 15):
            assert one.shortened(epochs).trial_id != other.shortened(epochs).trial_id
        ids |= {one.trial_id, other.trial_id}
    # All but the repeated left sides are different.
    assert len(ids) == 2 * len(pairs) - 2 - 3 - 3


def test_a_schedule_that_does_nothing_is_no_schedule() -> None:
    assert scheduled(LrSchedule("constant"), EarlyStop(0)) == STUDENT
    off = EarlyStop(0, 0.5, "train_loss")
    assert off == EarlyStop()
    assert scheduled(early_stop=off).trial_id == STUDENT.trial_id
    assert EarlyStop(0, 0.5, "train_loss", restore_best=True).monitor == "train_loss"


def test_how_a_setting_is_spelt_makes_no_difference() -> None:
    listed = LrSchedule("step", 0.1, [10, 12])
    assert scheduled(listed).trial_id == scheduled(LrSchedule("step", 0.1, (10, 12))).trial_id
    whole = replace(PLATEAU, minimum=0, threshold=0)
    assert (
        scheduled(whole).trial_id
        == scheduled(replace(PLATEAU, minimum=-0.0, threshold=0.0)).trial_id
    )


def test_what_is_watched() -> None:
    assert scheduled(PLATEAU, STOP).recipe.monitors == {
        "lr_schedule": "validation_loss", "early_stop": "validation_loss",
    }  # fmt: skip
    assert scheduled(LrSchedule("cosine", horizon=3)).recipe.monitors == {}
    best = scheduled(early_stop=EarlyStop(restore_best=True, monitor="train_loss")).recipe
    assert best.monitors == {"early_stop": "train_loss"}
    assert not best.watches_validation
    assert scheduled(PLATEAU).recipe.watches_validation


def test_schedules_in_words() -> None:
    assert str(LrSchedule()) == "constant"
    assert str(LrSchedule("step", 0.1, (10, 20))) == "step(factor=0.1, milestones=[10, 20])"
    assert str(LrSchedule("cosine", horizon=15, warmup_epochs=2)) == (
        "cosine(horizon=15, minimum=0.0, warmup_epochs=2)"
    )
    assert str(STOP) == ("patience=10, min_delta=0.0, monitor=validation_loss, restore_best=False")


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
    task = StageTask(STUDENT, 0, True, True, True, Measures(Attacks((0.1,)), 3), {"a": "b"}, ("c",))
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
    '{{"data":{{"name":"digits"}},"dataset":[1,"' + FINGERPRINT + '"],"network":1,"numerics":3,'
    '"recipe":{{"batch_size":64,"model":"{model}"}},"seed":38}}'
)
HARD_TEXT = '{"guides":[],"hard":1.0,"soft":0.0,"soft_loss":null,"temperature":1.0}'


def one_segment(model: str) -> str:
    base = canonical_id(BASE.format(model=model))
    return canonical_id(f'["{base}",[[15,"{canonical_id(HARD_TEXT)}"]]]')


def test_golden_ids() -> None:
    teacher = TrialSpec(38, DataSpec("digits"), Recipe("small", 64), (Segment(15),))
    assert teacher.trial_id == one_segment("small") == "2ae88f22ac945844e44bfc5d"
    baseline = replace(teacher, recipe=Recipe("student", 64))
    assert baseline.trial_id == one_segment("student") == "0094367600fdec45d44e04d6"
    rule = TeacherRule((teacher.trial_id,), "test")
    student = replace(baseline, schedule=switched(guided(0.6, rule), 5, 15))
    rule_key = canonical_id(f'[["{teacher.trial_id}"],"test","metric"]')
    guided_key = canonical_id(
        f'{{"guides":[["{rule_key}",1.0]],"hard":0.6,"soft":0.4,"soft_loss":"kl",'
        '"temperature":1.0}'
    )
    base = canonical_id(BASE.format(model="student"))
    expected = canonical_id(f'["{base}",[[5,"{guided_key}"],[10,"{canonical_id(HARD_TEXT)}"]]]')
    assert student.trial_id == expected == "cbf8c0af497061953e509b70"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("itself", "2a54527e386ce092bd0f2a74"),
        ("validation", "8cdc46ec10e15f8557fd985e"),
        ("whole batch", "1e2fc17c2f63824af2de552b"),
        ("optimizer", "1dbecde809d4f0d70058df5a"),
        ("momentum", "2ffb90afee2b42938578db17"),
        ("learning_rate", "528535031031f9257000a057"),
        ("weight_decay", "b531b0cf1edfe80011ce63e3"),
        ("init", "46bab25bdd2c0d65c0326d22"),
        ("temperature", "d4c835115cfe0851a1b1bd9d"),
        ("weights", "8637c118c54d51b8553ae150"),
    ],
)
@pytest.mark.usefixtures("numerics_one")
def test_ids_that_stores_hold(name: str, expected: str) -> None:
    assert replace(DIFFERENT[name]()).trial_id == expected  # a copy, which has no id yet


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
        (lambda: LrSchedule("linear"), "kind = 'linear': must be constant, step"),
        (lambda: LrSchedule("step", 0.1), "milestones: missing; kind = 'step' needs it"),
        (lambda: LrSchedule("step", milestones=(3,)), "factor: missing; kind = 'step'"),
        (lambda: LrSchedule("cosine"), "horizon: missing; kind = 'cosine'"),
        (lambda: LrSchedule("plateau", 0.1), "patience: missing; kind = 'plateau'"),
        (lambda: LrSchedule("step", 1, (3,)), r"factor = 1\.0: must be above 0 and below 1"),
        (lambda: LrSchedule("step", NAN, (3,)), "factor = nan"),
        (lambda: LrSchedule("step", 0.1, (3, 3)), r"milestones = \[3, 3\]: must be ascending"),
        (lambda: LrSchedule("step", 0.1, (0,)), r"milestones = \[0\]"),
        (lambda: LrSchedule("step", 0.1, (1.0,)), r"milestones = \[1\.0\]"),
        (
            lambda: LrSchedule("cosine", 0.1, horizon=3),
            "factor = 0.1: must be left out unless kind is step, exponential or plateau",
        ),
        (lambda: LrSchedule(milestones=(3,)), r"milestones = \(3,\): .* unless kind is step"),
        (lambda: LrSchedule("cosine", horizon=0), "horizon = 0"),
        (lambda: LrSchedule("cosine", horizon=15.0), r"horizon = 15\.0"),
        (lambda: LrSchedule("cosine", horizon=15, minimum=-1), r"minimum = -1"),
        (lambda: LrSchedule("exponential", 0.1, start_epoch=-1), "start_epoch = -1"),
        (lambda: replace(PLATEAU, patience=-1), "patience = -1"),
        (lambda: replace(PLATEAU, threshold=1), r"threshold = 1\.0: must be below 1"),
        (lambda: replace(PLATEAU, threshold=NAN), "threshold = nan"),
        (lambda: replace(PLATEAU, monitor="test_metric"), "monitor = 'test_metric': must be valid"),
        (lambda: LrSchedule(warmup_epochs=-1), "warmup_epochs = -1"),
        (lambda: LrSchedule(warmup_epochs=True), "warmup_epochs = True"),
        (lambda: EarlyStop(-1), "patience = -1"),
        (lambda: EarlyStop(True), "patience = True"),
        (lambda: EarlyStop(1, NAN), "min_delta = nan"),
        (lambda: EarlyStop(1, -0.1), r"min_delta = -0\.1"),
        (lambda: EarlyStop(1, monitor="test_loss"), "monitor = 'test_loss': must be validation"),
        (lambda: EarlyStop(1, restore_best=1), "restore_best = 1: must be true or false"),
        (
            lambda: scheduled(replace(PLATEAU, minimum=0.5)),
            r"lr_schedule.minimum = 0\.5: must be at most learning_rate, 0\.001",
        ),
        (
            lambda: replace(STUDENT, recipe=scheduled(PLATEAU).recipe),
            "recipe.lr_schedule.monitor = 'validation_loss': must be train_loss unless",
        ),
        (
            lambda: replace(STUDENT, recipe=scheduled(early_stop=STOP).recipe),
            "recipe.early_stop.monitor = 'validation_loss': must be train_loss unless",
        ),
        (lambda: DataSpec("digits", validation=NAN), "validation = nan"),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_names_have_no_id() -> None:
    with pytest.raises(ValueError, match="'huge'"):
        _ = replace(STUDENT, recipe=Recipe("huge", 64)).trial_id
