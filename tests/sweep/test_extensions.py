"""A package outside this one brings a dataset and a network through its entry point."""

import json
import os
import subprocess
import sys
from pathlib import Path

MODULE = """
import data
import models

def prepare(folder):
    import numpy as np
    x = np.linspace(-1, 1, 150)[:, None] * np.ones(3)
    return data.RawArrays(x_train=x[:100], y_train=x[:100, :1], x_test=x[100:], y_test=x[100:, :1])

def build(input_shape, outputs):
    from torch import nn
    return nn.Linear(input_shape[0], outputs)

def register():
    data.register(data.DatasetEntry(
        name="slope", task="regression", outputs=1, input_shape=(3,), prepare=prepare))
    models.register(models.ModelEntry("line", build, dataset="slope"))
"""

STUDY = """
name = "outside"
seeds = [1]
[recipe]
epochs = 3
batch_size = "full"
[datasets.slope]
student = "line"
"""


def _package(folder: Path, module: str = MODULE) -> None:
    (folder / "outside_package.py").write_text(module)
    info = folder / "outside_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sweep.extensions]\noutside = outside_package:register")
    (folder / "outside.toml").write_text(STUDY)


def _sweep(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", "from sweep.cli import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_line_knows_what_a_package_registers(tmp_path: Path) -> None:
    _package(tmp_path)
    done = _sweep(tmp_path, "data", "list", "--json")
    assert done.returncode == 0, done.stderr
    assert "slope" in {row["name"] for row in json.loads(done.stdout)}
    done = _sweep(tmp_path, "run", "outside.toml", "--local")
    assert done.returncode == 0, done.stderr
    done = _sweep(tmp_path, "trials", "outside", "--json")
    (row,) = json.loads(done.stdout)
    assert (row["dataset"], row["model"], row["status"]) == ("slope", "line", "done")


def test_a_package_that_fails_is_named(tmp_path: Path) -> None:
    _package(tmp_path, "def register():\n    raise OSError('no licence')\n")
    done = _sweep(tmp_path, "plan", "outside.toml")
    assert done.returncode == 2
    assert "'outside'" in done.stderr
    assert "no licence" in done.stderr
    assert "Traceback" not in done.stderr
