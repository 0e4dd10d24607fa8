"""A teacher's outputs, computed once for all its students, are those of the live teacher.

What is promised by the bit: any worker that computes them gets the same, whatever it did before.
A live teacher that sees the rows in batches of another size runs other kernels, which add up in
another order: its outputs are equal within `TOLERANCE`.
"""

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor, nn

import data
import models.initialise
from data import DataSpec
from data.load import LoadedData
from tests.data.miniature import registered, unpinned, write
from tests.trials.specs import RULE, guided
from trials.evaluate import BATCH_SIZE
from trials.spec import Recipe, Segment, SoftLoss, TrialSpec
from trials.stage import Workshop, ask_teacher
from trials.streams import stream_key
from trials.task import ChosenTeacher, TeachTask
from trials.train import build_model, train
from trials.weights import restore, to_bytes

TOLERANCE = 2e-6
"""Of a cached output against a live one, as a part of the largest output: 16 units in the last
place of float32."""

DATASETS = ("cifar10", "fashion_mnist", "california_housing", "digits")
TEACHERS = [(dataset, size) for dataset in DATASETS for size in ("small", "medium", "large")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write(map(unpinned, DATASETS), folder, train_images=230)
    return folder


@pytest.fixture(autouse=True)
def made_up_rows() -> Iterator[None]:
    with registered(map(unpinned, DATASETS)):
        yield


def workshop(folder: Path) -> Workshop:
    return Workshop(torch.device("cpu"), folder)


def teacher(dataset: str, size: str, seed: int = 1) -> ChosenTeacher:
    """A teacher of random weights; its outputs are as rough as a network's can be."""
    entry = data.get(dataset)
    network = models.initialise.build(dataset, size, entry.input_shape, entry.outputs, "he", seed)
    weights = to_bytes(network.state_dict())
    return ChosenTeacher(f"{dataset} {size} {seed}", DataSpec(dataset), size, weights)


def told(chosen: ChosenTeacher, where: Workshop) -> Tensor:
    return torch.from_numpy(ask_teacher(TeachTask(chosen, chosen.data), where).values)


def network_of(chosen: ChosenTeacher) -> nn.Module:
    return restore(chosen.data, chosen.model, chosen.weights).eval()


@pytest.mark.parametrize(("dataset", "size"), TEACHERS)
def test_cached_outputs_are_those_of_the_live_teacher(
    dataset: str, size: str, folder: Path
) -> None:
    where, chosen = workshop(folder), teacher(dataset, size)
    cached, rows, live = told(chosen, where), where.dataset(DataSpec(dataset)), network_of(chosen)
    order = torch.randperm(len(rows.train), generator=torch.Generator().manual_seed(3))
    atol = TOLERANCE * cached.abs().max().item()
    with torch.no_grad():
        # By the bit where the live teacher is given the same batches.
        batches = torch.split(rows.train.x, BATCH_SIZE)
        assert len(batches) > 2
        assert torch.equal(cached, torch.cat([live(rows.inputs(batch)) for batch in batches]))
        for batch_size in (1, 8, 64, len(order)):
            for batch in torch.split(order, batch_size)[:30]:
                outputs = live(rows.inputs(rows.train.x[batch]))
                assert torch.allclose(cached[batch], outputs, rtol=0, atol=atol)


def fingerprints(where: Workshop, teachers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """A hash of what each teacher says."""
    return {
        f"{dataset} {size}": hashlib.sha256(
            told(teacher(dataset, size), where).numpy().tobytes()
        ).hexdigest()
        for dataset, size in teachers
    }


def test_any_worker_in_any_order_computes_the_same_bits(folder: Path) -> None:
    where = workshop(folder)
    first = fingerprints(where, TEACHERS)
    assert len(set(first.values())) == len(TEACHERS)
    spec = TrialSpec(1, DataSpec("digits"), Recipe("medium", 64), (Segment(1),))
    train(spec, where.dataset(spec.data), {})
    assert fingerprints(where, TEACHERS[::-1]) == first, "again, in another order"
    assert fingerprints(workshop(folder), TEACHERS[5:] + TEACHERS[:5]) == first, "another worker"


def test_another_process_with_more_threads_computes_the_same_bits(folder: Path) -> None:
    code = """
import json
import sys
from pathlib import Path
from tests.trials import test_teacher_outputs as here
from trials.device import configure
configure()
with here.registered(map(here.unpinned, here.DATASETS)):
    print(json.dumps(here.fingerprints(here.workshop(Path(sys.argv[1])), here.TEACHERS)))
"""
    threads = {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env={**os.environ, **threads},
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == fingerprints(workshop(folder), TEACHERS)


def live_loop(spec: TrialSpec, rows: LoadedData, live: nn.Module) -> tuple[nn.Module, list[float]]:
    """Guided to the end by a teacher that is asked at every step: the network, the losses."""
    model, losses = build_model(spec, rows), []
    (segment,) = spec.schedule
    for epoch in range(spec.epochs):
        generator = torch.Generator().manual_seed(stream_key(spec.seed, "order", epoch))
        order = torch.randperm(len(rows.train), generator=generator)
        for batch in torch.split(order, spec.recipe.batch_size or len(order)):
            x, y = rows.inputs(rows.train.x[batch]), rows.train.y[batch]
            outputs = model(x)
            with torch.no_grad():
                taught = live(x)
            if rows.task == "classification":
                hard = F.cross_entropy(outputs, y)
                log_q, p = F.log_softmax(outputs, 1), F.softmax(taught, 1)
                soft = F.kl_div(log_q, p, reduction="batchmean")
            else:
                hard, soft = F.mse_loss(outputs, y), F.mse_loss(outputs, taught)
            loss = segment.objective.hard * hard + segment.objective.soft * soft
            model.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter.sub_(spec.recipe.learning_rate * parameter.grad)
            losses.append(loss.item())
    return model, losses


@pytest.mark.parametrize(
    ("dataset", "model", "batch_size", "kind"),
    [("groups", "plain", 32, "kl"), ("california_housing", "small", None, "mse")],
)
def test_a_student_learns_from_cached_outputs_what_it_learns_from_the_live_teacher(
    dataset: str, model: str, batch_size: int | None, kind: SoftLoss, folder: Path
) -> None:
    # Networks without dropout, and steps whose arithmetic is written out.
    objective = guided(0.3, kind=kind)
    recipe = Recipe(model, batch_size, "sgd", 0.05)
    spec = TrialSpec(780, DataSpec(dataset), recipe, (Segment(3, objective),))
    where, chosen = workshop(folder), teacher(dataset, model)
    rows = where.dataset(spec.data)
    found = train(spec, rows, {RULE.key: told(chosen, where)}).snapshot
    network, losses = live_loop(spec, rows, network_of(chosen))
    epoch = len(losses) // 3
    means = [math.fsum(losses[n : n + epoch]) / epoch for n in range(0, len(losses), epoch)]
    assert found.progress.train_loss == pytest.approx(means, rel=1e-5)
    assert means[-1] < 0.9 * means[0]
    for name, weights in network.state_dict().items():
        assert torch.allclose(found.model[name], weights, rtol=1e-4, atol=1e-5), name
