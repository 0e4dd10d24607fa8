"""What docker/README.md says to type exists."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from sweep.cli import app, register
from tests.docker.machines import DOCKER, ROOT

README = (DOCKER / "README.md").read_text("utf-8")
LINES = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]
SWEEP = [
    found[1].strip()
    for line in LINES
    if (found := re.search(r"(?<![\w/-])(sweep (?:run|report|merge|plan) .*?)(?:'|#|$)", line))
]


@pytest.mark.parametrize("command", SWEEP)
def test_commands_have_options_that_exist(command: str) -> None:
    register()

    words = shlex.split(command)[1:]
    group = typer.main.get_command(app)
    context = group.make_context("sweep", list(words))
    name, found, words = group.resolve_command(context, words)  # type: ignore[attr-defined]
    assert found.make_context(name, words, parent=context) is not None


def test_there_are_commands_and_the_files_they_name() -> None:
    assert len(SWEEP) >= 5
    named = {word for line in LINES for word in re.findall(r"docker/[\w./-]+", line)}
    named -= {"docker/ray_token", "docker/page_token"}
    assert len(named) >= 4
    for name in named:
        assert (ROOT / name).is_file(), name


def test_slurm_is_asked_with_the_arguments_that_scripts_take() -> None:
    arrays = [line for line in LINES if "array.sh" in line]
    assert len(arrays) == 3
    for line in arrays:
        study, count, results = shlex.split(line.partition("array.sh ")[2])[:3]
        assert (study, count in line, results.startswith("$SCRATCH")) == (
            "thesis-cifar10",
            True,
            True,
        )
        assert f"--array=1-{count} " in line


def test_services_that_are_named_exist() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))["services"]
    asked = [line for line in LINES if "docker compose" in line]
    for line in asked:
        for verb, name in re.findall(r"\b(exec|run --rm) (\w+)", line):
            assert name in services, (verb, name)


def test_make_has_the_targets_that_are_named() -> None:
    makefile = Path(ROOT / "Makefile").read_text("utf-8")
    named = set(re.findall(r"`make ([a-z-]+)`", README))
    assert {"image", "image-cuda", "lock"} <= named
    for target in named:
        assert f"\n{target}:" in makefile, target
