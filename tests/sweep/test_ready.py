"""The order in which stages start: what was released last first, within the room for snapshots."""

from hypothesis import given
from hypothesis import strategies as st

from sweep.ready import Ready


def everywhere(_: str) -> bool:
    return True


def nowhere(_: str) -> bool:
    return False


def test_what_came_last_starts_first() -> None:
    ready = Ready()
    for key, leaves in (("a", True), ("b", False), ("c", True), ("d", False)):
        ready.push(key, leaves)
    assert [ready.pop(everywhere, idle=False) for _ in range(5)] == ["d", "c", "b", "a", None]


def test_without_room_stages_that_leave_nothing_go_first_and_the_others_wait() -> None:
    ready = Ready()
    for key, leaves in (("a", False), ("b", True), ("c", True)):
        ready.push(key, leaves)
    assert ready.pop(nowhere, idle=False) == "a"
    assert ready.pop(nowhere, idle=False) is None
    assert ready.pop(nowhere, idle=True) == "c", "nothing else can ever make room"
    assert ready.pop(lambda key: key == "b", idle=False) == "b"


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans())))
def test_every_stage_starts_once(steps: list[tuple[bool, bool, bool]]) -> None:
    ready, waiting, started = Ready(), set[str](), list[str]()
    for number, (leaves, room, idle) in enumerate(steps):
        ready.push(str(number), leaves)
        waiting.add(str(number))
        found = ready.pop(everywhere if room else nowhere, idle)
        if found is not None:
            started.append(found)
            waiting.remove(found)
    while (found := ready.pop(nowhere, idle=True)) is not None:
        started.append(found)
        waiting.remove(found)
    assert not waiting
    assert len(started) == len(set(started)) == len(steps)


def test_of_those_that_fit_the_last_starts_first() -> None:
    ready = Ready()
    for key, leaves in (("a", True), ("b", False), ("c", True), ("d", False), ("e", True)):
        ready.push(key, leaves)
    wanted = {"a", "b", "c"}
    assert ready.pop_fitting(wanted.__contains__, nowhere) == "b"
    assert ready.pop_fitting(wanted.__contains__, nowhere) is None
    assert ready.pop_fitting(wanted.__contains__, everywhere) == "c"
    assert ready.pop_fitting(everywhere, everywhere) == "e"
    assert ready.pop_fitting(nowhere, everywhere) is None
    assert [ready.pop(everywhere, idle=False) for _ in range(3)] == ["d", "a", None]
