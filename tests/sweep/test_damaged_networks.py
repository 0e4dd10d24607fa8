"""Damaged weights and snapshots are named, set aside, and what needs them is trained again."""

from pathlib import Path

import pytest

from sweep.cells import demand
from sweep.errors import DamagedError
from sweep.expand import Role
from sweep.results import Results
from sweep.service import Where, evaluate_study, run_study
from sweep.store import Store
from tests.sweep.tiny import science, tiny_study

HERE = Where(local=True, gpus_per_trial=0.0)
SMALL = {"seeds": [1], "grid.switch_epoch": [1], "grid.alpha": [0.1]}


class Heard:
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def show(self, state: object) -> None: ...

    def close(self) -> None: ...


def harm(path: Path) -> bytes:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return bytes(content)


def teacher_of(store: Store) -> str:
    cells = demand(tiny_study(**SMALL), store).everything
    return next(cell.trial_id for cell in cells if cell.role is Role.TEACHER)


def test_a_teacher_whose_weights_are_damaged_is_trained_again_when_it_is_to_teach(
    tmp_path: Path,
) -> None:
    run_study(tiny_study(**SMALL), tmp_path, HERE)
    store = Store(tmp_path)
    teacher, before = teacher_of(store), science(store)
    path = Path(store.layout.weights(teacher))
    good = path.read_bytes()
    bad = harm(path)
    with pytest.raises(DamagedError, match=f"{teacher}.safetensors is damaged"):
        Results(tmp_path).model(teacher)
    again = run_study(tiny_study(**SMALL), tmp_path, HERE)
    assert again.total == 0, "nothing needs them"
    heard = Heard()
    more = run_study(tiny_study(**{**SMALL, "grid.alpha": [0.1, 0.5]}), tmp_path, HERE,
                     progress=heard)  # fmt: skip
    assert (more.total, more.done) == (2, 2)  # the teacher, and the student that is new
    assert f"{path} is damaged: set aside, its trial is run again" in heard.lines
    assert path.read_bytes() == good
    assert Path(store.layout.set_aside(path)).read_bytes() == bad
    ids = before["trial_id"].to_pylist()
    after = science(store)
    assert after.filter([tid in ids for tid in after["trial_id"].to_pylist()]).equals(before)


def test_a_damaged_snapshot_is_not_gone_on_from(tmp_path: Path) -> None:
    kept = {**SMALL, "evaluation.keep": "snapshot", "grid.teacher": []}
    kept = {key: value for key, value in kept.items() if key != "grid.switch_epoch"}
    kept |= {"grid.alpha": [], "grid.switch_epoch": []}
    run_study(tiny_study(**kept), tmp_path / "one", HERE)
    longer = tiny_study(**kept, **{"recipe.epochs": 4})
    straight = run_study(longer, tmp_path / "straight", HERE)
    store = Store(tmp_path / "one")
    ((_, entry),) = store.kept_snapshots().items()
    path = Path(entry.path)
    harm(path)
    heard = Heard()
    summary = run_study(longer, tmp_path / "one", HERE, progress=heard)
    assert summary.epochs == straight.epochs == 4, "from the start, not from the snapshot"
    assert any(line.startswith(f"{path} is damaged: set aside") for line in heard.lines)
    assert store.on.exists(store.layout.set_aside(path))
    new = {cell.trial_id for cell in demand(longer, None).everything}
    rows = science(store)
    assert rows.filter([t in new for t in rows["trial_id"].to_pylist()]).equals(
        science(Store(tmp_path / "straight"))
    )


def test_damaged_weights_are_not_evaluated(tmp_path: Path) -> None:
    study = tiny_study(**SMALL)
    run_study(study, tmp_path, HERE)
    store = Store(tmp_path)
    teacher = teacher_of(store)
    harm(Path(store.layout.weights(teacher)))
    stronger = tiny_study(**SMALL, **{"evaluation.fgsm_epsilons": [0.2]})
    summary = evaluate_study(stronger, tmp_path, HERE)
    assert summary.evaluated == 0
    assert summary.without_weights == 2  # the baseline's and the student's were not kept
    (failure,) = summary.failures
    assert f"{teacher}.safetensors is damaged" in failure
    assert not store.on.exists(store.layout.weights(teacher))
    assert store.evaluations.files() == []
