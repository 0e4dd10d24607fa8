"""Which class a stage is trained in: what belongs together stays together, and all are busy."""

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep import binding as module
from sweep.binding import Binding, joined, shared_out
from sweep.cells import demand
from sweep.plan import plan
from tests.sweep.tiny import tiny_study

NAMES = st.sampled_from("abcdefgh")
LINKS = st.lists(st.tuples(NAMES, NAMES), max_size=12)


def reachable(links: list[tuple[str, str]], start: str) -> set[str]:
    found, queue = {start}, [start]
    while queue:
        here = queue.pop()
        for one, other in links:
            for there in {one, other} - found if here in (one, other) else ():
                found.add(there)
                queue.append(there)
    return found


@given(LINKS)
def test_a_component_is_what_can_be_reached(links: list[tuple[str, str]]) -> None:
    found = joined(links)
    assert set(found) == {name for link in links for name in link}
    for name in found:
        assert {n for n in found if found[n] == found[name]} == reachable(links, name)


def test_work_is_shared_out_in_proportion() -> None:
    """By hand: 6 to b (3 < 6), 5 to a (5 < 5.5: 11/2), 4 to b (10/2 = 5 < 9), 3 to b (6.5 < 8)."""
    work = dict(zip("wxyz", (6.0, 5.0, 4.0, 3.0), strict=True))
    found = shared_out(work, {"a": 1.0, "b": 2.0}, {})
    assert found == {"w": "b", "x": "a", "y": "b", "z": "b"}
    # What is fixed counts: 12 on b is 6 of time, so a takes the next two (5, 9 > 8.5: not the third)
    found = shared_out(work | {"v": 12.0}, {"a": 1.0, "b": 2.0}, {"v": "b"})
    assert found == {"v": "b", "w": "a", "x": "b", "y": "a", "z": "b"}
    assert shared_out(work, {}, {"w": "gone"}) == {"w": "gone"}


WORK = st.dictionaries(st.integers(0, 30), st.floats(0.0, 100.0), max_size=12)
CAPACITY = st.dictionaries(st.sampled_from("abc"), st.integers(1, 16), min_size=1)


@given(WORK, CAPACITY, st.data())
def test_no_piece_would_be_done_sooner_elsewhere(
    work: dict[int, float], capacity: dict[str, int], draw: st.DataObject
) -> None:
    some = draw.draw(st.lists(st.sampled_from(sorted(work)), unique=True)) if work else []
    fixed = {piece: draw.draw(st.sampled_from([*capacity, "gone"])) for piece in some}
    found = shared_out(work, capacity, fixed)
    assert set(found) == set(work)
    assert {piece: found[piece] for piece in fixed} == fixed
    free = [piece for piece in work if piece not in fixed]
    assert {found[piece] for piece in free} <= set(capacity)
    load: dict[str, float] = defaultdict(float)
    for piece, numerics in found.items():
        load[numerics] += work[piece]
    for piece in free:
        mine = load[found[piece]] / capacity[found[piece]]
        # Taking the smallest of a class's pieces elsewhere would not end it sooner.
        smallest = min(work[p] for p in free if found[p] == found[piece])
        for other in capacity:
            assert (
                mine <= (load[other] + smallest) / capacity[other] + 1e-9 or other == found[piece]
            )


# A plan


@pytest.fixture
def bound() -> Binding:
    """Two networks teach a third; two seeds, each also of a baseline."""
    study = tiny_study(
        **{
            "grid.teacher": ["small", "large"],
            "grid.alpha": [0.1, 0.5],
            "grid.switch_epoch": [1, 3],
        }
    )
    wanted = demand(study, None)
    return Binding(
        plan([cell.spec for cell in wanted.todo.values()]), {}, [], [], lambda s: float(s.epochs)
    )


def role(binding: Binding, component: str) -> tuple[int, frozenset[str]]:
    """How many trees a component has, and which networks they train."""
    stages = binding.stages(component)
    trees = sum(stage.parent is None for stage in stages)
    return trees, frozenset(stage.spec.recipe.model for stage in stages)


def test_a_teacher_and_its_students_are_one_component(bound: Binding) -> None:
    """Each teacher's two candidates, and a tree for each alpha and seed; baselines are alone."""
    found = sorted((role(bound, c) for c in bound.components), key=lambda r: (r[0], sorted(r[1])))
    assert found == [
        (1, frozenset({"medium"})),
        (1, frozenset({"medium"})),
        (2 + 4, frozenset({"large", "medium"})),
        (2 + 4, frozenset({"medium", "small"})),
    ]
    assert all(bound.of(stage) is None for stage in bound.plan.stages)


def classes(bound: Binding) -> dict[str, str | None]:
    return {c: bound.of(bound.stages(c)[0].key) for c in bound.components}


def test_components_are_shared_out_and_stay(bound: Binding) -> None:
    assert bound.follow({"a": 4, "b": 4}, 0.0) == (True, [])
    first = classes(bound)
    assert sorted(map(str, first.values())) == ["a", "a", "b", "b"]
    # All of a tree, and of what its students learn from, is in one class.
    assert all(
        bound.of(stage.key) == first[c] for c in bound.components for stage in bound.stages(c)
    )
    begun = {c for c in bound.components if first[c] == "a"}
    for component in begun:
        bound.begin(bound.stages(component)[0].key)
    assert bound.follow({"a": 4, "b": 4}, 1.0) == (False, [])
    # A larger class comes: what has not begun goes there, what has stays.
    changed, moved = bound.follow({"a": 4, "b": 1, "c": 100}, 2.0)
    assert (changed, moved) == (True, [])
    assert classes(bound) == {c: "a" if c in begun else "c" for c in bound.components}


def test_a_class_that_is_gone_is_waited_for(bound: Binding) -> None:
    bound.follow({"a": 4, "b": 4}, 0.0)
    first = classes(bound)
    on_b = sorted(c for c in bound.components if first[c] == "b")
    bound.begin(bound.stages(on_b[0])[0].key)
    later = 10.0
    assert bound.follow({"a": 4}, later) == (False, []), "its nodes may come back"
    assert bound.follow({"a": 4}, later + module.UNBEGUN_PATIENCE_S - 1) == (False, [])
    assert classes(bound) == first
    changed, moved = bound.follow({"a": 4}, later + module.UNBEGUN_PATIENCE_S + 1)
    assert (changed, moved) == (True, [])
    assert classes(bound) == {c: "b" if c == on_b[0] else "a" for c in bound.components}
    assert bound.follow({"a": 4}, later + module.BEGUN_PATIENCE_S - 1) == (False, [])
    changed, moved = bound.follow({"a": 4}, later + module.BEGUN_PATIENCE_S + 1)
    assert changed
    assert moved == [(on_b[0], "b", "a")]
    assert set(classes(bound).values()) == {"a"}


def test_a_class_that_comes_back_in_time_keeps_what_it_had(bound: Binding) -> None:
    bound.follow({"a": 4, "b": 4}, 0.0)
    first = classes(bound)
    for component in bound.components:
        bound.begin(bound.stages(component)[0].key)
    bound.follow({"a": 4}, 1.0)
    bound.follow({"a": 4, "b": 1}, module.BEGUN_PATIENCE_S)
    bound.follow({"a": 4}, module.BEGUN_PATIENCE_S + 1)
    # Gone since a moment: it was there in between.
    assert bound.follow({"a": 4}, 2 * module.BEGUN_PATIENCE_S) == (False, [])
    assert classes(bound) == first


def test_nothing_is_moved_while_there_is_no_class(bound: Binding) -> None:
    bound.follow({"a": 4}, 0.0)
    assert bound.follow({}, 1.0) == (False, [])
    assert bound.follow({}, 1e6) == (False, [])
    assert set(classes(bound).values()) == {"a"}


def test_what_was_begun_in_a_class_goes_on_in_it() -> None:
    """One of a teacher's candidates is done: its siblings and students are trained where it was."""
    study = tiny_study(**{"grid.alpha": [0.1], "grid.switch_epoch": [3]})
    cells: list[Any] = list(demand(study, None).todo.values())
    teachers = [cell for cell in cells if cell.role == "teacher"]
    done, todo = teachers[0].spec, [cell.spec for cell in cells if cell is not teachers[0]]
    bound = Binding(
        plan(todo), {done.trial_id: "b", "unrelated": "a"}, [done], [], lambda s: float(s.epochs)
    )
    assert bound.follow({"a": 100, "b": 1}, 0.0)[0]
    guided = {stage.key for stage in bound.plan.stages.values() if stage.rules}
    assert guided
    assert {bound.of(key) for key in guided} == {"b"}
    assert bound.of(teachers[1].trial_id) == "b"
    assert not bound.wishes_missed()
    elsewhere = Binding(bound.plan, bound.earlier, bound.done, [], bound.work)
    elsewhere.follow({"a": 100}, 0.0)
    assert elsewhere.wishes_missed() == {"b": 1}


def test_an_idle_class_takes_of_what_has_not_begun(bound: Binding) -> None:
    left = {stage.key: float(stage.epochs) for stage in bound.plan.stages.values()}
    bound.work = lambda stage: left[stage.key]
    bound.follow({"a": 1, "b": 1}, 0.0)
    first = classes(bound)
    on_a = [c for c in bound.components if first[c] == "a"]
    for component in on_a:
        bound.begin(bound.stages(component)[0].key)
        left |= {stage.key: 0.0 for stage in bound.stages(component)}
    assert bound.balance()
    taken = {c for c in bound.components if classes(bound)[c] == "a"} - set(on_a)
    assert len(taken) == 1
    assert not bound.balance()
