"""The published networks under stronger attacks, on the real data."""

from pathlib import Path

import pytest

import data
from data.load import Split, load
from models.initialise import build
from trials.attack_settings import Attacks
from trials.evaluate import evaluate
from trials.weights import load as load_weights

EPSILONS = (0.005, 0.01, 0.05)
UNDER = Attacks(EPSILONS, EPSILONS, input_noise=EPSILONS, input_noise_kind="uniform")
ROWS = 2000


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "cifar10-small-seed10106", "cifar10-small-seed12578", "cifar10-medium-seed12578",
        "california_housing-small-seed1483", "california_housing-large-seed2324",
    ],
)  # fmt: skip
def test_pgd_is_at_least_as_strong_as_fgsm_and_noise_is_weaker(
    name: str, data_dir: Path, reference_dir: Path
) -> None:
    dataset, size, _ = name.split("-")
    loaded = load(data.DataSpec(dataset), data_dir)
    model = build(dataset, size, loaded.input_shape, loaded.outputs, "default", seed=0)
    load_weights(model, reference_dir / "teachers" / f"{name}.safetensors")
    some = Split(loaded.test.x[:ROWS], loaded.test.y[:ROWS])
    found = evaluate(
        model, some, task=loaded.task, inputs=loaded.inputs, low=loaded.input_low,
        high=loaded.input_high, under=UNDER,
    )  # fmt: skip
    values = {(p.attack, p.epsilon): p.value for p in found.robustness}
    better = -1 if loaded.task == "regression" else 1
    assert found.zero_gradients_percent is not None
    assert found.zero_gradients_percent < 1
    for epsilon in EPSILONS:
        pgd, fgsm = values["pgd", epsilon], values["fgsm", epsilon]
        noise = values["input_noise-uniform", epsilon]
        assert better * pgd <= better * fgsm + 1e-6 < better * noise
        assert better * fgsm < better * found.metrics.metric
    # Together the steps find what one step runs past, where the loss is not a plane within epsilon.
    assert better * values["pgd", 0.05] < better * values["fgsm", 0.05]
