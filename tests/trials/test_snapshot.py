import dataclasses
import json
import pickle
import random

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trials.early_stop import StopState
from trials.learning_rate import PlateauState
from trials.snapshot import Progress, Snapshot, SnapshotError

PROGRESS = Progress(
    12, (0.5, 0.1), (6, 12), ({"epoch": 1, "split": "test", "metric": 50.0, "loss": 0.7},), 0.5
)


def small() -> Snapshot:
    return Snapshot(
        3,
        {"fc.weight": torch.arange(6.0).view(2, 3), "count": torch.tensor(4)},
        {"0/step": torch.tensor(3.0), "0/exp_avg": torch.ones(2, 3)},
        PROGRESS,
        PlateauState(0.002, 1.5, 2),
        StopState(0.1, 2, None),
        {"fc.weight": torch.zeros(2, 3), "count": torch.tensor(2)},
    )


CONTENT = small().to_bytes()


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Equal shape, type and bits; NaN equals itself."""
    return (
        one.shape == other.shape
        and one.dtype == other.dtype
        and one.numpy().tobytes() == other.numpy().tobytes()
    )


def assert_same(one: Snapshot, other: Snapshot) -> None:
    assert one.epoch == other.epoch
    assert one.progress == other.progress
    # As text: NaN is not equal to itself, and repr tells every float64 apart.
    assert repr(one.plateau) == repr(other.plateau)
    assert repr(one.early_stop) == repr(other.early_stop)
    groups = ("model", "optimizer", "best")
    for mine, theirs in ((getattr(one, name), getattr(other, name)) for name in groups):
        assert mine.keys() == theirs.keys()
        assert all(same_bits(mine[key], theirs[key]) for key in mine)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    kind = draw(st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bfloat16]))
    size = int(torch.empty(shape).numel())
    if kind == torch.int64:
        numbers = draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=size, max_size=size))
        return torch.tensor(numbers, dtype=kind).view(shape)
    numbers_of = st.floats() if kind == torch.float64 else st.floats(width=32)
    floats = draw(st.lists(numbers_of, min_size=size, max_size=size))
    found = torch.tensor(floats, dtype=kind).view(shape)
    return found.view(torch.int16) if kind == torch.bfloat16 else found


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
finite = st.floats(allow_nan=False)
curves = st.tuples(
    st.fixed_dictionaries(
        {"epoch": st.integers(0), "split": st.text(max_size=3), "metric": finite, "loss": finite}
    )
)


@given(
    st.integers(0, 10**6),
    st.dictionaries(names, tensors(), max_size=3),
    st.dictionaries(names, tensors(), max_size=3),
    st.builds(
        Progress,
        steps=st.integers(0),
        train_loss=st.lists(finite).map(tuple),
        train_loss_step=st.lists(st.integers(0)).map(tuple),
        curve=curves,
        wall_s=finite,
        diverged_epoch=st.none() | st.integers(0),
    ),
    st.builds(PlateauState, st.none() | finite, st.none() | st.floats(), st.integers(0)),
    st.builds(
        StopState, st.none() | st.floats(), st.none() | st.integers(1), st.none() | st.integers(1)
    ),
    st.dictionaries(names, tensors(), max_size=3),
)
def test_bytes_keep_every_bit(
    epoch: int,
    model: dict[str, Tensor],
    optimizer: dict[str, Tensor],
    progress: Progress,
    plateau: PlateauState,
    early_stop: StopState,
    best: dict[str, Tensor],
) -> None:
    snapshot = Snapshot(epoch, model, optimizer, progress, plateau, early_stop, best)
    assert_same(Snapshot.from_bytes(snapshot.to_bytes()), snapshot)


def test_equal_snapshots_are_equal_bytes() -> None:
    assert small().to_bytes() == CONTENT


def test_losses_that_are_not_finite_come_back() -> None:
    progress = dataclasses.replace(PROGRESS, train_loss=(1.0, float("nan"), float("inf")))
    found = Snapshot.from_bytes(Snapshot(1, {}, {}, progress).to_bytes()).progress.train_loss
    assert str(found) == "(1.0, nan, inf)"


def test_a_later_progress_reads_earlier_bytes() -> None:
    # A field that was not yet recorded takes its default.
    header = {"epoch": 2, "progress": {"steps": 7}}
    content = safetensors.torch.save({}, metadata={"snapshot": json.dumps(header)})
    found = Snapshot.from_bytes(content)
    assert found.progress == Progress(steps=7)
    assert (found.plateau, found.early_stop, found.best) == (PlateauState(), StopState(), {})


def test_the_result_is_the_best_epoch_where_it_is_kept() -> None:
    assert small().result["count"].item() == 2
    assert dataclasses.replace(small(), best={}).result["count"].item() == 4


def read_or_refused(content: bytes) -> bool:
    """Whether bytes were refused; any exception but `SnapshotError` goes through."""
    try:
        Snapshot.from_bytes(content)
    except SnapshotError:
        return True
    return False


def test_bytes_cut_anywhere_are_refused() -> None:
    assert all(read_or_refused(CONTENT[:length]) for length in range(len(CONTENT)))


def test_no_flipped_bit_is_a_crash() -> None:
    refused = 0
    for place in range(len(CONTENT)):
        for bit in range(8):
            damaged = bytearray(CONTENT)
            damaged[place] ^= 1 << bit
            refused += read_or_refused(bytes(damaged))
    header = int.from_bytes(CONTENT[:8], "little")
    assert refused > header * 8 / 2  # most of what is not a number


def test_no_random_damage_is_a_crash() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        damaged = bytearray(CONTENT)
        for _ in range(rng.randint(1, 20)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        read_or_refused(bytes(damaged))


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(SnapshotError):
        Snapshot.from_bytes(content)


GOOD = '{"epoch": 1, "progress": {}}'


@pytest.mark.parametrize(
    ("keys", "header"),
    [
        (["model/a"], None),
        (["model/a"], "[]"),
        (["model/a"], "null"),
        (["model/a"], "{"),
        (["model/a"], '{"progress": {}}'),
        (["model/a"], '{"epoch": 1}'),
        (["model/a"], '{"epoch": 1, "progress": []}'),
        (["model/a"], '{"epoch": 1, "progress": {"unknown": 1}}'),
        (["model/a"], '{"epoch": "1", "progress": {}}'),
        (["model/a"], '{"epoch": -1, "progress": {}}'),
        (["model/a"], '{"epoch": 1, "progress": {}, "plateau": {"unknown": 1}}'),
        (["model/a"], '{"epoch": 1, "progress": {}, "early_stop": [1]}'),
        (["model/a", "optimizes/0/step"], GOOD),
        (["a"], GOOD),
    ],
)
def test_safetensors_of_another_kind_are_refused(keys: list[str], header: str | None) -> None:
    # A state under a name that is not read would be lost without a word.
    metadata = None if header is None else {"snapshot": header}
    content = safetensors.torch.save({key: torch.ones(1) for key in keys}, metadata=metadata)
    with pytest.raises(SnapshotError, match="not a snapshot"):
        Snapshot.from_bytes(content)


def test_a_pickle_is_refused_and_not_run() -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (pytest.fail, ("unpickled",))

    for content in (pickle.dumps(Trap()), CONTENT + pickle.dumps(Trap())):
        with pytest.raises(SnapshotError):
            Snapshot.from_bytes(content)
