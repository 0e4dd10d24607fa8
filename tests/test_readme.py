"""The README's commands and code do what they say."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sweep.cli import app, register
from sweep.study import documented_keys, load_study

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    part.strip()
    for language, block in BLOCKS
    if language == "sh"
    for line in block.splitlines()
    for part in line.split("  #")[0].split("&&")
    if part.strip()
]
LONG = (
    "sweep run thesis", "sweep retry thesis", "sweep data fetch", "sweep submit", "sweep logs",
    "sweep stop", "sweep status thesis", "sweep serve", "sweep run anti", "sweep report anti",
    "sweep studies",
)  # fmt: skip
"""Beginnings of commands that take hours, a network or a cluster, that stay, or that other tests run from
beginning to end (`tests/sweep/test_builtin_studies.py`, `test_cli.py`); their options are checked only."""

SHORTER = {
    "sweep run quickstart": "--seeds 1 --only 'teacher=small|large alpha=0.1|0.6 switch_epoch=1|4'",
    "sweep tune": "--local --trials 12",
    "sweep evaluate": "--local",
    "sweep attribute": "--local",
}
"""What is added to commands so that they take less: that they work, and work together, is shown the same.

Of the quickstart, 8 students are trained, of all that its other commands ask for, their baseline and teachers."""


OWN_STUDY = """
import sweep
if __name__ == "__main__":
    models.register(models.ModelEntry("line", lambda shape, outputs: __import__("torch").nn.Linear(
        shape[0], outputs), dataset="plane"))
    study = sweep.load_study({
        "name": "mine", "seeds": [1, 2], "recipe": {"epochs": 1, "batch_size": 64},
        "datasets": {"digits": {"student": "wide"}, "plane": {"student": "line"}},
    })
    where = sweep.Where(workers=1, gpus_per_trial=0)
    print(sweep.run_study(study, "mine", where).done)
    print(*set(sweep.Results("mine").cells("mine").status))
"""
"""Runs what the README registers on Ray workers, which must be told of it."""


def _blocks(language: str) -> list[str]:
    return [block for found, block in BLOCKS if found == language]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("sweep ")])
def test_every_command_has_options_that_exist(command: str) -> None:
    import typer

    register()

    words = shlex.split(command)[1:]
    group = typer.main.get_command(app)
    context = group.make_context("sweep", list(words), resilient_parsing=False)
    while hasattr(group, "commands"):
        name, group, words = group.resolve_command(context, words)
        context = group.make_context(name, words, parent=context)
    assert group is not None


def test_make_has_the_targets_that_are_named() -> None:
    makefile = (Path(__file__).parent.parent / "Makefile").read_text("utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile, target


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def _run(command: list[str], folder: Path) -> str:
    bin_dir = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_dir}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_the_commands_run_in_their_order(workplace: Path) -> None:
    ran = [c for c in COMMANDS if c.startswith("sweep ") and not c.startswith(LONG)]
    assert len(ran) >= 10
    for command in ran:
        words = shlex.split(command)
        for beginning, more in SHORTER.items():
            words += shlex.split(more) if command.startswith(beginning) else []
        assert _run(words, workplace) or "export" in command or " -o " in command, command
    assert (workplace / "results" / "reports" / "quickstart.html").stat().st_size > 1_000_000


def test_the_python_code_runs(workplace: Path) -> None:
    test_results = workplace / "results" / "trials"
    assert test_results.is_dir(), "the commands run first"
    duck, notebook, network, dataset = _blocks("python")
    _run([sys.executable, "-c", duck + "\n"], workplace)
    lines = [line for line in notebook.splitlines() if line and not line.startswith("import")]
    assert len(lines) < 10
    check = "assert len(table) and figure.data and network.training is False"
    _run([sys.executable, "-c", f"{notebook}\n{check}"], workplace)
    script = workplace / "mine.py"
    script.write_text(f"{network}\n{dataset}\n{OWN_STUDY}")
    assert _run([sys.executable, str(script)], workplace).split() == ["4", "done"]


def test_the_example_study_is_valid(tmp_path: Path) -> None:
    text, schedules, expected, *_ = _blocks("toml")
    path = tmp_path / "mine.toml"
    path.write_text(text)
    study = load_study(path)
    assert study.datasets["digits"].grid.switch_epoch == (1, 2, 3, 4, 5)
    path.write_text(f"{text}\n{schedules}\n{expected}")
    assert load_study(path).expected[0].switch_epoch == (4, 5)
    recipe = load_study(path).datasets["digits"].recipe
    assert (recipe.lr_schedule.kind, recipe.early_stop.patience) == ("plateau", 10)
    other = load_study(path, ["recipe.lr_schedule.kind=constant"])
    assert (
        other.datasets["digits"].recipe.lr_schedule == study.datasets["digits"].recipe.lr_schedule
    )


def _merged(*blocks: str) -> dict[str, object]:
    """The example study with the sections of others in place of its own."""
    study: dict[str, object] = {}
    for block in blocks:
        study |= tomllib.loads(block)
    return study


def test_the_examples_of_schedules_starts_and_later_grids_are_valid() -> None:
    text, _, _, windows, starts, later, _ = _blocks("toml")
    longer = {"recipe": {"epochs": 45, "batch_size": 64}}
    study = load_study(_merged(text, windows) | longer)
    assert study.datasets["digits"].grid.begin_epoch == (0, 9)
    first = _merged(text, starts)
    guided = {"alpha": [0.5], "switch_epoch": [5], "temperature": [1.0, 4.0]}
    first["grid"] |= guided  # type: ignore[operator]
    study = load_study(first)
    assert study.starts["near"].objective.anchor == 0.5
    study = load_study(first | tomllib.loads(later))
    assert study.then[0].best == ("temperature",)
    assert study.search["weights"].trials == 10


def test_the_example_of_a_search_is_valid() -> None:
    *_, tune = _blocks("toml")
    study = load_study(
        {
            "name": "searched",
            "seeds": [1, 2, 3],
            "recipe": {"epochs": 1500, "batch_size": "full"},
            "split": {"validation": 0.1},
            "grid": {"teacher": ["small"], "alpha": [0.5], "switch_epoch": [100]},
            "datasets": {"california_housing": {"student": "student"}},
            **tomllib.loads(tune),
        }
    )
    assert study.tune is not None
    assert (study.tune.rungs, study.tune.finalists) == ((300,), 3)
    assert study.tune.space["alpha"].step == 0.1


def test_every_study_key_is_in_the_table() -> None:
    _, _, table = README.partition("| key | default | meaning |\n")
    table, _, _ = table.partition("\n\n")
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.*) \|$", table, re.MULTILINE))
    assert set(rows) == {key for key, _, _ in documented_keys()}
    for key, default, meaning in documented_keys():
        shown = f"`{default}`" if default else "must be given"
        assert rows[key] == f"{shown} | {meaning}"
