"""The results are read once, again where they changed, and by one for all who ask."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePath

import pytest
from pydantic import BaseModel

from sweep.store import Store
from sweep.web.answers import Answers
from sweep.web.watch import Moment, Watch
from tests.sweep.web.serving import ask, fail, figure, finish, served, settings_of, study


class Number(BaseModel):
    number: int


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was read."""
    found: Counter[str] = Counter()
    whole = Store.__init__

    def counting(self: Store, *args: object, **options: object) -> None:
        whole(self, *args, **options)  # type: ignore[arg-type]
        read: Callable[[PurePath], bytes | None] = self.on.read

        def counted(path: PurePath) -> bytes | None:
            found[path.name] += 1
            return read(path)

        self.on.read = counted  # type: ignore[method-assign]

    monkeypatch.setattr(Store, "__init__", counting)
    return found


def looked(watch: Watch) -> Moment:
    watch._look()
    return watch.moment


def test_a_file_is_read_once(tmp_path: Path, reads: Counter[str]) -> None:
    writer = Store(tmp_path)
    asked = ask(writer, study())
    finish(writer, asked[:4], figure)
    watch = Watch(Store(tmp_path))
    reads.clear()
    first = looked(watch)
    assert looked(watch) is first  # nothing has changed
    assert sum(n for name, n in reads.items() if name.endswith(".parquet")) == 0
    finish(writer, asked[4:6], figure)
    fail(writer, asked[7], "no")
    second = looked(watch)
    new = {name: n for name, n in reads.items() if name.endswith(".parquet")}
    assert sorted(new.values()) == [1, 1]
    assert second.version == first.version + 1
    assert (len(first.trials.rows), len(second.trials.rows)) == (4, 6)
    assert second.studies["grid"] is first.studies["grid"]
    view = second.view("grid")
    assert view is not None
    assert (view.trials["done"], view.trials["failed"]) == (6, 1)


def test_folding_changes_no_number(tmp_path: Path) -> None:
    store = Store(tmp_path)
    asked = ask(store, study())
    for cell in asked:
        finish(store, [cell], figure)
    watch = Watch(Store(tmp_path))
    before = watch.moment.view("grid")
    with store.writing():
        pass
    after = looked(watch).view("grid")
    assert before is not None
    assert after is not None
    assert before.own.mean.tolist() == after.own.mean.tolist()
    assert before.trials == after.trials
    assert len(watch.moment.trials.parts) == 1


def test_a_study_that_is_run_again_with_other_cells_is_read_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ask(store, study())
    watch = Watch(Store(tmp_path))
    ask(store, study(**{"grid.alpha": [0.1]}))
    view = looked(watch).view("grid")
    assert view is not None
    assert len(view.asked.trial_ids) == 3 + 3 + 6


def test_what_runs_is_laid_over_without_counting_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    asked = ask(store, study())
    watch = Watch(Store(tmp_path))
    idle = watch.moment.view("grid")
    assert idle is not None
    with store.writing():
        for cell in asked[:2]:
            store.write_live({"running_trials": [cell.trial_id]})
            busy = looked(watch).view("grid")
            assert busy is not None
            assert busy.trials["running"] == 1
            assert busy.own is idle.own
    after = looked(watch).view("grid")
    assert after is not None
    assert after.trials["running"] == 0


def test_results_in_an_object_store(tmp_path: Path, s3_bucket: str) -> None:
    place = f"s3://{s3_bucket}/web"
    store = Store(place)
    finish(store, ask(store, study()), figure)
    settings = settings_of(tmp_path, state=tmp_path / "state")
    with served(type(settings)(place, state=tmp_path / "state")) as server:
        assert server.get("/api/session")["results"] == "web"
        assert server.get("/api/studies/grid/state")["counts"]["done"] == 18
        trial = server.get("/api/studies/grid/trials?limit=1")["trials"][0]["trial_id"]
        assert server.get(f"/api/trials/{trial}")["record"]["trial_id"] == trial
        store.write_report("grid", b"<p>report</p>")
        server.look()
        assert server.client.get("/reports/grid").content == b"<p>report</p>"


def test_an_answer_is_made_once_for_all_who_wait() -> None:
    made: list[int] = []
    may = threading.Event()

    def make() -> Number:
        made.append(1)
        may.wait(30)
        return Number(number=len(made))

    async def all_ask() -> None:
        answers = Answers()
        waiting = [asyncio.create_task(answers.get("key", 1, make)) for _ in range(20)]
        while not made:
            await asyncio.sleep(0.001)
        waiting[0].cancel()  # who asked first goes away
        await asyncio.sleep(0.01)
        may.set()
        found = await asyncio.gather(*waiting[1:])
        assert {one.content for one in found} == {b'{"number":1}'}
        assert len(made) == 1
        assert (await answers.get("key", 1, make)) is found[0]
        assert (await answers.get("key", 2, make)).content == b'{"number":2}'
        assert (await answers.get("key", 2, make)).tag != found[0].tag

    asyncio.run(all_ask())


def test_an_answer_that_cannot_be_made_is_tried_again() -> None:
    def fails() -> Number:
        raise ValueError("no")

    async def ask_twice() -> None:
        answers = Answers()
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                await answers.get("key", 1, fails)
        assert (await answers.get("key", 1, lambda: b"yes")).content == b"yes"

    asyncio.run(ask_twice())


def test_old_answers_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.web.answers.MOST", 3)
    made: list[int] = []

    def make(number: int) -> bytes:
        made.append(number)
        return b"x"

    async def ask_many() -> None:
        answers = Answers()
        for number in (0, 1, 2, 0, 3, 0, 1):
            await answers.get(number, 1, lambda number=number: make(number))

    asyncio.run(ask_many())
    assert made == [0, 1, 2, 3, 1]
