import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trials.noise import BLOCK_ROWS, row_noise


def draw(
    x: Tensor, first: int = 0, kind: str = "gaussian", seed: int = 3, repeat: int = 0
) -> Tensor:
    return row_noise(x, first, kind, seed=seed, purpose="input_noise", repeat=repeat)  # type: ignore[arg-type]


ROWS = torch.zeros(3 * BLOCK_ROWS + 17, 2, 3)
WHOLE = draw(ROWS)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(ROWS) - 1), st.integers(1, len(ROWS)))
def test_a_row_has_its_noise_in_any_batch(first: int, rows: int) -> None:
    batch = ROWS[first : first + rows]
    assert torch.equal(draw(batch, first), WHOLE[first : first + len(batch)])


def test_no_noise_is_used_twice() -> None:
    # Rows, blocks, repeats, seeds and purposes: all numbers differ.
    x = torch.zeros(2 * BLOCK_ROWS, 4)
    draws = [draw(x), draw(x, repeat=1), draw(x, seed=4), draw(x, 2 * BLOCK_ROWS)]
    draws.append(row_noise(x, 0, "gaussian", seed=3, purpose="pgd_start"))
    values = torch.cat(draws).flatten()
    assert len(values.unique()) > 0.999 * len(values)


def test_moments() -> None:
    x = torch.zeros(400, 500)
    gaussian, uniform = draw(x).double(), draw(x, kind="uniform").double()
    # 200,000 draws: standard errors 0.0022 of a mean, 0.0016 of a deviation, 0.0005 of a share.
    assert gaussian.mean().item() == pytest.approx(0, abs=0.01)
    assert gaussian.std().item() == pytest.approx(1, abs=0.008)
    assert (gaussian.abs() > 1.959964).double().mean().item() == pytest.approx(0.05, abs=0.0025)
    assert uniform.mean().item() == pytest.approx(0, abs=0.006)
    assert uniform.std().item() == pytest.approx(3**-0.5, abs=0.003)
    assert uniform.min() >= -1
    assert uniform.max() <= 1


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    draw(ROWS)
    assert torch.equal(torch.get_rng_state(), before)
