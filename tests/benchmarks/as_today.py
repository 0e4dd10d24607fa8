"""The grid as a researcher would write it today with PyTorch and Ray Tune.

Plain modules, `torch.optim.Adam`, a `DataLoader` over tensors prepared once (the whole set at once
for the regression), the teacher asked in every batch, FGSM once per epsilon, one Tune trial per
CPU, data and teacher shared through the object store. The teacher is trained first, by the same
code, in the driver. Tune reuses its processes, which it does only when told to: by default each
trial would import PyTorch anew.

    python -m tests.benchmarks.as_today --dataset california_housing --epochs 60
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.benchmarks.grid import ALPHA, EPSILONS, SEED, Grid

Batches = Iterable[list[Tensor]]


def student(dataset: str) -> nn.Module:
    """The network that is guided."""
    if dataset == "california_housing":
        return nn.Sequential(
            nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(64, 32), nn.ReLU(),
            nn.Linear(32, 1),
        )  # fmt: skip
    first, second, third, hidden, side = {
        "fashion_mnist": (32, 64, 128, 256, 7),
        "digits": (16, 32, 64, 128, 2),
    }[dataset]
    return nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1), nn.ReLU(),
        nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(second, third, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(third * side * side, hidden), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(hidden, 10),
    )  # fmt: skip


def teacher(dataset: str) -> nn.Module:
    """The small network that guides."""
    if dataset == "california_housing":
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    hidden, side = {"fashion_mnist": (16, 14), "digits": (8, 4)}[dataset]
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * side * side, hidden), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(hidden, 10),
    )  # fmt: skip


def batches(config: dict[str, Any], x: Tensor, y: Tensor, size: int, shuffle: bool) -> Batches:
    """A loader, or everything at once for the regression."""
    if config["regression"]:
        return [[x, y]]
    return DataLoader(TensorDataset(x, y), batch_size=size, shuffle=shuffle)


def hard_loss(config: dict[str, Any], out: Tensor, y: Tensor) -> Tensor:
    """The loss to the labels."""
    return F.mse_loss(out, y) if config["regression"] else F.cross_entropy(out, y)


def soft_loss(config: dict[str, Any], out: Tensor, guide: Tensor) -> Tensor:
    """The loss to the teacher."""
    if config["regression"]:
        return F.mse_loss(out, guide)
    return F.kl_div(F.log_softmax(out, dim=1), F.softmax(guide, dim=1), reduction="batchmean")


def train(
    config: dict[str, Any], network: nn.Module, guide: nn.Module | None, loader: Batches
) -> list[float]:
    """Trains a network, guided while `epoch < switch_epoch`; returns the loss of every step."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    losses = []
    network.train()
    for epoch in range(config["epochs"]):
        for x, y in loader:
            optimizer.zero_grad()
            out = network(x)
            loss = hard_loss(config, out, y)
            if guide is not None and epoch < config["switch_epoch"]:
                with torch.no_grad():
                    guidance = guide(x)
                alpha = config["alpha"]
                loss = alpha * loss + (1 - alpha) * soft_loss(config, out, guidance)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


@torch.no_grad()
def test(config: dict[str, Any], network: nn.Module, loader: Batches) -> float:
    """Accuracy in percent, or mean squared error."""
    total, rows = 0.0, 0
    for x, y in loader:
        out = network(x)
        if config["regression"]:
            total += F.mse_loss(out, y, reduction="sum").item()
        else:
            total += 100 * (out.argmax(1) == y).sum().item()
        rows += len(y)
    return total / rows


def test_under_fgsm(
    config: dict[str, Any], network: nn.Module, loader: Batches, epsilon: float
) -> float:
    """The same under an attack; images that are classified wrongly are not attacked."""
    total, rows = 0.0, 0
    for x, y in loader:
        leaf = x.clone().requires_grad_(True)
        out = network(leaf)
        network.zero_grad()
        hard_loss(config, out, y).backward()
        attacked = (leaf + epsilon * leaf.grad.sign()).clamp(config["low"], config["high"])
        with torch.no_grad():
            if config["regression"]:
                total += F.mse_loss(network(attacked), y, reduction="sum").item()
            else:
                right = out.argmax(1) == y
                total += 100 * (network(attacked[right]).argmax(1) == y[right]).sum().item()
        rows += len(y)
    return total / rows


def fit(
    config: dict[str, Any], network: nn.Module, guide: nn.Module | None, splits: dict[str, Any]
) -> dict[str, Any]:
    """Trains and measures a network."""
    began = time.perf_counter()
    x, y = floats(config, splits["x_train"]), torch.from_numpy(splits["y_train"])
    losses = train(config, network, guide, batches(config, x, y, config["batch_size"], True))
    trained = time.perf_counter()
    x, y = floats(config, splits["x_test"]), torch.from_numpy(splits["y_test"])
    loader = batches(config, x, y, 256, False)
    network.eval()
    metric = test(config, network, loader)
    attacked = {epsilon: test_under_fgsm(config, network, loader, epsilon) for epsilon in EPSILONS}
    return {
        "test_metric": metric,
        **{f"fgsm_{epsilon:g}": value for epsilon, value in attacked.items()},
        "train_loss": losses[-1],
        "steps": len(losses),
        "train_s": trained - began,
        "evaluate_s": time.perf_counter() - trained,
    }


def floats(config: dict[str, Any], x: Any) -> Tensor:
    """Inputs as the network sees them: images from -1 to 1."""
    found = torch.from_numpy(x)
    if config["regression"]:
        return found
    return (found.float() / config["pixel_max"] - 0.5) / 0.5


def trial(config: dict[str, Any], splits: dict[str, Any], guide_state: dict[str, Tensor]) -> None:
    """One Tune trial: a student, or the baseline where it switches at once."""
    from ray import tune

    began = time.time()
    torch.manual_seed(config["seed"])
    guide = teacher(config["dataset"])
    guide.load_state_dict(guide_state)
    guide.eval().requires_grad_(False)
    found = fit(config, student(config["dataset"]), guide, splits)
    tune.report({**found, "began": began, "threads": torch.get_num_threads()})


def main() -> None:
    """Runs the grid and prints JSON."""
    grid, options = Grid.parse(__doc__, "workers")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # or Ray would not stay on loopback
    import ray
    from ray import tune

    from data.load import load

    loaded = load(grid.data_spec())  # the rows that the study has, however they were read
    config = {
        "dataset": grid.dataset,
        "regression": loaded.task == "regression",
        "low": loaded.input_low,
        "high": loaded.input_high,
        "pixel_max": loaded.pixel_max,
        "epochs": grid.epochs,
        "batch_size": grid.batch_size,
        "alpha": ALPHA,
        "switch_epoch": 0,
        "seed": SEED,
    }
    splits = {
        "x_train": loaded.train.x.numpy(), "y_train": loaded.train.y.numpy(),
        "x_test": loaded.test.x.numpy(), "y_test": loaded.test.y.numpy(),
    }  # fmt: skip
    torch.manual_seed(SEED)
    guide = teacher(grid.dataset)
    of_teacher = fit(config, guide, None, splits)
    ray.init(
        num_cpus=int(options.workers), include_dashboard=False, log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(trial, splits=splits, guide_state=guide.state_dict()),
                {"cpu": 1},
            ),
            param_space={**config, "switch_epoch": tune.grid_search([0, *grid.switch_epochs])},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        began = time.time()
        with contextlib.redirect_stdout(sys.stderr):
            results = tuner.fit()
        ended = time.time()
        if results.errors:
            raise RuntimeError(f"{len(results.errors)} trials failed: {results.errors[0]}")
        trials = [{**result.metrics, **result.config} for result in results]
    ray.shutdown()
    keys = ("switch_epoch", "test_metric", *(f"fgsm_{epsilon:g}" for epsilon in EPSILONS), "steps",
            "threads", "train_s", "evaluate_s", "began")  # fmt: skip
    print(
        json.dumps(
            {
                "tune_began": began,
                "tune_ended": ended,
                "teacher": of_teacher,
                "trials": [{key: found[key] for key in keys} for found in trials],
            }
        )
    )


if __name__ == "__main__":
    main()
