"""The image: what it is built from is there, pinned, and nobody's root."""

import fnmatch
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile with their arguments, continued lines joined."""
    lines = [
        line for line in (DOCKER / "Dockerfile").read_text("utf-8").splitlines()
        if not line.lstrip().startswith("#")
    ]  # fmt: skip
    text = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (ln.partition(" ") for ln in text.split("\n") if ln.strip())]  # fmt: skip


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, those of the one that it begins with first."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for word, rest in instructions():
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()  # type: ignore[union-attr]
            found[name] = list(found.get(base, []))
        if name:
            found[name].append((word, rest))
    return found


def sources(rest: str) -> tuple[list[str], bool]:
    """What a COPY copies, and whether from another stage."""
    words = shlex.split(rest)
    flags = [w for w in words if w.startswith("--")]
    return [w for w in words if w not in flags][:-1], any(w.startswith("--from") for w in flags)


COPIED = [s for word, rest in instructions() if word == "COPY" for s in sources(rest)[0] if not sources(rest)[1]]  # fmt: skip


def test_every_stage_is_known_to_docker() -> None:
    known = {"ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "VOLUME", "USER", "HEALTHCHECK",
             "ENTRYPOINT", "CMD"}  # fmt: skip
    assert {word for word, _ in instructions()} <= known
    assert list(stages()) == ["build", "cpu", "cuda"]
    bases = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert bases == ["${BASE}", "${BASE}", "cpu"]
    (base,) = [rest for word, rest in instructions() if word == "ARG"]
    assert re.fullmatch(r"BASE=python:3\.\d+-slim-\w+", base), "a tag that names its version"


@pytest.mark.parametrize("stage", ["cpu", "cuda"])
def test_who_runs_it_is_not_root_and_it_says_how_it_is(stage: str) -> None:
    found = stages()[stage]
    (user,) = [rest for word, rest in found if word == "USER"]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user), "a number, which Kubernetes can check"
    after = found[[word for word, _ in found].index("USER") :]
    assert not [word for word, _ in after if word in ("RUN", "COPY")], "nothing is done as its user"
    health = dict(found)["HEALTHCHECK"]
    assert json.loads(health.partition(" CMD ")[2]) == ["sweep-node", "health"]
    assert json.loads(dict(found)["ENTRYPOINT"]) == ["sweep"]
    assert "RAY_AUTH_MODE=token" in " ".join(rest for word, rest in found if word == "ENV")


def test_packages_are_checked_against_the_lock() -> None:
    installs = [
        part
        for word, rest in instructions()
        if word == "RUN"
        for part in rest.split(" && ")
        if " pip " in part
    ]
    assert len(installs) == 4
    for install in installs:
        words = set(shlex.split(install))
        assert "--no-deps" in words
        # What has no hash is what was built of these sources, and is looked for nowhere else.
        assert {"--require-hashes", "--only-binary"} <= words or "--no-index" in words, install
    assert not re.search(r"https?://|--index-url|--trusted-host", str(instructions()))


def test_all_that_is_copied_exists_and_is_let_in() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*", "what is not named stays out"
    let_in = [rule[1:] for rule in rules if rule.startswith("!")]
    assert COPIED
    for source in COPIED:
        assert (ROOT / source).exists(), source
        assert source in let_in, f"{source} is kept out by .dockerignore"
    assert set(let_in) == set(COPIED), "and nothing else is sent to the builder"
    for secret in ("docker/ray_token", "results/trials/a.parquet", ".git/config", ".venv/x"):
        assert not any(fnmatch.fnmatch(secret, f"{rule}*") for rule in let_in), secret


def test_what_is_copied_makes_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    meta = project["project"]
    assert {*packages, "pyproject.toml", meta["readme"], *meta["license-files"]} <= set(COPIED)


def pins(path: Path) -> dict[tuple[str, str], set[str]]:
    """The hashes of each package and version that a lock file names."""
    found: dict[tuple[str, str], set[str]] = {}
    for line in path.read_text("utf-8").splitlines():
        if named := re.match(r"([\w.-]+)==([^\s;]+)", line):
            last = found.setdefault((named[1].lower(), named[2]), set())
        last.update(re.findall(r"sha256:[0-9a-f]{64}", line))
    return found


def test_the_lock_of_the_image_is_that_of_the_project_without_its_tools() -> None:
    whole, image = pins(ROOT / "requirements.lock"), pins(DOCKER / "requirements.lock")
    assert {pin: whole.get(pin) for pin in image} == image
    names = {name for name, _ in image}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    needed = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["s3"],
    ]
    for requirement in needed:
        assert re.match(r"[\w-]+", requirement)[0].lower() in names  # type: ignore[index]
    assert not names & {"pytest", "hypothesis", "moto", "playwright", "mypy", "ruff"}


def test_what_builds_the_package_is_pinned_as_well() -> None:
    found = pins(DOCKER / "build.lock")
    assert "hatchling" in {name for name, _ in found}
    assert all(found.values())
