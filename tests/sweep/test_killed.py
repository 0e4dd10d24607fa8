"""Real processes, really killed: drivers, workers, nodes; and a failure of every kind.

Each time, after going on, the table equals that of an undisturbed run, bit for bit in every
scientific column. Every test prints a line with its counts (`pytest -s -m slow`).
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sweep.scratch import PREFIX
from sweep.service import Where, run_study
from sweep.store import Store
from sweep.study import Study, load_study
from tests.sweep import faulty
from tests.sweep.signals import as_in_a_terminal
from tests.sweep.test_run_in_use import busy_workers
from tests.sweep.test_scratch import until as wait_until
from tests.sweep.tiny import science

ROOT = Path(__file__).resolve().parents[2]
REMAINS_S = 30.0
"""After the death of a driver, nothing of it may be left for longer."""

pytestmark = pytest.mark.slow


def study() -> Study:
    """Long enough to be killed in the middle again and again."""
    return load_study(
        {
            "name": "killed",
            "seeds": [1, 2, 3, 4],
            "grid": {"teacher": ["small"], "alpha": [0.1, 0.5], "switch_epoch": [0, 1, 2, 4]},
            "recipe": {"epochs": 4, "batch_size": 16},
            "split": {"train_size": 600, "validation": 0.1},
            "evaluation": {"fgsm_epsilons": [0.05], "keep": "weights"},
            "datasets": {"digits": {"student": "student"}},  # its snapshots are not inlined by Ray
        }
    )


DRIVER = """
import sys
from sweep.progress import PlainLines
from sweep.service import Where, run_study
from tests.sweep.test_killed import study
where = Where(workers=2, gpus_per_trial=0.0, durable_every_s=0.0, address=sys.argv[2] or None)
summary = run_study(study(), sys.argv[1], where, progress=PlainLines(sys.stdout, 0.2))
sys.exit(summary.exit_status)
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_study(study(), folder, Where(local=True, gpus_per_trial=0.0)).exit_status == 0
    return Store(folder)


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """A folder for temporary files of drivers, with a short name; what is left in it is ours."""
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def start(results: Path, base: Path, address: str = "", script: str = DRIVER) -> Any:
    with (results.parent / f"{results.name}.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-c", script, str(results), address], stdout=log, stderr=log, cwd=ROOT,
            env=environment(base), start_new_session=True, preexec_fn=as_in_a_terminal,
        )  # fmt: skip


def environment(base: Path) -> dict[str, str]:
    """Of drivers: where their modules are, and their temporary files."""
    ours = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_TMPDIR": str(base)}
    return {**os.environ, **ours}


def remains(base: Path) -> list[str]:
    """Processes that know of a folder, and folders of runs in it."""
    found = [path.name for path in base.glob(f"{PREFIX}*")]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            about = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"RAY_TMPDIR={base}".encode() in about or os.fsencode(base) in about:
            found.append(f"{entry.name}: {command[:80]}")
    return found


def records(folder: Path) -> int:
    return len(Store(folder).trials.read(["trial_id"])[0])


def agrees(folder: Path, undisturbed: Store) -> None:
    store = Store(folder)
    assert science(store).equals(science(undisturbed)), "a result changed"
    assert not list(store.layout.root.glob("**/.tmp-*"))
    assert not list(store.layout.checkpoints.glob("*"))
    done = [r for r in store.attempts.read(["trial_id", "status"])[0].to_pylist()
            if r["status"] == "done"]  # fmt: skip
    # A trial whose record was lost with its driver is trained again; one that has a record is not.
    assert {r["trial_id"] for r in done} == set(science(store)["trial_id"].to_pylist())


def wait_for_more(driver: Any, folder: Path, than: int) -> None:
    """Waits for more records than so many, or the end of the driver."""

    def came() -> bool:
        return driver.poll() is not None or (folder.exists() and records(folder) > than)

    assert wait_until(came, 120)


def killed(driver: Any, folder: Path, chance: random.Random) -> bool:
    """Kills a driver at a random moment; False where it had ended by then."""
    if chance.random() < 0.2:
        time.sleep(chance.uniform(0, 8))  # while it starts
    else:
        wait_for_more(driver, folder, records(folder) if folder.exists() else 0)
        time.sleep(chance.uniform(0, 1))
    if driver.poll() is not None:
        return False
    driver.kill()
    driver.wait()
    return True


def test_a_driver_killed_fifty_times(tmp_path: Path, base: Path, undisturbed: Store) -> None:
    chance = random.Random(0)
    kills = runs = 0
    slowest_s = 0.0
    while kills < 50:
        folder = tmp_path / f"results-{runs}"
        while kills < 50 and killed(start(folder, base), folder, chance):
            kills += 1
            began = time.monotonic()
            assert wait_until(lambda: not remains(base), REMAINS_S), remains(base)
            slowest_s = max(slowest_s, time.monotonic() - began)
        assert start(folder, base).wait(timeout=240) == 0
        agrees(folder, undisturbed)
        runs += 1
    print(
        f"\n{kills} drivers killed in {runs} runs: nothing lost, all tables equal; nothing was left "
        f"of any after {slowest_s:.1f} s"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_drains(
    tmp_path: Path, base: Path, undisturbed: Store, number: signal.Signals
) -> None:
    """As Ctrl-C in a terminal does it: workers get it too, and ignore it."""
    folder = tmp_path / "results"
    driver = start(folder, base)
    assert wait_until(lambda: folder.exists() and records(folder) >= 3, 120)
    began = time.monotonic()
    os.killpg(driver.pid, number)
    assert driver.wait(timeout=60) == 130
    took_s = time.monotonic() - began
    kinds = Store(folder).attempts.read(["kind"])[0]["kind"].to_pylist()
    assert not any(kinds), "workers were hit"
    assert wait_until(lambda: not remains(base), REMAINS_S), remains(base)
    assert start(folder, base).wait(timeout=240) == 0
    agrees(folder, undisturbed)
    print(f"\n{number.name}: ended after {took_s:.1f} s")


def test_a_second_signal_ends_at_once(tmp_path: Path, base: Path, undisturbed: Store) -> None:
    folder = tmp_path / "results"
    driver = start(folder, base)
    assert wait_until(lambda: folder.exists() and records(folder) >= 3, 120)
    for _ in range(3):
        os.killpg(driver.pid, signal.SIGINT)
        time.sleep(0.05)
    assert driver.wait(timeout=20) != 0
    assert wait_until(lambda: not remains(base), REMAINS_S), remains(base)
    assert start(folder, base).wait(timeout=240) == 0
    agrees(folder, undisturbed)


def test_workers_killed_fifty_times(tmp_path: Path, base: Path, undisturbed: Store) -> None:
    chance = random.Random(1)
    kills = runs = 0
    while kills < 50:
        folder = tmp_path / f"results-{runs}"
        driver = start(folder, base)
        while driver.poll() is None:
            time.sleep(chance.uniform(0.2, 1.5))
            busy = list(busy_workers(driver.pid))
            if busy and kills < 50:
                os.kill(chance.choice(busy), signal.SIGKILL)
                kills += 1
        runs += 1
        if driver.returncode == 1:  # one was lost four times: it waits for a retry
            kept = Store(folder).attempts.read(["status", "kind"])[0].to_pylist()
            assert {r["kind"] for r in kept if r["status"] == "failed"} == {"worker_lost"}
            again = run_study(
                study(), folder, Where(local=True, gpus_per_trial=0.0), retry=["worker_lost"]
            )
            assert again.exit_status == 0
        else:
            assert driver.returncode == 0, (tmp_path / f"{folder.name}.log").read_text()
        agrees(folder, undisturbed)
    print(f"\n{kills} workers killed in {runs} runs: all tables equal")


@contextmanager
def cluster_of(nodes: int) -> Iterator[Any]:
    """A head that trains nothing, and nodes with a processor each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "node_ip_address": "127.0.0.1"},
    )
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
        yield cluster
    finally:
        cluster.shutdown()


def test_nodes_lost_ten_times(
    tmp_path: Path, base: Path, undisturbed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three nodes one is killed, and after a while another comes."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    chance = random.Random(2)
    losses = runs = 0
    with cluster_of(3) as cluster:
        while losses < 10:
            folder = tmp_path / f"results-{runs}"
            driver = start(folder, base, cluster.address, DRIVER.replace("workers=2", "workers=3"))
            while driver.poll() is None:
                wait_for_more(driver, folder, 0)
                time.sleep(chance.uniform(0.0, 2.0))
                if driver.poll() is None and losses < 10:
                    lost = chance.choice(sorted(cluster.worker_nodes, key=lambda n: n.unique_id))
                    cluster.remove_node(lost, allow_graceful=False)
                    losses += 1
                    cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
                    time.sleep(3.0)
            log = (tmp_path / f"{folder.name}.log").read_text()
            assert driver.returncode == 0, log
            agrees(folder, undisturbed)
            runs += 1
    print(f"\n{losses} nodes lost in {runs} runs: all tables equal")


def test_a_failure_of_every_kind(tmp_path: Path, base: Path) -> None:
    """Each network fails once; what may pass is tried again at once, the rest when asked."""
    marks, folder = tmp_path / "marks", tmp_path / "results"
    marks.mkdir()
    faulty.register(marks)
    for way in faulty.WAYS:
        (marks / way).touch()
    whole = Store(tmp_path / "whole")
    summary = run_study(faulty.study(), whole.layout.root, Where(local=True, gpus_per_trial=0.0))
    assert summary.exit_status == 0
    for way in faulty.WAYS:
        (marks / way).unlink()

    first = _drive(folder, marks, base, timeout_s=8.0)
    assert first["exit"] == 1
    rows = Store(folder).attempts.read(["trial_id", "status", "kind", "traceback"])[0].to_pylist()
    model_of = {c.trial_id: c.model for c in _cells()}
    found = {model_of[r["trial_id"]]: (r["status"], r["kind"]) for r in rows if r["kind"]}
    assert found == {
        "hangs": ("failed", "timed_out"),
        "hangs-in-c": ("failed", "timed_out"),
        "dies": ("retried", "worker_lost"),
        "segfaults": ("retried", "worker_lost"),
        "host-memory": ("retried", "host_out_of_memory"),
        "cuda-memory": ("retried", "cuda_out_of_memory"),
        "bug": ("failed", "bug"),
    }
    (trace,) = [r["traceback"] for r in rows if r["kind"] == "bug"]
    assert "ValueError: this network is not finished" in trace
    again = _drive(folder, marks, base, timeout_s=60.0, retry=[])
    assert again["exit"] == 0
    assert science(Store(folder)).equals(science(whole))
    print(f"\n{len(faulty.WAYS)} kinds of failure, one each; after a retry the tables are equal")


@pytest.mark.parametrize("way", ["hangs", "hangs-in-c"])
def test_nothing_remains_of_a_driver_whose_workers_hang(
    tmp_path: Path, base: Path, way: str
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    with _popen(tmp_path / "results", marks, base, ways=[way]) as driver:
        assert wait_until((marks / way).exists, 120)
        time.sleep(1.0)
        driver.kill()
    began = time.monotonic()
    assert wait_until(lambda: not remains(base), REMAINS_S), remains(base)
    print(
        f"\nworkers that hang ({way}) were gone {time.monotonic() - began:.1f} s after the driver"
    )


def _cells() -> Any:
    from sweep.expand import cells

    return cells(faulty.study())


def _popen(folder: Path, marks: Path, base: Path, **options: Any) -> Any:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.sweep.faulty", str(folder), str(marks), json.dumps(options)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment(base), start_new_session=True, preexec_fn=as_in_a_terminal,
    )  # fmt: skip


def _drive(folder: Path, marks: Path, base: Path, **options: Any) -> dict[str, Any]:
    driver = _popen(folder, marks, base, **options)
    said, _ = driver.communicate(timeout=300)
    summary = json.loads(said.strip().splitlines()[-1])
    return {**summary, "exit": driver.returncode, "said": said}
