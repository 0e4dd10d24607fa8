"""Shares of a study: nothing missing, nothing twice, no tree in two, and the same results joined."""

import functools
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sweep
from sweep import cli, service
from sweep.cells import Demand, choose, demand
from sweep.errors import StudyError
from sweep.expand import Cell, Role, expand
from sweep.filters import parse
from sweep.follow import Finding
from sweep.merge import merge
from sweep.needs import pools
from sweep.plan import plan
from sweep.results import Results
from sweep.service import Where, executor, run_study
from sweep.shard import MAX_SHARDS, Shard, divide, share_of, tree_of
from sweep.store import Store
from sweep.study import Study, load_study
from tests.sweep.test_follow import RAW as LATER
from tests.sweep.tiny import science, tiny_study

HERE = Where(local=True, gpus_per_trial=0.0)
ALONE = {"grid.teacher": [], "grid.alpha": [], "grid.switch_epoch": []}
"""Baselines, and nothing else."""


def shares(study: Study, count: int, only: tuple[str, ...] = ()) -> list[Demand]:
    return [
        demand(study, None, parse(only), shard=Shard(index, count)) for index in range(1, count + 1)
    ]


def learners(found: Demand) -> list[Cell]:
    return [cell for cell in found.chosen if not cell.role.supports]


def epochs(cells: list[Cell]) -> int:
    return plan(cell.spec for cell in cells).epochs


def words(cell: Cell) -> tuple[object, ...]:
    return (
        cell.role, cell.dataset, cell.model, cell.teacher, cell.alpha, cell.switch_epoch,
        cell.seed, tuple(cell.parameters.items()),
    )  # fmt: skip


@st.composite
def studies(draw: st.DrawFn) -> Study:
    """Up to two datasets, trees of several lengths, teachers by pool or by seed, trainings before."""

    def some(values: list[Any]) -> list[Any]:
        return draw(st.lists(st.sampled_from(values), min_size=1, unique=True))

    datasets = {}
    for name in some(["digits", "california_housing"]):
        grid = {
            "teacher": some(["mlp-4", "mlp-5", "mlp-6"]),
            "alpha": some([0.1, 0.6, 0.9, 1.0]),
            "switch_epoch": some([0, 1, 4, 6]),
            "learning_rate": some([0.01, 0.001]),
            "start": some(["scratch", "robust"]),
        }
        teacher = {"match": draw(st.sampled_from(["best", "seed"])), "select_on": "test"}
        datasets[name] = {"student": "mlp-8", "grid": grid, "teacher": teacher}
    return load_study(
        {
            "name": "drawn",
            "seeds": some([1, 2, 3, 4, 5]),
            "recipe": {"epochs": 6, "batch_size": 32},
            "starts": {"robust": {"training": {"epochs": 2}, "objective": {"noisy": 1}}},
            "datasets": datasets,
        }
    )


@settings(max_examples=20, deadline=None)
@given(studies(), st.integers(1, 7))
def test_shards_are_a_partition_along_trees_with_what_they_need(study: Study, count: int) -> None:
    whole = demand(study, None)
    parts = shares(study, count)
    asked = Counter(words(cell) for part in parts for cell in learners(part))
    assert asked == Counter(words(cell) for cell in learners(whole))
    # A prefix that is cut would be trained twice.
    assert sum(epochs(learners(part)) for part in parts) == epochs(learners(whole))
    holders: Counter[str] = Counter()
    for part in parts:
        mine = {words(cell) for cell in part.chosen}
        assert [words(c) for c in part.chosen] == [w for w in map(words, whole.chosen) if w in mine]
        assert pools(part.chosen) <= set(part.by_id)
        supports = {c.trial_id for c in part.chosen if c.role.supports}
        assert supports & pools(whole.chosen) <= pools(part.chosen), "nothing that it does not need"
        holders.update(supports)
    assert set(holders) == {c.trial_id for c in whole.chosen if c.role.supports}
    for part in parts:
        several = {c.trial_id for c in part.chosen if c.role.supports and holders[c.trial_id] > 1}
        assert part.repeated == several


@settings(max_examples=20, deadline=None)
@given(studies(), st.integers(2, 7))
def test_every_kind_is_divided_evenly_as_far_as_trees_allow(study: Study, count: int) -> None:
    cells = learners(demand(study, None))
    shard_of = divide(cells, count)
    kinds: dict[Any, list[Cell]] = defaultdict(list)
    for cell in cells:
        kinds[cell.spec.data, cell.spec.recipe].append(cell)
    for kind in kinds.values():
        trees: dict[Any, list[Cell]] = defaultdict(list)
        for cell in kind:
            trees[tree_of(cell.spec)].append(cell)
        sizes = {tree: epochs(members) for tree, members in trees.items()}
        loads = [sum(n for t, n in sizes.items() if shard_of[t] == i + 1) for i in range(count)]
        even, largest = sum(loads) / count, max(sizes.values())
        assert max(loads) <= even + largest
        assert min(loads) >= even - largest
        if largest <= even / 3:
            assert max(loads) <= 2 * min(loads)
        if len(set(sizes.values())) == 1:
            assert max(loads) - min(loads) <= largest


def test_the_thesis_in_seven_by_hand() -> None:
    """135 trees of 15 + 14 + ... + 1 epochs, 15 baselines of 15: 16,425; a seventh is 2,346."""
    parts = shares(load_study("thesis-cifar10"), 7)
    loads = [epochs(learners(part)) for part in parts]
    assert sum(loads) == 135 * 120 + 15 * 15
    assert all(abs(load - 16_425 / 7) <= 120 for load in loads)
    pools_of_15 = [sum(c.role is Role.TEACHER for c in part.chosen) for part in parts]
    # In a row, those of nobody, of small, of medium and of large: two pieces are of two teachers.
    assert sorted(pools_of_15) == [15, 15, 15, 15, 15, 30, 30]


def test_kinds_of_one_tree_each_go_to_shards_of_their_own() -> None:
    rates = [0.1, 0.01, 0.001]
    study = tiny_study(**ALONE, **{"seeds": [1], "grid.learning_rate": rates})
    assert [len(learners(part)) for part in shares(study, 3)] == [1, 1, 1]
    assert [len(part.chosen) for part in shares(study, 5)] == [1, 1, 1, 0, 0]


def test_who_has_what_is_the_same_in_every_process() -> None:
    code = (
        "from sweep.cells import demand; from sweep.shard import divide; from sweep.study import "
        "load_study; print(sorted(divide(demand(load_study('quickstart'), None).chosen, 4).items()))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1


def test_filters_choose_first_and_what_they_choose_is_divided() -> None:
    study = tiny_study()
    parts = shares(study, 2, ("role=teacher",))
    found = [cell.seed for part in parts for cell in part.chosen]
    assert [len(part.chosen) for part in parts] == [1, 1]
    assert sorted(found) == [1, 2]
    assert all(not part.repeated for part in parts)
    one, two = shares(study, 2, ("seed=2",))
    assert {c.seed for p in (one, two) for c in learners(p)} == {2}
    assert {c.seed for c in one.chosen if c.role.supports} <= {1, 2}, "a pool is never shrunk"
    with pytest.raises(StudyError, match="nothing is left"):
        shares(study, 2, ("seed=2", "seed=1"))


def test_a_later_grid_moves_nothing_that_was_known_before() -> None:
    study = load_study(LATER, {"datasets.digits.baseline": False})
    first = expand(study).cells
    ids = frozenset(cell.trial_id for cell in first)
    known = {
        cell.trial_id: Finding(True, False, {("validation", "metric"): float(number)})
        for number, cell in enumerate(first)
    }
    cells = expand(study, known).cells
    assert len(cells) > len(first)
    for count in (2, 3, 5):
        before = [share_of(choose(first), Shard(i + 1, count)).cells for i in range(count)]
        after = [share_of(choose(cells), Shard(i + 1, count), ids).cells for i in range(count)]
        for one, other in zip(before, after, strict=True):
            assert [c for c in other if c.trial_id in ids] == list(one)
        assert sum(len([c for c in part if c.trial_id not in ids]) for part in after) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "--shard '3': must be I/N, such as 2/8"),
        ("a/b", "must be I/N"),
        ("-1/2", "must be I/N"),
        ("1/2/3", "must be I/N"),
        (" 1/2", "must be I/N"),
        ("\u0661/2", "must be I/N"),
        ("0/2", "--shard 0/2: shards are counted from 1 to 2"),
        ("3/2", "--shard 3/2: shards are counted from 1 to 2"),
        ("1/0", "must be 1 to 1,000"),
        ("1/1001", "must be 1 to 1,000"),
    ],
)
def test_what_is_no_part_is_refused(
    text: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(StudyError) as error:
        Shard.parse(text)
    assert message in str(error.value)
    status, _, said = sweep_command(
        capsys, "plan", "quickstart", f"--shard={text}", "--results", str(tmp_path)
    )
    assert (status, message in said) == (2, True)


def test_the_first_and_the_last_are_parts() -> None:
    assert Shard.parse(f"{MAX_SHARDS}/{MAX_SHARDS}") == Shard(MAX_SHARDS, MAX_SHARDS)
    assert str(Shard.parse("1/1")) == "1/1"


def sweep_command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit status, output and messages of a command, in this process."""
    arguments, sys.argv = sys.argv, ["sweep", *words]
    try:
        cli.main()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    finally:
        sys.argv = arguments
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.parametrize("student", ["medium", "small"])
def test_three_shards_joined_are_the_run_in_one_piece(tmp_path: Path, student: str) -> None:
    """Where students are of the teachers' kind, baselines are teachers as well."""
    study = tiny_study(**{"evaluation.keep": "weights", "datasets.digits.student": student})
    assert run_study(study, tmp_path / "whole", HERE).exit_status == 0
    parts = [Store(tmp_path / f"{index}") for index in (1, 2, 3)]
    for index, store in enumerate(parts, start=1):
        assert run_study(study, str(store), HERE, shard=Shard(index, 3)).exit_status == 0
        again = run_study(study, str(store), HERE, shard=Shard(index, 3))
        assert again.total == 0, "a shard that is done has nothing to do"
        assert Results(str(store)).counts("tiny")["missing"] == 0
    joined, whole = Store(tmp_path / "joined"), Store(tmp_path / "whole")
    found = merge(parts, joined)
    assert (found.conflicts, found.other_class, found.studies) == ([], [], [])
    assert found.exit_status == 0
    assert found.equal > 0, "teachers were trained by several"
    assert science(joined).equals(science(whole))
    assert set(joined.kept_weights()) == set(whole.kept_weights())
    table = [Results(str(store)).cell_table("tiny") for store in (joined, whole)]
    columns = ["role", "teacher", "alpha", "switch_epoch", "seed", "trial_id", "test_metric"]
    rows = [sorted(t.select(columns).to_pylist(), key=str) for t in table]
    assert rows[0] == rows[1]
    assert run_study(study, str(joined), HERE).total == 0


def test_teachers_that_results_hold_are_not_trained_again(tmp_path: Path) -> None:
    study = tiny_study()
    teachers = [Store(tmp_path / f"teachers-{index}") for index in (1, 2)]
    for index, store in enumerate(teachers, start=1):
        only = parse(["role=teacher"])
        done = run_study(study, str(store), HERE, only=only, shard=Shard(index, 2))
        assert done.done == 1
    for index in (1, 2):
        store = Store(tmp_path / f"shard-{index}")
        assert merge(teachers, store).exit_status == 0
        wanted = demand(study, store, shard=Shard(index, 2))
        assert wanted.todo
        assert all(not cell.role.supports for cell in wanted.todo.values())
        assert run_study(study, str(store), HERE, shard=Shard(index, 2)).exit_status == 0


def test_a_shard_beyond_the_trees_ends_well_and_merges(tmp_path: Path) -> None:
    study = tiny_study(**ALONE, seeds=[1])
    parts = [Store(tmp_path / f"{index}") for index in (1, 2)]
    for index, store in enumerate(parts, start=1):
        assert run_study(study, str(store), HERE, shard=Shard(index, 2)).exit_status == 0
    assert [len(store.trials.read(["trial_id"])[0]) for store in parts] == [1, 0]
    found = merge(parts, Store(tmp_path / "joined"))
    assert (found.added["trials"], found.exit_status) == (1, 0)


def test_a_shard_leaves_grids_that_depend_on_answers_to_the_joined_results(
    tmp_path: Path,
) -> None:
    study = load_study(LATER, {"seeds": [1], "grid.teacher": ["mlp-4"], "recipe.epochs": 3})
    whole = Store(tmp_path / "whole")
    assert run_study(study, str(whole), HERE).exit_status == 0
    joined = Store(tmp_path / "joined")
    parts = [Store(tmp_path / f"{index}") for index in (1, 2)]
    for round_ in (1, 2):
        for index, store in enumerate(parts, start=1):
            if round_ == 2:
                assert merge([joined], store).exit_status == 0
            run_study(study, str(store), HERE, shard=Shard(index, 2))
        assert merge(parts, joined).exit_status == 0
        complete = len(joined.trials.read(["trial_id"])[0]) == len(whole.trials.read()[0])
        assert complete == (round_ == 2)
    assert science(joined).equals(science(whole))


def _broken(*_: object) -> NoReturn:
    raise RuntimeError("nothing works")


def test_plan_retry_and_status_of_a_shard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--results", str(tmp_path / "one"), "--shard", "1/2")
    text = """
name = "tiny"
seeds = [1, 2]
grid = {teacher = ["small"], alpha = [0.1, 0.6], switch_epoch = [1]}
recipe = {epochs = 1, batch_size = 64}
split = {train_size = 64, validation = 0.1}
datasets = {digits = {student = "medium"}}
"""
    path = tmp_path / "tiny.toml"
    path.write_text(text)
    status, out, _ = sweep_command(capsys, "plan", str(path), *words, "--json")
    found = json.loads(out)
    assert (status, found["shard"], found["repeated"], found["repeated_epochs"]) == (0, "1/2", 2, 2)
    assert found["by_role"] == {"student": 1, "baseline": 2, "teacher": 2}
    assert sweep.plan_study(load_study(path), tmp_path / "one", shard="2/2").by_role["student"] == 3
    _, out, _ = sweep_command(capsys, "plan", str(path), *words)
    assert "study tiny, shard 1/2: 5 cells, 5 trials" in out

    with monkeypatch.context() as patch:
        patch.setattr(service, "executor", functools.partial(executor, runner=_broken))
        status, _, _ = sweep_command(capsys, "run", str(path), *words, "--local")
    assert status == 1
    status, out, _ = sweep_command(capsys, "run", str(path), *words, "--local")
    assert "left alone; `sweep retry tiny --shard 1/2` runs them again" in out
    status, out, _ = sweep_command(capsys, "retry", str(path), *words, "--local")
    assert status == 0
    assert "study tiny shard 1/2 in" in out
    _, out, _ = sweep_command(
        capsys, "status", "tiny", "--results", str(tmp_path / "one"), "--json"
    )
    assert [s["missing"] for s in json.loads(out)["studies"]] == [0]
