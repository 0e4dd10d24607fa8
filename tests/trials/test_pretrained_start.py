"""Weights from a file as the start of a trial: those that its identity names, or none."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import models
from data import DataSpec
from data.load import load
from models import pretrained
from trials.course import build_model
from trials.spec import HARD, Recipe, Segment, Start, TrialSpec

ROWS = DataSpec("digits", 64)


def trial(path: Path) -> TrialSpec:
    known = pretrained.identity(models.get("digits", "mlp-4"), str(path))
    start = Start(pretrained=known, location=str(path))
    return TrialSpec(1, ROWS, Recipe("mlp-4", 32), (Segment(1, HARD),), start)


def written(path: Path, value: float) -> None:
    network = models.get("digits", "mlp-4").make(ROWS.input_shape, 10)
    save_file({k: torch.full_like(t, value) for k, t in network.state_dict().items()}, path)


def test_a_file_that_was_replaced_since_is_refused(tmp_path: Path) -> None:
    path, loaded = tmp_path / "w.safetensors", load(ROWS)
    written(path, 0.5)
    spec = trial(path)
    assert build_model(spec, loaded).get_parameter("fc1.weight").eq(0.5).all()
    written(path, 0.25)
    with pytest.raises(ValueError, match=r"w\.safetensors.*has other weights \(sha256:"):
        build_model(spec, loaded)
    # Where a snapshot brings the weights, the file is of no use and may be gone.
    path.unlink()
    build_model(spec, loaded, begins=False)
