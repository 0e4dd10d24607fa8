"""Groups of options: a command that names a group takes each of its options."""

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from sweep.cli.groups import with_groups
from tests.sweep.test_cli import Sweep
from tests.sweep.test_cli import sweep as sweep


@dataclass(frozen=True)
class Size:
    """How large."""

    width: Annotated[int, typer.Option(help="in cells")] = 2
    deep: Annotated[bool, typer.Option("--deep")] = False


@dataclass(frozen=True)
class Colour:
    """Which colour."""

    hue: Annotated[list[str] | None, typer.Option("--hue")] = None


def test_a_command_gets_its_groups_filled_in() -> None:
    seen: list[object] = []
    app = typer.Typer()

    @app.command()
    @with_groups
    def paint(name: str, size: Size, colour: Colour, times: int = 1) -> None:
        """Paints."""
        seen.append((name, size, colour, times))

    assert list(inspect.signature(paint).parameters) == ["name", "width", "deep", "hue", "times"]
    assert paint.__doc__ == "Paints."
    words = ["wall", "--width", "5", "--hue", "red", "--hue", "blue", "--times", "3"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert CliRunner().invoke(app, ["door", "--deep"]).exit_code == 0
    assert seen == [
        ("wall", Size(5, False), Colour(["red", "blue"]), 3),
        ("door", Size(2, True), Colour(None), 1),
    ]
    assert CliRunner().invoke(app, ["door", "--width", "wide"]).exit_code == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--stage-timeout", "0"], "--stage-timeout 0: must be above 0, in minutes"),
        (["--trial-timeout", "-3"], "--trial-timeout -3: must be above 0, in minutes"),
        (["--trial-timeout", "nan"], "--trial-timeout nan: must be above 0, in minutes"),
        (["--max-failures", "0"], "--max-failures 0: must be 1 or more"),
        (["--same-failures", "-1"], "--same-failures -1: must be 0 or more"),
        (["--local", "--address", "x:1"], "--local and --address exclude each other"),
        (["--gpus-per-trial", "2"], "--gpus-per-trial 2: must be from 0 (the CPU) to 1"),
        (["--gpus-per-trial", "0.5", "--trials-per-gpu", "2"], "give one"),
        (["--trials-per-gpu", "few"], "--trials-per-gpu few: must be 1 or more, or auto"),
    ],
)
@pytest.mark.parametrize("command", ["run", "retry"])
def test_limits_are_checked(sweep: Sweep, command: str, options: list[str], said: str) -> None:
    sweep(command, "quickstart", *options, status=2)
    assert said in sweep.err
