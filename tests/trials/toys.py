"""Small datasets and networks of our own; a fresh process can register them too."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import data
import models
from data import DataSpec, RawArrays
from models.networks import MLP
from trials.spec import EarlyStop, LrSchedule, Recipe


def table_rows(rows: int) -> RawArrays:
    """A smooth function of three columns, with noise."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(rows + 40, 3)) * [1.0, 5.0, 0.1] + [0.0, 2.0, -1.0]
    y = np.sin(x[:, 0]) + 0.3 * x[:, 1] + rng.normal(size=len(x)) * 0.1
    return RawArrays(x[:rows], y[:rows], x[rows:], y[rows:])


def table(folder: Path) -> RawArrays:
    return table_rows(250)


def rows_782(folder: Path) -> RawArrays:
    return table_rows(782)


def rows_938(folder: Path) -> RawArrays:
    return table_rows(938)


def groups(folder: Path) -> RawArrays:
    """Three overlapping clouds of points in four dimensions."""
    rng = np.random.default_rng(8)
    y = np.arange(300) % 3
    x = rng.normal(size=(300, 4)) + y[:, None]
    return RawArrays(x[:250], y[:250], x[250:], y[250:])


def plain(shape: tuple[int, ...], outputs: int) -> nn.Module:
    return MLP(shape, outputs, (8,), dropouts=0, dropout=0.3)


def dropping(shape: tuple[int, ...], outputs: int) -> nn.Module:
    return MLP(shape, outputs, (8, 8), dropouts=2, dropout=0.3)


def batch_norm(shape: tuple[int, ...], outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(shape[0], 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, outputs)
    )


def torch_dropout(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Draws from PyTorch's global generator."""
    return nn.Sequential(nn.Linear(shape[0], 8), nn.Dropout(0.5), nn.Linear(8, outputs))


def channels_last(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Weights whose memory order is not that of their axes."""
    network = nn.Sequential(
        nn.Conv2d(shape[0], 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Flatten(),
        nn.Linear(4 * (shape[1] - 4) * (shape[2] - 4), outputs),
    )  # fmt: skip
    return network.to(memory_format=torch.channels_last)


class Recording(nn.Module):
    """Remembers how many rows each forward pass in training mode had."""

    def __init__(self, columns: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(columns, outputs)
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.rows.append(len(x))
        out: Tensor = self.layer(x)
        return out


def recording(shape: tuple[int, ...], outputs: int) -> nn.Module:
    return Recording(shape[0], outputs)


NETWORKS = (plain, dropping, batch_norm, torch_dropout, channels_last, recording)


def register() -> None:
    """Makes all of them known in this process."""
    for name, prepare in (("table", table), ("rows-782", rows_782), ("rows-938", rows_938)):
        entry = data.DatasetEntry(
            name=name, task="regression", outputs=1, input_shape=(3,), prepare=prepare
        )
        data.register(entry, replace=True)
    entry = data.DatasetEntry(
        name="groups", task="classification", outputs=3, input_shape=(4,), prepare=groups
    )
    data.register(entry, replace=True)
    for network in NETWORKS:
        models.register(models.ModelEntry(network.__name__, network), replace=True)


DIGITS = DataSpec("digits", train_size=200)
RECIPES: dict[str, tuple[DataSpec | str, Recipe]] = {
    "digits, minibatches, Adam": (DIGITS, Recipe("student", 64)),
    "table, full batch, Adam": ("table", Recipe("dropping", None, learning_rate=0.01)),
    "table, minibatches, SGD": (
        "table", Recipe("dropping", 32, "sgd", 0.05, weight_decay=0.01, momentum=0.9),
    ),
    "table, full batch, SGD": ("table", Recipe("plain", None, "sgd", 0.1)),
    "groups, minibatches, Adam": ("groups", Recipe("dropping", 48, weight_decay=0.01)),
    "batch statistics": ("groups", Recipe("batch_norm", 64)),
    "PyTorch's generator": ("groups", Recipe("torch_dropout", 64)),
    "channels last": (DIGITS, Recipe("channels_last", 50, init="he")),
    "cosine with warm-up": (
        "groups", Recipe("dropping", 48, lr_schedule=LrSchedule("cosine", horizon=4, warmup_epochs=1)),
    ),
    "plateau and best epoch": (
        DataSpec("digits", train_size=200, validation=0.1),
        Recipe(
            "medium", 48, learning_rate=0.02,
            lr_schedule=LrSchedule("plateau", 0.2, patience=0, threshold=0.1),
            early_stop=EarlyStop(3, 0.01, "validation_metric", restore_best=True),
        ),
    ),
    "bfloat16": (DIGITS, Recipe("student", 64, precision="bfloat16")),
}  # fmt: skip
"""Data and recipe of trainings that must not depend on how they are executed."""
