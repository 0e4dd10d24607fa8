"""What a study costs: exact counts, and time from what earlier trials took."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.cells import demand
from sweep.estimate import Cost, Overview, calibrate, costs_of_results, overview
from sweep.expand import Role, cells
from sweep.filters import parse
from sweep.plan import plan
from sweep.records import trial_row
from sweep.store import Store
from sweep.study import Study, load_study
from tests.sweep.tiny import result, tiny_study

# 2 seeds x (teacher, baseline, alpha 0.1 with switch 1 and 3), 3 epochs each; the two students of
# a seed share their first epoch.
STUDY = tiny_study()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def looked_at(store: Store, study: Study = STUDY, slots: int = 2, share: bool = True) -> Overview:
    return overview(demand(study, store), store, slots, share=share)


def test_the_counts_of_a_small_study(store: Store) -> None:
    found = looked_at(store)
    assert found.study == "tiny"
    assert found.cells == 2 + 2 + 2 * 2 * 3
    assert (found.trials, found.done, found.todo, found.failed) == (8, 0, 8, 0)
    assert found.by_role == {"student": 4, "baseline": 2, "teacher": 2}
    assert found.by_dataset == {"digits": 8}
    assert (found.epochs_naive, found.epochs_planned) == (24, 22)
    assert found.epochs_naive_by_role == {"student": 12, "baseline": 6, "teacher": 6}
    assert found.epochs_planned_by_role == {"student": 10, "baseline": 6, "teacher": 6}
    assert found.epochs_naive_by_dataset == {"digits": 24}
    assert found.epochs_planned_by_dataset == {"digits": 22}
    assert found.stages == 4 + 2 * 3
    assert found.todo_epochs == 22


def test_without_sharing_nothing_is_saved(store: Store) -> None:
    found = looked_at(store, share=False)
    assert found.epochs_planned == found.epochs_naive == found.todo_epochs == 24


def test_what_is_done_is_no_longer_to_do_but_still_counted(store: Store) -> None:
    baselines = [cell for cell in cells(STUDY) if cell.role is Role.BASELINE]
    store.trials.publish([trial_row(cell, result()) for cell in baselines])
    found = looked_at(store)
    assert (found.trials, found.done, found.todo) == (8, 2, 6)
    assert (found.epochs_planned, found.todo_epochs) == (22, 16)


def test_the_counts_are_those_of_what_was_asked_for(store: Store) -> None:
    chosen = demand(STUDY, store, parse(["role=baseline"]))
    found = overview(chosen, store, 1)
    assert found.by_role == {"student": 0, "baseline": 2, "teacher": 0}
    assert found.epochs_planned_by_role == {"student": 0, "baseline": 6, "teacher": 0}


def test_a_shared_stage_counts_for_the_role_of_the_trials_that_share_it(store: Store) -> None:
    # Baselines of 2 and 4 epochs share 2 epochs; teachers of the same network are others.
    study = tiny_study(**{"grid.epochs": [2, 4], "grid.switch_epoch": [1]})
    found = looked_at(store, study)
    # Per seed, students of 2 and 4 epochs share one guided epoch and one alone.
    assert found.epochs_naive_by_role == {"student": 12, "baseline": 12, "teacher": 6}
    assert found.epochs_planned_by_role == {"student": 8, "baseline": 8, "teacher": 6}


@settings(max_examples=60, deadline=None)
@given(
    alphas=st.lists(st.sampled_from([0.0, 0.3, 0.7, 1.0]), min_size=1, unique=True),
    switches=st.lists(st.integers(0, 7), min_size=1, unique=True),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True),
    teachers=st.lists(st.sampled_from(["small", "large"]), min_size=1, unique=True),
    temperatures=st.lists(st.sampled_from([1.0, 4.0]), min_size=1, unique=True),
)
def test_planned_epochs_are_the_distinct_prefixes_of_a_grid(
    alphas: list[float],
    switches: list[int],
    lengths: list[int],
    teachers: list[str],
    temperatures: list[float],
) -> None:
    study = tiny_study(
        **{
            "grid.alpha": alphas, "grid.switch_epoch": switches, "grid.epochs": lengths,
            "grid.teacher": teachers, "grid.temperature": temperatures, "grid.past_end": "allow",
        }
    )  # fmt: skip
    # A training as the objective of each of its epochs: "alone", or who guides and how.
    asked = itertools.product(alphas, teachers, temperatures, switches, lengths)
    trainings = {
        tuple(
            (alpha, teacher, temperature) if epoch < switch and alpha < 1 else "alone"
            for epoch in range(length)
        )
        for alpha, teacher, temperature, switch, length in asked
    }
    guided = {training for training in trainings if training[0] != "alone"}
    prefixes = {training[:end] for training in guided for end in range(1, len(training) + 1)}
    naive = {
        "student": 2 * sum(map(len, guided)),
        "baseline": 2 * sum(lengths),
        "teacher": 2 * 3 * len(teachers),
    }
    planned = {**naive, "student": 2 * len(prefixes), "baseline": 2 * max(lengths)}
    wanted = demand(study, None)
    found = overview(wanted, None, 1)
    assert found.epochs_naive_by_role == naive
    assert found.epochs_planned_by_role == planned
    assert (found.epochs_naive, found.epochs_planned) == (
        sum(naive.values()), sum(planned.values()),
    )  # fmt: skip
    assert found.todo_epochs == found.epochs_planned
    assert overview(wanted, None, 1, share=False).epochs_planned_by_role == naive


def test_trials_that_may_stop_early_are_counted(store: Store) -> None:
    assert looked_at(store).may_stop_early == 0
    rule = {"recipe.early_stop.patience": 2, "teacher.recipe": {"early_stop": {"patience": 0}}}
    found = looked_at(store, tiny_study(**rule))
    assert (found.trials, found.may_stop_early) == (8, 6)
    assert (found.epochs_naive, found.epochs_planned) == (24, 22)  # an upper bound
    best = tiny_study(**{"recipe.early_stop.restore_best": True})
    assert looked_at(store, best).may_stop_early == 0


def test_without_earlier_results_there_is_no_guess(store: Store) -> None:
    estimate = looked_at(store).estimate
    assert estimate["seconds"] is None
    assert estimate["unknown"] == ["digits/medium", "digits/small"]
    assert estimate["seconds_per_epoch"] == {}


def test_time_is_estimated_from_earlier_trials(store: Store) -> None:
    found = cells(STUDY)
    teacher = next(cell for cell in found if cell.role is Role.TEACHER)
    earlier = [cell for cell in cells(tiny_study(**{"recipe.epochs": 9})) if not cell.spec.rules]
    first, second = (c for c in earlier if c.role is Role.BASELINE)
    store.trials.publish(
        [
            trial_row(teacher, result(train_s=1.5, epochs_run=3, evaluate_s=0.25)),
            trial_row(first, result(train_s=10.0, epochs_run=4, evaluate_s=1.0)),
            trial_row(second, result(train_s=2.0, epochs_run=2, evaluate_s=2.0)),
        ]
    )
    assert costs_of_results(store) == {
        ("digits", "small"): Cost(0.5, 0.25), ("digits", "medium"): Cost(2.0, 1.5),
    }  # fmt: skip
    estimate = looked_at(store, slots=4).estimate
    # The teacher has no weights, so both are to do: 6 epochs at 0.5 s; 16 epochs at 12 s for 6.
    # Two teachers and six students are evaluated.
    assert estimate["seconds"] == (6 * 0.5 + 16 * 2.0 + 2 * 0.25 + 6 * 1.5) / 4
    assert estimate["seconds_per_epoch"] == {"digits/medium": 2.0, "digits/small": 0.5}
    assert estimate["seconds_per_evaluation"] == {"digits/medium": 1.5, "digits/small": 0.25}
    assert (estimate["unknown"], estimate["slots"]) == ([], 4)


def test_trials_that_took_no_time_teach_nothing(store: Store) -> None:
    (cell, *_) = cells(STUDY)
    store.trials.publish([trial_row(cell, result(train_s=1.0, epochs_run=0))])
    assert costs_of_results(store) == {}


def test_a_measured_pace_takes_the_place_of_earlier_results(store: Store) -> None:
    costs = {("digits", "small"): Cost(1.0, 0.0), ("digits", "medium"): Cost(10.0, 0.5)}
    found = overview(demand(STUDY, store), store, 1, costs)
    assert found.estimate["seconds"] == 6 * 1.0 + 16 * 10.0 + 6 * 0.5


def test_networks_are_measured_with_their_evaluation(store: Store) -> None:
    wanted = demand(tiny_study(**{"evaluation.fgsm_epsilons": [0.1, 0.2, 0.3]}), store)
    costs = calibrate(wanted, steps=2, rows=100)
    assert set(costs) == {("digits", "small"), ("digits", "medium")}
    assert all(cost.epoch_s > 0 and cost.evaluation_s > 0 for cost in costs.values())
    estimate = overview(wanted, store, 1, costs).estimate
    assert estimate["seconds"] > 0


def test_a_pace_that_is_known_in_part_is_no_estimate(store: Store) -> None:
    found = overview(demand(STUDY, store), store, 1, {("digits", "small"): Cost(1.0, 0.0)})
    assert found.estimate["seconds"] is None
    assert found.estimate["unknown"] == ["digits/medium"]


@pytest.mark.parametrize(
    ("name", "dataset", "points"),
    [
        ("thesis-cifar10", "cifar10", 15 * 7),
        ("thesis-fashion-mnist", "fashion_mnist", 15 * 9),
        ("thesis-california", "california_housing", 1500),
        ("quickstart", "digits", 6),
    ],
)
def test_disk_is_counted_by_the_points_of_a_curve(
    store: Store, name: str, dataset: str, points: int
) -> None:
    one = demand(load_study(name), store, parse(["role=baseline seed=38"]))
    two = demand(load_study(name), store, parse(["role=baseline seed=38|1483"]))
    sizes = [overview(found, store, 1).estimate["records_bytes"] for found in (one, two)]
    assert sizes[1] == 2 * sizes[0]
    assert sizes[0] == 300 + 6 * points


def test_kept_weights_are_counted_by_the_files_there_are(store: Store) -> None:
    from sweep.execution.base import WorkerSetup
    from sweep.execution.local import LocalExecutor
    from sweep.run import run
    from tests.sweep.tiny import FakeTraining, tiny_study

    study = tiny_study()
    assert overview(demand(study, store), store, 1).estimate["weights_bytes"] is None
    executor = LocalExecutor(WorkerSetup(runner=FakeTraining()))
    with store.writing():
        run(demand(study, store), store, executor)
    executor.stop()
    more = demand(tiny_study(seeds=[1, 2, 3, 4]), store)
    (size,) = {entry.size for entry in store.kept_weights().values()}
    assert size > 100  # a header and a hash
    # two more teachers
    assert overview(more, store, 1).estimate["weights_bytes"] == 2 * size
    kept = demand(tiny_study(seeds=[1, 2, 3], **{"evaluation.keep": "weights"}), store)
    assert overview(kept, store, 1).estimate["weights_bytes"] is None  # students' are not known


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, 20)), st.booleans())
def test_epochs_to_do_are_those_of_a_plan_of_what_is_left(done: set[int], share: bool) -> None:
    study = tiny_study(
        **{"grid.epochs": [2, 4], "grid.switch_epoch": [1, 2, 4], "grid.past_end": "allow"}
    )
    wanted = demand(study, None)
    left = [cell for number, cell in enumerate(wanted.todo.values()) if number not in done]
    some = replace(wanted, todo={cell.trial_id: cell for cell in left})
    pace = {("digits", "small"): 1.0, ("digits", "medium"): 10.0}
    costs = {kind: Cost(epoch_s, 0.0) for kind, epoch_s in pace.items()}
    found = overview(some, None, 1, costs, share)
    expected = plan((cell.spec for cell in left), share)
    assert found.todo_epochs == expected.epochs
    seconds = sum(stage.epochs * pace["digits", stage.spec.recipe.model]
                  for stage in expected.stages.values())  # fmt: skip
    assert found.estimate["seconds"] == (seconds if left else None)
