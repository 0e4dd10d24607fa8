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
    assert PLACE.attributions == Path("/results/attributions")
    assert PLACE.attempts == Path("/results/attempts")
    assert PLACE.study("thesis") == Path("/results/studies/thesis.parquet")
    assert PLACE.weights("ab12") == Path("/results/weights/ab12.safetensors")


def test_no_two_things_share_a_path() -> None:
    fixed = [PLACE.incoming, PLACE.trials, PLACE.attempts, PLACE.evaluations, PLACE.attributions,
             PLACE.damaged, PLACE.lock, PLACE.live]  # fmt: skip
    named = [getattr(PLACE, what)("x") for what in NAMED]
    assert len({*fixed, *named, *(path.parent for path in named)}) == 8 + 4 + 4


@pytest.mark.parametrize("what", NAMED)
@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/x", "a\0", "A", "a.b", "x\n", "-a"]
)
def test_a_name_that_leads_elsewhere_is_refused(what: str, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of a file name"):
        getattr(PLACE, what)(name)


def test_only_files_that_can_be_studies_are_listed() -> None:
    assert PLACE.studies([]) == []
    names = ("b.parquet", "a.parquet", "My study.parquet", ".tmp-1", "a.txt")
    assert PLACE.studies(PLACE.cells / name for name in names) == ["a", "b"]


def test_the_name_of_a_checkpoint_says_what_it_is() -> None:
    path = PLACE.checkpoint("ab12", 30, "0f" * 32)
    assert path == Path(f"/results/checkpoints/ab12-30-{'0f' * 32}.safetensors")
    assert Layout.of_checkpoint(path) == ("ab12", 30, "0f" * 32)
    for name in (".tmp-1", "ab12.safetensors", "ab12-x-00.safetensors", "ab12-30-00.txt"):
        assert Layout.of_checkpoint(PLACE.checkpoints / name) is None


def test_what_is_set_aside_keeps_apart_what_had_one_name() -> None:
    places = [PLACE.set_aside(PLACE.weights("x")), PLACE.set_aside(PLACE.snapshot("x"))]
    assert places == [
        Path("/results/damaged/weights-x.safetensors"),
        Path("/results/damaged/snapshots-x.safetensors"),
    ]


def test_every_file_lies_in_a_folder_that_is_cleaned() -> None:
    files = [PLACE.lock, PLACE.checkpoint("x", 1, "0"), PLACE.set_aside(PLACE.lock),
             *(getattr(PLACE, what)("x") for what in NAMED)]  # fmt: skip
    assert {path.parent for path in files} <= set(PLACE.folders)
