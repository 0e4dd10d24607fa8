"""Grids that depend on answers: what is asked for first, what then, and that it is a pure function."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sweep.attributing import attribute_study
from sweep.cells import demand
from sweep.execution.base import WorkerSetup
from sweep.execution.local import LocalExecutor
from sweep.expand import Cell, Expansion, Role, expand
from sweep.filters import parse
from sweep.findings import findings
from sweep.follow import Finding, Search, best, mean_score, suggestions
from sweep.interrupts import Interrupt
from sweep.progress import Silent
from sweep.records import cell_row
from sweep.run import run
from sweep.service import Where, evaluate_study, executor, run_study
from sweep.store import Store
from sweep.study import Study, load_study
from tests.sweep.tiny import FakeTraining, science
from trials.attribution_settings import AttributionSettings
from trials.task import StageTask

HERE = Where(local=True, gpus_per_trial=0.0)


def accuracy(validation: float | None, test: float = 0.0, diverged: bool = False) -> Finding:
    figures = {} if validation is None else {("validation", "metric"): validation}
    return Finding(True, diverged, {} if diverged else figures | {("test", "metric"): test})


# Scores


def test_scores_are_to_be_high() -> None:
    known = {("test", "metric"): 60.0, ("test", "loss"): 2.0, ("test", "fgsm 0.1"): 30.0}
    one, other = Finding(True, False, known), Finding(False, False, known)
    assert [one.score("test", f) for f in ("metric", "loss", "fgsm 0.1")] == [60.0, -2.0, 30.0]
    assert [other.score("test", f) for f in ("metric", "loss", "fgsm 0.1")] == [-60.0, -2.0, -30.0]
    assert one.score("validation", "metric") is None
    assert Finding(True, True, {}).score("test", "metric") == float("-inf")
    assert Finding(True, False, {("test", "loss"): float("nan")}).score("test", "loss") == float(
        "-inf"
    )


def test_a_mean_is_known_when_all_of_it_is() -> None:
    known = {"a": accuracy(40), "b": accuracy(60), "bad": accuracy(None, diverged=True),
             "else": accuracy(None)}  # fmt: skip
    assert mean_score(["a", "b"], known, "validation", "metric") == 50
    assert mean_score(["a", "c"], known, "validation", "metric") is None
    assert mean_score(["a", "bad"], known, "validation", "metric") == float("-inf")
    # Done, but this was not measured: not the same as diverged.
    assert mean_score(["a", "else"], known, "validation", "metric") is None


def test_the_best_is_the_first_of_equals_and_none_where_all_diverged() -> None:
    known = {"a": accuracy(40), "b": accuracy(60), "c": accuracy(50), "d": accuracy(50),
             "bad": accuracy(None, diverged=True)}  # fmt: skip
    assert best({"x": ["a", "b"], "y": ["c", "d"]}, known, "validation", "metric") == "x"
    assert best({"y": ["c", "d"], "x": ["a", "b"]}, known, "validation", "metric") == "y"
    assert best({"x": ["b", "bad"], "y": ["a"]}, known, "validation", "metric") == "y"
    assert best({"x": ["bad"]}, known, "validation", "metric") is None
    assert best({"x": ["a"], "y": ["missing"]}, known, "validation", "metric") is None
    assert best({}, known, "validation", "metric") is None


# A second grid

RAW: dict[str, Any] = {
    "name": "later",
    "seeds": [1, 2],
    "grid": {"teacher": ["mlp-4", "mlp-5"], "alpha": [0.1, 0.6], "switch_epoch": [2, 3]},
    "recipe": {"epochs": 3, "batch_size": 32},
    "split": {"train_size": 64, "validation": 0.1},
    "datasets": {"digits": {"student": "mlp-6"}},
    "then": [{"best": ["alpha", "switch_epoch"], "grid": {"ramp": ["linear"]}}],
}


def study_of(**changes: Any) -> Study:
    return load_study(RAW, changes)


def students(found: Expansion) -> list[Cell]:
    return [c for c in found.cells if c.role is Role.STUDENT]


def asked(cell: Cell) -> tuple[Any, ...]:
    return cell.teacher, cell.alpha, cell.switch_epoch, cell.parameters["ramp"], cell.seed


def answers(
    found: Sequence[Cell], scores: Mapping[tuple[str, float, int], float], **others: Any
) -> dict[str, Finding]:
    """Figures for the cells of the first grid, the same for all seeds."""
    return {
        cell.trial_id: accuracy(scores.get((cell.teacher, cell.alpha, cell.switch_epoch), 0.0), **others)  # type: ignore[arg-type]
        for cell in found
    }  # fmt: skip


def test_without_answers_there_is_the_first_grid_and_a_word_of_the_second() -> None:
    found = expand(study_of())
    assert len(students(found)) == 2 * 2 * 2 * 2
    assert found.waiting == (
        "digits: another grid of ramp around the best alpha, switch_epoch (step 2 of the study)",
    )


def test_the_second_grid_is_around_the_best_of_each_teacher() -> None:
    first = students(expand(study_of()))
    known = answers(first, {("mlp-4", 0.6, 2): 70.0, ("mlp-5", 0.1, 3): 80.0})
    found = expand(study_of(), known)
    assert found.waiting == ()
    more = [asked(c) for c in students(found)[len(first):]]  # fmt: skip
    assert more == [
        ("mlp-4", 0.6, 2, "linear", 1), ("mlp-4", 0.6, 2, "linear", 2),
        ("mlp-5", 0.1, 3, "linear", 1), ("mlp-5", 0.1, 3, "linear", 2),
    ]  # fmt: skip
    assert students(found)[: len(first)] == first


def test_it_is_the_mean_over_seeds_on_the_split_that_is_named() -> None:
    first = students(expand(study_of(**{"grid.teacher": ["mlp-4"]})))
    by_word = {(*asked(c)[1:3], c.seed): c.trial_id for c in first}
    known = {trial_id: accuracy(50.0, 10.0) for trial_id in by_word.values()}
    known[by_word[0.1, 2, 1]] = accuracy(90.0, 0.0)  # best of one seed
    known[by_word[0.1, 2, 2]] = accuracy(20.0, 0.0)  # mean 55
    known[by_word[0.6, 3, 1]] = accuracy(56.0, 0.0)
    known[by_word[0.6, 3, 2]] = accuracy(56.0, 0.0)  # mean 56
    known[by_word[0.1, 3, 1]] = accuracy(50.0, 99.0)  # best on test

    def chosen(**then: Any) -> set[tuple[Any, ...]]:
        study = study_of(**{"grid.teacher": ["mlp-4"], "then": [{**RAW["then"][0], **then}]})
        return {asked(c)[1:3] for c in students(expand(study, known)) if c.parameters["ramp"]}

    assert chosen() == {(0.6, 3)}
    assert chosen(select_on="test") == {(0.1, 3)}


def test_of_equals_the_first_asked_for_is_taken_and_what_diverged_never() -> None:
    changes = {"grid.teacher": ["mlp-4"], "grid.switch_epoch": [2]}
    first = students(expand(study_of(**changes)))
    known = {c.trial_id: accuracy(50.0) for c in first}
    more = [asked(c)[1] for c in students(expand(study_of(**changes), known))[len(first):]]  # fmt: skip
    assert more == [0.1, 0.1]
    known[first[0].trial_id] = accuracy(None, diverged=True)
    more = [asked(c)[1] for c in students(expand(study_of(**changes), known))[len(first):]]  # fmt: skip
    assert more == [0.6, 0.6]
    all_bad = {c.trial_id: accuracy(None, diverged=True) for c in first}
    found = expand(study_of(**changes), all_bad)
    assert (len(students(found)), len(found.waiting)) == (len(first), 1)


def test_what_is_asked_for_twice_in_the_same_words_is_one_cell() -> None:
    then = [{"best": ["alpha"], "grid": {"switch_epoch": [2, 3]}}]
    changes = {"grid.teacher": ["mlp-4"], "then": then}
    first = students(expand(study_of(**changes)))
    known = {c.trial_id: accuracy(50.0) for c in first}
    assert students(expand(study_of(**changes), known)) == first


def test_a_third_grid_follows_the_second() -> None:
    then = [
        {"best": ["alpha", "switch_epoch"], "grid": {"ramp": ["none", "linear"]}},
        {"best": ["alpha", "switch_epoch", "ramp"], "grid": {"init": ["he"]}},
    ]
    changes = {"grid.teacher": ["mlp-4"], "then": then}
    study = study_of(**changes)
    first = students(expand(study))
    known = answers(first, {("mlp-4", 0.6, 2): 70.0})
    second = expand(study, known)
    (line,) = second.waiting
    assert "another grid of init around the best alpha, switch_epoch, ramp (step 3" in line
    linear = [c for c in students(second) if c.parameters["ramp"] == "linear"]
    assert len(linear) == 2
    third = expand(study, known | {c.trial_id: accuracy(75.0) for c in linear})
    assert third.waiting == ()
    last = students(third)[-2:]
    assert [(*asked(c), c.parameters["init"]) for c in last] == [
        ("mlp-4", 0.6, 2, "linear", 1, "he"), ("mlp-4", 0.6, 2, "linear", 2, "he"),
    ]  # fmt: skip
    # Where one of the first grid, which has no ramp, stays the best, there is none in the third.
    third = expand(study, known | {c.trial_id: accuracy(65.0) for c in linear})
    assert [c.parameters["init"] for c in students(third)[-2:]] == ["he", "he"]
    assert {c.parameters["ramp"] for c in students(third)[-2:]} <= {None, "none"}


# A search


SEARCHED: dict[str, Any] = {
    "name": "searched",
    "seeds": [1, 2],
    "grid": {"teacher": ["mlp-4"], "start": ["zero-pad"]},
    "recipe": {"epochs": 2, "batch_size": 32},
    "split": {"train_size": 64, "validation": 0.1},
    "teacher": {"match": "seed"},
    "evaluation": {"fgsm_epsilons": [0.05]},
    "datasets": {"digits": {"student": "mlp-6", "baseline": False}},
    "starts": {"near": {"training": {"epochs": 1}, "objective": {"amplitude": 0.05}}},
    "search": {"found": {"start": "near", "weights": ["hard", "anchor"], "trials": 3}},
}
SETTINGS = Search(start="near", weights=("hard", "anchor"), trials=12)


def asked_of(search: Search, score: Any, until: int | None = None) -> list[dict[str, float]]:
    def score_of(number: int, weights: Mapping[str, float]) -> float | None:
        return None if until is not None and number >= until else score(weights)

    return list(suggestions(search, score_of))


def near(weights: Mapping[str, float]) -> float:
    return -abs(weights["hard"] - 0.7) - abs(weights["anchor"] - 0.2)


def test_suggestions_are_a_pure_function_of_the_scores() -> None:
    whole = asked_of(SETTINGS, near)
    assert len(whole) == 12
    assert all(set(w) == {"hard", "anchor"} and all(0 <= v <= 1 for v in w.values()) for w in whole)
    assert asked_of(SETTINGS, near) == whole
    for known in (0, 1, 5, 11):  # one more than those with a score
        assert asked_of(SETTINGS, near, known) == whole[: known + 1]
    assert len({tuple(w.values()) for w in whole}) == 12


def test_suggestions_depend_on_the_seed_of_the_sampler_and_on_the_scores() -> None:
    whole = asked_of(SETTINGS, near)
    other = asked_of(SETTINGS.model_copy(update={"sampler_seed": 1}), near)
    assert other[0] != whole[0]
    # The first ten are drawn at random (TPE begins with ten of them); then scores say where.
    turned = asked_of(SETTINGS, lambda weights: -near(weights))
    assert turned[:10] == whole[:10]
    assert turned[10:] != whole[10:]


def test_suggestions_lie_between_low_and_high_and_survive_a_diverged_one() -> None:
    narrow = SETTINGS.model_copy(update={"low": 0.25, "high": 0.5})
    found = asked_of(narrow, lambda w: float("-inf") if w["hard"] > 0.4 else w["hard"])
    assert len(found) == 12
    assert all(0.25 <= value <= 0.5 for weights in found for value in weights.values())


def test_a_search_asks_for_one_suggestion_after_the_other_and_then_for_the_best() -> None:
    study = load_study(SEARCHED)
    known: dict[str, Finding] = {}
    seen: list[str] = []
    for number in range(1, 4):
        found = expand(study, known)
        names = list(dict.fromkeys(c.parameters["start"] for c in students(found)))
        assert names == ["zero-pad", *(f"found-{n:02d}" for n in range(1, number + 1))]
        assert found.waiting == (f"digits: search found, {number} of 3 suggestions made",)
        latest = [c for c in students(found) if c.parameters["start"] == names[-1]]
        assert [c.seed for c in latest] == [1, 2]
        seen.append(latest[0].trial_id)
        # The second is the best, by the mean of both seeds.
        high, low = (90.0, 60.0) if number == 2 else (70.0, 70.0)
        known |= {c.trial_id: accuracy(v) for c, v in zip(latest, (high, low), strict=True)}
    found = expand(study, known)
    assert found.waiting == ()
    final = [c for c in students(found) if c.parameters["start"] == "found"]
    second = [c for c in students(found) if c.parameters["start"] == "found-02"]
    assert [c.trial_id for c in final] == [c.trial_id for c in second]
    assert seen[1] == final[0].trial_id
    assert len({c.trial_id for c in students(found)}) == 2 + 3 * 2


def test_a_search_has_students_of_its_own_length_and_seeds() -> None:
    changes = {"search.found.epochs": 1, "search.found.seeds": [2], "grid.epochs": [2, 3]}
    study = load_study(SEARCHED, changes)
    known: dict[str, Finding] = {}
    for _ in range(3):
        found = expand(study, known)
        tried = [c for c in students(found) if str(c.parameters["start"]).startswith("found-")]
        assert {(c.seed, c.spec.epochs) for c in tried} == {(2, 1)}
        assert {c.seed for c in found.cells if c.role is Role.START} == {2}
        known |= {c.trial_id: accuracy(50.0) for c in tried if c.trial_id not in known}
    final = [c for c in students(expand(study, known)) if c.parameters["start"] == "found"]
    assert [(c.spec.epochs, c.seed) for c in final] == [(2, 1), (2, 2), (3, 1), (3, 2)]


def test_the_weights_of_a_suggestion_are_those_of_the_training_before() -> None:
    found = expand(load_study(SEARCHED))
    (weights,) = asked_of(SETTINGS, near, 0)
    starts = [c for c in found.cells if c.role is Role.START]
    assert len(starts) == 2
    for cell in starts:
        (segment,) = cell.spec.schedule
        assert segment.objective.hard == weights["hard"]
        assert segment.objective.terms.anchor == weights["anchor"]
        assert segment.objective.terms.noisy == 0


def test_an_attack_that_was_not_measured_yet_is_waited_for() -> None:
    changes = {"search.found.attack": "fgsm", "search.found.epsilon": 0.05,
               "search.found.select_on": "test"}  # fmt: skip
    study = load_study(SEARCHED, changes)
    tried = [c for c in students(expand(study)) if c.parameters["start"] == "found-01"]
    known = {c.trial_id: accuracy(50.0) for c in tried}
    assert expand(study, known).waiting == ("digits: search found, 1 of 3 suggestions made",)
    known = {
        c.trial_id: Finding(True, False, {("test", "fgsm 0.05"): 10.0}) for c in tried
    }  # fmt: skip
    assert expand(study, known).waiting == ("digits: search found, 2 of 3 suggestions made",)


# In earnest


class Told(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_one_command_runs_both_grids(tmp_path: Path) -> None:
    study, told = study_of(), Told()
    before = demand(study, Store(tmp_path))
    assert len(before.waiting) == 1
    summary = run_study(study, tmp_path, HERE, progress=told)
    assert summary.exit_status == 0
    assert "4 trials follow from what was found" in told.lines
    store = Store(tmp_path)
    after = demand(study, store)
    assert (after.waiting, after.todo) == ((), {})
    assert after.done == summary.done == len({c.trial_id for c in before.everything}) + 4
    rows = science(store).to_pylist()
    assert sum(row["ramp"] == "linear" for row in rows) == 4
    # What was chosen is the best of the first grid by the records.
    known = findings(store)
    for teacher in ("mlp-4", "mlp-5"):
        mine = [c for c in students(expand(study)) if c.teacher == teacher]
        means: dict[tuple[Any, ...], float] = {}
        for cell in mine:
            figure = known[cell.trial_id].figures["validation", "metric"]
            key = (cell.alpha, cell.switch_epoch)
            means[key] = means.get(key, 0.0) + figure / 2
        (chosen,) = {
            (c.alpha, c.switch_epoch)
            for c in after.everything
            if c.teacher == teacher and c.parameters["ramp"] == "linear"
        }
        assert means[chosen] == max(means.values())
    cells, _ = store.read_cells("later") or (None, "")
    assert cells is not None
    assert cells.to_pylist() == [cell_row(cell) for cell in after.everything]
    assert run_study(study, tmp_path, HERE).total == 0


def test_a_second_grid_of_trials_that_are_there_is_asked_for_all_the_same(tmp_path: Path) -> None:
    """Over one epoch a ramp goes nowhere: its trials are those without."""
    study = study_of(**{"grid.teacher": ["mlp-4"], "grid.switch_epoch": [1]})
    told = Told()
    assert run_study(study, tmp_path, HERE, progress=told).exit_status == 0
    assert told.lines == []
    cells, _ = Store(tmp_path).read_cells("later") or (None, "")
    assert cells is not None
    assert cells["ramp"].to_pylist().count("linear") == 2
    assert demand(study, Store(tmp_path)).waiting == ()


def test_an_interrupted_run_goes_on_with_the_second_grid(tmp_path: Path) -> None:
    study = study_of()
    whole, parts = Store(tmp_path / "whole"), Store(tmp_path / "parts")
    run_study(study, whole.layout.root, HERE)
    with parts.writing(), executor(HERE) as workers:  # killed between the grids
        run(demand(study, parts), parts, workers)
    wanted = demand(study, parts)
    assert (len(wanted.todo), wanted.waiting) == (4, ())
    summary = run_study(study, parts.layout.root, HERE)
    assert (summary.done, summary.exit_status) == (4, 0)
    assert science(parts).equals(science(whole))


def test_what_failed_is_tried_again_once_whatever_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(task: StageTask) -> BaseException | None:
        alone = task.spec.recipe.model == "mlp-6" and not task.spec.rules and task.ends_trial
        return ValueError("boom") if alone and task.spec.epochs == 3 else None

    training = FakeTraining(fails)

    @contextmanager
    def fake(*_: Any, **__: Any) -> Iterator[LocalExecutor]:
        yield LocalExecutor(WorkerSetup(runner=training))

    monkeypatch.setattr("sweep.service.executor", fake)
    monkeypatch.setattr("sweep.service._fetch_data", lambda *_: None)
    first = run_study(study_of(), tmp_path, HERE, seeds=1, only=parse(["role=baseline"]))
    assert (first.failed, first.exit_status) == (1, 1)
    both = run_study(study_of(), tmp_path, HERE, retry=())
    attempts, _ = Store(tmp_path).attempts.read()
    failed = [row["trial_id"] for row in attempts.to_pylist() if row["status"] == "failed"]
    # The one of seed 1 before and now, that of seed 2 now; not again with the second grid.
    assert sorted(failed.count(trial_id) for trial_id in set(failed)) == [1, 2]
    assert both.failed == 2
    assert sum(row["ramp"] == "linear" for row in science(Store(tmp_path)).to_pylist()) == 4


def test_what_is_blocked_counts_once_whatever_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two datasets one has no teacher; the grids of the other go on."""

    def fails(task: StageTask) -> BaseException | None:
        teaches = task.spec.recipe.model == "mlp-4" and task.spec.data.name == "mnist"
        return ValueError("boom") if teaches else None

    @contextmanager
    def fake(*_: Any, **__: Any) -> Iterator[LocalExecutor]:
        yield LocalExecutor(WorkerSetup(runner=FakeTraining(fails)))

    monkeypatch.setattr("sweep.service.executor", fake)
    monkeypatch.setattr("sweep.service._fetch_data", lambda *_: None)
    both = {"digits": {"student": "mlp-6"}, "mnist": {"student": "mlp-6"}}
    study = study_of(**{"grid.teacher": ["mlp-4"], "datasets": both})
    summary = run_study(study, tmp_path, HERE)
    # Of mnist 2 teachers fail, 2 x 2 students of 2 seeds are blocked, 2 baselines are done; of digits
    # these 12 are done, and 2 with a ramp follow.
    counts = (summary.total, summary.done, summary.failed, summary.blocked)
    assert counts == (26, 16, 2, 8)
    assert sum("blocked" in line for line in summary.failures) == 1


def test_a_baseline_whose_weights_a_later_grid_begins_with_is_trained_again(tmp_path: Path) -> None:
    """The first grid keeps no weights of it."""
    study = study_of(
        **{"grid.teacher": ["mlp-4"], "grid.alpha": [0.5], "grid.switch_epoch": [2, 3]},
        starts={"again": {"training": {}}},
        then=[{"best": ["switch_epoch"], "grid": {"start": ["again"]}}],
    )
    summary = run_study(study, tmp_path, HERE)
    # 2 teachers, 2 baselines, 4 students; then these baselines and the 2 students that follow.
    assert (summary.exit_status, summary.blocked, summary.done) == (0, 0, 8 + 4)
    rows = science(Store(tmp_path)).to_pylist()
    assert sum(row["role"] == "student" and row["start"] == "again" for row in rows) == 2


def test_a_figure_that_was_not_measured_is_told_of(tmp_path: Path) -> None:
    """All is trained, but what a search goes by is not there."""
    run_study(load_study(SEARCHED, {"evaluation.fgsm_epsilons": []}), tmp_path, HERE)
    changes = {"search.found.attack": "fgsm", "search.found.epsilon": 0.05,
               "search.found.select_on": "test"}  # fmt: skip
    told = Told()
    summary = run_study(load_study(SEARCHED, changes), tmp_path, HERE, progress=told)
    assert summary.total == 0
    assert any("not asked for yet: digits: search found, 1 of 3" in line for line in told.lines)


def test_a_search_runs_to_its_end_and_its_best_is_a_row(tmp_path: Path) -> None:
    study = load_study(SEARCHED)
    whole, parts = Store(tmp_path / "whole"), Store(tmp_path / "parts")
    assert run_study(study, whole.layout.root, HERE).exit_status == 0
    cells, _ = whole.read_cells("searched") or (None, "")
    assert cells is not None
    names = set(cells["start"].to_pylist())
    assert {"zero-pad", "found-01", "found-02", "found-03", "found"} <= names
    # The first two rounds alone, then the rest: the same trials, the same bits.
    for _ in range(2):
        with parts.writing(), executor(HERE) as workers:
            run(demand(study, parts), parts, workers, interrupt=Interrupt())
    assert demand(study, parts).waiting
    assert run_study(study, parts.layout.root, HERE).exit_status == 0
    assert science(parts).equals(science(whole))
    other, _ = parts.read_cells("searched") or (None, "")
    assert cells.equals(other)


def test_later_grids_are_evaluated_too(tmp_path: Path) -> None:
    study = study_of(**{"evaluation.keep": "weights", "grid.teacher": ["mlp-4"]})
    run_study(study, tmp_path, HERE)
    trials = Store(tmp_path).trials.read(["trial_id"])[0].num_rows
    more = study_of(
        **{
            "evaluation.keep": "weights",
            "grid.teacher": ["mlp-4"],
            "evaluation.fgsm_epsilons": [0.1],
        }
    )
    assert evaluate_study(more, tmp_path, HERE).evaluated == trials


def test_students_of_a_later_grid_are_asked_where_they_look_by_the_seeds_that_were_run(
    tmp_path: Path,
) -> None:
    changes = {"evaluation.keep": "weights", "grid.teacher": ["mlp-4"], "grid.alpha": [0.5]}
    run_study(study_of(**changes), tmp_path, HERE, seeds=1)
    only = parse(["role=student"])  # two switch epochs, and the better one with a ramp
    settings = AttributionSettings(images=2, background=2)
    found = attribute_study(
        study_of(**changes), tmp_path, HERE, settings=settings, only=only, seeds=1
    )
    assert found.attributed == 3
    more = study_of(**changes, **{"evaluation.fgsm_epsilons": [0.1]})
    assert evaluate_study(more, tmp_path, HERE, only=only, seeds=1).evaluated == 3


def test_a_point_measured_later_counts(tmp_path: Path) -> None:
    changes = {"evaluation.keep": "weights", "grid.teacher": ["mlp-4"], "then": []}
    run_study(study_of(**changes), tmp_path, HERE)
    store = Store(tmp_path)
    assert not any(("test", "fgsm 0.1") in f.figures for f in findings(store).values())
    changes["evaluation.fgsm_epsilons"] = [0.1]
    evaluate_study(study_of(**changes), tmp_path, HERE)
    assert all(("test", "fgsm 0.1") in f.figures for f in findings(store).values())


def test_where_the_first_grid_is_not_done_the_second_is_told_of(tmp_path: Path) -> None:
    told, only = Told(), parse(["switch_epoch=2"])
    summary = run_study(study_of(), tmp_path, HERE, only=only, progress=told)
    assert summary.exit_status == 0
    assert any("not asked for yet: digits: another grid of ramp" in line for line in told.lines)


def test_what_is_best_goes_by_the_seeds_that_are_run(tmp_path: Path) -> None:
    study = study_of(**{"grid.teacher": ["mlp-4"]})
    # 2 teachers, of which one is chosen; a baseline, 4 students, and the best of these with a ramp.
    assert run_study(study, tmp_path, HERE, seeds=1).done == 2 + 1 + 4 + 1
    rows = science(Store(tmp_path)).to_pylist()
    assert {row["seed"] for row in rows if row["ramp"] == "linear"} == {1}


def test_students_of_another_size_are_compared_with_those_they_stand_for() -> None:
    """A start puts another network in the student's place."""
    changes: dict[str, Any] = {
        "starts": {"same": {"growth": "copy", "student": "mlp-4"}},
        "grid": {"teacher": ["mlp-4"], "start": ["same"], "batch_size": [16, 32]},
        "then": [{"best": ["batch_size"], "grid": {"init": ["he"]}}],
    }
    first = students(expand(study_of(**changes)))
    known = {c.trial_id: accuracy(float(c.parameters["batch_size"] or 0)) for c in first}
    more = students(expand(study_of(**changes), known))[len(first) :]
    assert {(c.model, c.parameters["batch_size"], c.parameters["init"]) for c in more} == {
        ("mlp-4", 32, "he")
    }
