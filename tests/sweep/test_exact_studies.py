"""Of every built-in study, in miniature or tiny: a forked trial is the trial run alone in another process.

Each study is run twice: as it is run, trunks and forks in one process that stays warm, and every
trial alone, from scratch, each in a process of its own. Records and weights are compared by the bit.
"""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pytest
import torch

from sweep.cells import demand
from sweep.plan import plan
from sweep.run import run
from sweep.service import Where, executor, run_study
from sweep.store import Store
from sweep.study import Study, builtin_names, load_study
from sweep.summary import RunSummary
from tests.data.miniature import registered, write
from tests.sweep import miniature
from tests.sweep.executors import InNewProcess
from tests.sweep.tiny import science

TINY = [name for name in builtin_names() if name.endswith("-tiny")]
FULL = [name for name in miniature.names() if name not in TINY]
HOME = [name for name in FULL if name in miniature.HOME]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Both runs set it; a run that ends must not change it for the other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Made-up rows of every dataset, which are registered for the time being."""
    folder = tmp_path_factory.mktemp("data")
    entries = miniature.datasets()
    write(entries, folder)
    with registered(entries):
        yield folder


@dataclass(frozen=True)
class Stores:
    """Results of several studies: trials that two of them share are trained for the first."""

    shared: Store
    alone: Store


def _stores(folder: Path) -> Iterator[Stores]:
    yield Stores(Store(folder / "shared"), Store(folder / "alone"))
    shutil.rmtree(folder)  # the weights of a CIFAR-10 student are 36 MB


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    yield from _stores(tmp_path_factory.mktemp("few"))


@pytest.fixture(scope="module")
def all_alphas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    yield from _stores(tmp_path_factory.mktemp("all-alphas"))


def _alone(study: Study, store: Store, where: Where) -> RunSummary:
    with store.writing(), executor(where, InNewProcess(where.data_folder)) as workers:
        summary = run(demand(study, store), store, workers, share=False)
        while (more := demand(study, store)).todo:  # what follows from answers
            summary = summary.then(run(more, store, workers, share=False))
        return summary


def _both_ways(study: Study, stores: Stores, alone: Where, shared: Where) -> None:
    wanted = demand(study, stores.shared)
    specs = [cell.spec for cell in wanted.todo.values()]
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(_alone, study, stores.alone, alone)
        forked = run_study(study, stores.shared.layout.root, shared)
    apart = other.result()
    assert (forked.exit_status, apart.exit_status) == (0, 0), (forked, apart)
    # At most, since a training may stop early; and where plans differ, so do the runs.
    planned, naive = plan(specs).epochs, sum(spec.epochs for spec in specs)
    if not wanted.waiting:
        assert (forked.epochs <= planned, apart.epochs <= naive) == (True, True)
        assert (forked.epochs < apart.epochs) == (planned < naive)
    assert_equal_bits(study, stores)


def assert_equal_bits(study: Study, stores: Stores) -> None:
    ids = sorted({cell.trial_id for cell in demand(study, stores.shared).everything})
    forked, alone = (
        table.filter(pc.field("trial_id").isin(ids))
        for table in (science(stores.shared), science(stores.alone))
    )
    assert forked["trial_id"].to_pylist() == ids
    assert forked["status"].unique().to_pylist() == ["done"]
    for name in forked.column_names:
        assert forked[name].equals(alone[name]), name
    seen = set()
    for trial_id in ids:
        content, other = (
            store.layout.weights(trial_id).read_bytes() for store in (stores.shared, stores.alone)
        )
        assert content == other, trial_id
        seen.add(hash(content))
    # Trainings that part after their best epoch leave the same network.
    if not any(one.recipe.early_stop.restore_best for one in study.datasets.values()):
        assert len(seen) == len(ids), "every trial is a training of its own"


@pytest.mark.parametrize("name", miniature.names())
def test_every_built_in_study_has_a_miniature(name: str) -> None:
    short = miniature.shortened(name)
    assert len(short.seeds) == 1
    assert short.datasets.keys() == load_study(name).datasets.keys()
    assert max(section.recipe.epochs for section in short.datasets.values()) <= 3


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "quickstart")) for n in HOME]
)
def test_forked_trials_are_those_run_alone_in_another_process(
    name: str, few: Stores, data_dir: Path
) -> None:
    where = Where(local=True, gpus_per_trial=0.0, data_dir=data_dir)
    _both_ways(miniature.shortened(name, epochs=2, alphas=1), few, where, where)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_tiny_studies_are_those_run_alone_in_another_process(name: str, tmp_path: Path) -> None:
    where = Where(local=True, gpus_per_trial=0.0)
    stores = Stores(Store(tmp_path / "shared"), Store(tmp_path / "alone"))
    study = load_study(name, {"evaluation.keep": "weights"})
    study = study.model_copy(update={"seeds": study.seeds[:1]})
    _both_ways(study, stores, where, where)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_all_alphas_on_a_cluster_are_those_run_alone_in_another_process(
    name: str, all_alphas: Stores, data_dir: Path
) -> None:
    alone = Where(local=True, gpus_per_trial=0.0, data_dir=data_dir)
    cluster = Where(workers=2, gpus_per_trial=0.0, data_dir=data_dir)
    _both_ways(miniature.shortened(name), all_alphas, alone, cluster)
