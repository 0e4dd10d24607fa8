"""Every file of a results directory lies inside it, under a name that is safe."""

from pathlib import Path

import pytest

from sweep.layout import Layout

PLACE = Layout(Path("/results"))
NAMED = ("study", "weights", "snapshot", "report")


def test_the_promised_places() -> None:
    assert PLACE.trials == Path("/results/trials")
    assert PLACE.incoming == Path("/results/incoming")
    assert PLACE.evaluations == Path("/results/evaluations")
    assert PLACE.attempts == Path("/results/attempts")
    assert PLACE.study("thesis") == Path("/results/studies/thesis.parquet")
    assert PLACE.weights("ab12") == Path("/results/weights/ab12.safetensors")


def test_no_two_things_share_a_path() -> None:
    fixed = [PLACE.incoming, PLACE.trials, PLACE.attempts, PLACE.evaluations, PLACE.damaged,
             PLACE.lock, PLACE.live]  # fmt: skip
    named = [getattr(PLACE, what)("x") for what in NAMED]
    assert len({*fixed, *named, *(path.parent for path in named)}) == 7 + 4 + 4


@pytest.mark.parametrize("what", NAMED)
@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/x", "a\0", "A", "a.b", "x\n", "-a"]
)
def test_a_name_that_leads_elsewhere_is_refused(what: str, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of a file name"):
        getattr(PLACE, what)(name)


def test_only_files_that_can_be_studies_are_listed(tmp_path: Path) -> None:
    folder = tmp_path / "studies"
    assert Layout(tmp_path).studies() == []
    folder.mkdir()
    for name in ("b.parquet", "a.parquet", "My study.parquet", ".tmp-1", "a.txt"):
        (folder / name).touch()
    assert Layout(tmp_path).studies() == ["a", "b"]
