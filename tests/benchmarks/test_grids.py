"""What the comparison makes of its runs: hand-computed, and one tiny run of everything."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.benchmarks import grids
from tests.benchmarks.grids import ITEMS, account, against_limit, critical_path_s, spread, times

BARE = {
    "steps_per_epoch": 2.0, "teacher_step_s": 0.1, "student_step_s": 1.0, "guided_step_s": 1.5,
    "student_epoch_s": 2.25, "guided_epoch_s": 3.125, "teacher_evaluation_s": 0.25,
    "student_evaluation_s": 2.0,
}  # fmt: skip


def stage(worker: str, times: tuple[float, ...], epochs: int, **more: Any) -> dict[str, Any]:
    moments = dict(zip(("submitted", "began", "ended", "seen"), times, strict=True))
    about = {"model": "student", "guided": False, "evaluated": True, "epochs": epochs}
    return {"worker": worker, **about, **moments, **more}


def run(scale: float = 1.0, **more: Any) -> dict[str, Any]:
    """Two workers; the second begins 1 s later and ends 2 s earlier."""
    stages = [
        stage("a", (8.0, 10.0, 11.0, 11.5), 1, model="small"),
        stage("a", (12.0, 12.25, 20.0, 20.5), 2, guided=True, evaluated=False),
        stage("b", (8.0, 11.0, 18.0, 18.5), 3),
    ]
    return {
        "process_began": 5.0, "called": 5.5, "process_ended": 23.0, "whole_s": 18.0 * scale,
        "window_s": 10.5 * scale, "stages": stages, "summary": {"slots": 2}, **more,
    }  # fmt: skip


def test_every_second_of_a_run_is_accounted_for() -> None:
    found = account(run(), BARE)
    assert list(found) == list(ITEMS)
    assert sum(found.values()) == pytest.approx(18.0)
    # teacher 1 x 2 x 0.1, guided 2 x 2 x 1.5, alone 3 x 2 x 1.0; evaluated: teacher and student
    train, evaluate, busy = 0.2 + 6.0 + 6.0, 0.25 + 2.0, 1.0 + 7.75 + 7.0
    loop = 2 * (3.125 - 2 * 1.5) + 3 * (2.25 - 2 * 1.0)
    assert found == pytest.approx(
        {
            "import_s": 0.5,
            "ray_s": 2.5,
            "worker_s": 2.0,
            "train_s": train / 2,
            "evaluate_s": evaluate / 2,
            "loop_s": loop / 2,
            "else_s": (busy - train - evaluate - loop) / 2,
            "answer_s": 0.5 / 2,
            "driver_s": 0.5 / 2,
            "call_s": 0.25 / 2,
            "idle_first_s": 1.0 / 2,
            "idle_last_s": 2.0 / 2,
            "close_s": 3.0,
        }
    )


def test_a_worker_that_never_had_a_stage_was_idle() -> None:
    alone = run(stages=[s for s in run()["stages"] if s["worker"] == "a"])
    found = account(alone, BARE)
    assert found["idle_last_s"] == pytest.approx((20.0 - 10.0) / 2)
    assert sum(found.values()) == pytest.approx(18.0)


def test_the_longest_chain_is_the_teacher_and_one_student() -> None:
    assert critical_path_s(run(), BARE) == pytest.approx(0.2 + 0.25 + 3 * 2 * 1.5 + 2.0)


def test_slopes_come_from_windows_and_fixed_costs_from_whole_times() -> None:
    seconds = {"today": (20.0, 50.0), "alone": (10.0, 22.0), "shared": (8.0, 14.0)}
    runs = {
        variant: [[{"window_s": w, "whole_s": w + 7.0}] * 2 for w in windows]
        for variant, windows in seconds.items()
    }
    epochs = [{"naive": 100, "planned": 50}, {"naive": 200, "planned": 100}]
    found = times(runs, epochs)
    assert found["slope_s_per_naive_epoch"]["today"] == spread([0.3])
    assert found["slope_s_per_planned_epoch"]["median"] == pytest.approx(0.12)
    fixed = {variant: spread["median"] for variant, spread in found["fixed_s"].items()}
    # 57 - 60, 29 - 24, 21 - 12
    assert fixed == pytest.approx({"today": -3.0, "alone": 5.0, "shared": 9.0})
    slope = {name: ratio["median"] for name, ratio in found["ratios"]["slope"].items()}
    expected = {"today/shared": 5.0, "today/alone": 2.5, "alone/shared": 2.0}
    assert slope == pytest.approx(expected)
    assert found["ratios"]["whole"][0]["today/shared"]["median"] == pytest.approx(27 / 15)


def test_the_limit_is_the_arithmetic_on_all_slots() -> None:
    longer = run(2.0)
    for one in longer["stages"]:
        one["epochs"] *= 3
    found = against_limit([[run()], [longer]], [BARE])
    short_s, long_s = (12.2 + 2.25) / 2, (3 * 12.2 + 2.25) / 2
    assert [limit["median"] for limit in found["limit_s"]] == pytest.approx([short_s, long_s])
    assert found["whole_over_limit"][0]["median"] == pytest.approx(18.0 / short_s)
    assert found["slope_over_limit"]["median"] == pytest.approx((21.0 - 10.5) / (long_s - short_s))


def test_a_spread_is_the_median_and_the_range() -> None:
    assert spread([3.0, 1.0, 8.0]) == {"median": 3.0, "least": 1.0, "most": 8.0}


@pytest.mark.slow
def test_a_tiny_grid_three_ways_end_to_end() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.grids", "--quick"], capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    (found,) = json.loads(answer.stdout).values()
    # 2 students and the baseline; baseline and trunk, and one tail of half the epochs
    assert found["epochs"] == [{"naive": 12, "planned": 10}, {"naive": 24, "planned": 20}]
    lines = grids.markdown({"Digits": found, "Absent": {"skipped": "it is not there"}})
    assert "Skipped: it is not there." in lines
    assert sum(line.startswith("| whole, ") for line in lines) == 2
    widths = {line.count("|") for line in lines if line.startswith("| ours, shared")}
    assert widths == {4}
