"""Malformed study files, by the hundred: one message each, within two seconds, and nothing made."""

import itertools
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweep.errors import StudyError
from sweep.study import MAX_STUDY_BYTES, load_study

GOOD = {
    "name": '"good"',
    "title": '"A study"',
    "question": '"Why?"',
    "seeds": "[1, 2]",
    "grid.teacher": '["small"]',
    "grid.alpha": "[0.5]",
    "grid.switch_epoch": "[1, 3]",
    "grid.temperature": "[1.0]",
    "grid.past_end": '"refuse"',
    "grid.start": '["near"]',
    "grid.begin_epoch": "[0]",
    "grid.ramp": '["mine"]',
    "grid.epochs": "[3]",
    "grid.batch_size": "[32]",
    "grid.learning_rate": "[0.001]",
    "grid.weight_decay": "[0.0]",
    "grid.init": '["he"]',
    "grid.teacher_epochs": "[2]",
    "grid.label_noise": "[0.1]",
    "grid.corruption": '["blur"]',
    "grid.corruption_strength": "[0.5]",
    "grid.corruption_fraction": "[0.5]",
    "recipe.epochs": "3",
    "recipe.batch_size": "32",
    "recipe.optimizer": '"adam"',
    "recipe.learning_rate": "0.001",
    "recipe.weight_decay": "0.0",
    "recipe.momentum": "0.0",
    "recipe.init": '"he"',
    "recipe.soft_loss": '"auto"',
    "recipe.precision": '"float32"',
    "recipe.lr_schedule.kind": '"step"',
    "recipe.lr_schedule.factor": "0.1",
    "recipe.lr_schedule.milestones": "[2]",
    "recipe.early_stop.patience": "2",
    "recipe.early_stop.min_delta": "0.0",
    "recipe.early_stop.monitor": '"train_loss"',
    "recipe.early_stop.restore_best": "false",
    "recipe.shuffle": "false",
    "recipe.frozen_epochs": "1",
    "recipe.augment.flip": "true",
    "recipe.augment.pad": "1",
    "recipe.augment.rotation": "5.0",
    "split.train_size": "300",
    "split.classes": "[0, 1, 2, 3, 4]",
    "split.scaling": '"unit"',
    "split.image_size": "8",
    "split.label_noise": "0.1",
    "split.label_noise_part": "0.5",
    "split.corruption": '"blur"',
    "split.corruption_strength": "0.5",
    "split.corruption_fraction": "0.5",
    "split.corruption_on": '"train"',
    "split.validation": "0.1",
    "split.split_seed": "3",
    "teacher.select_on": '"validation"',
    "teacher.select_by": '"metric"',
    "teacher.seeds": "[1, 2]",
    "teacher.match": '"seed"',
    "teacher.recipe.epochs": "2",
    "teacher.split.split_seed": "3",
    "evaluation.fgsm_epsilons": "[0.1]",
    "evaluation.pgd_epsilons": "[0.1]",
    "evaluation.pgd_steps": "3",
    "evaluation.pgd_step_size": "0.5",
    "evaluation.pgd_random_start": "true",
    "evaluation.input_noise": "[0.2]",
    "evaluation.input_noise_kind": '"uniform"',
    "evaluation.weight_noise": "[0.2]",
    "evaluation.weight_noise_kind": '"relative"',
    "evaluation.noise_repeats": "2",
    "evaluation.fgsm_samples": '"all"',
    "evaluation.fgsm_clip": "false",
    "evaluation.weight_noise_redraw": '"batch"',
    "evaluation.validation": "true",
    "evaluation.every_epochs": "1",
    "evaluation.keep": '"none"',
    "datasets.digits.student": '"student"',
    "datasets.digits.baseline": "true",
    "ramps.mine": "[0.0, 0.5]",
    "starts.near.init": '"he"',
    "starts.near.growth": '"uniform-pad"',
    "starts.near.head": '"new"',
    "starts.near.student": '"student"',
    "starts.near.frozen_epochs": "1",
    "starts.near.training.epochs": "2",
    "starts.near.training.augment.flip": "false",
    "starts.near.split.split_seed": "4",
    "starts.near.objective.hard": "0.5",
    "starts.near.objective.noisy": "0.5",
    "starts.near.objective.amplitude": "0.05",
    "starts.near.objective.anchor": "0.5",
    "starts.near.objective.anchor_distance": '"norm"',
    "starts.near.objective.curvature": "0.5",
    "starts.near.objective.curvature_gradient": "true",
    "then": '[{ best = ["alpha"], grid = { init = ["he", "xavier"] } }]',
    "search.found.start": '"near"',
    "search.found.weights": '["hard", "anchor"]',
    "search.found.low": "0.1",
    "search.found.high": "0.9",
    "search.found.trials": "2",
    "search.found.attack": '"fgsm-all-unclipped"',
    "search.found.epsilon": "0.1",
    "search.found.select_on": '"validation"',
    "search.found.epochs": "2",
    "search.found.seeds": "[1]",
    "search.found.sampler_seed": "3",
}
"""A study in which every kind of key is given, as lines of TOML."""

TABLES = (
    "grid", "recipe", "split", "teacher", "evaluation", "datasets", "datasets.digits",
    "recipe.lr_schedule", "recipe.early_stop", "recipe.augment", "teacher.recipe", "teacher.split",
    "ramps", "starts", "starts.near", "starts.near.training", "starts.near.training.augment",
    "starts.near.split", "starts.near.objective", "search", "search.found",
)  # fmt: skip

LONG = '"' + "a" * 100_000 + '"'
DATES = ("1979-05-27", "07:32:00", "1979-05-27T07:32:00Z")
NUMBERS = ("-1.5", "nan", "inf", "-inf", "1e400", "0x7fffffffffffffff", "9" * 400)
WRONG = {
    "text": ("true", "3", *NUMBERS, *DATES, '["a"]', "{ a = 1 }", LONG),
    "number": ('"3"', LONG, *NUMBERS[:5], NUMBERS[-1], *DATES, "[1]", "[[[1]]]", "{ a = 1 }"),
    "list": (
        "true", '"small"', LONG, *NUMBERS, *DATES, "[[1, 2], [3]]", '["a", 1, true]',
        "[nan]", "[inf]", "[1979-05-27]", "[{ a = 1 }]", '["../x"]', "{ start = 1 }",
        "{ start = 1, stop = 1000000000000 }", "{ start = nan, stop = 2 }",
    ),
    "table": ("true", '"x"', LONG, "3", *DATES, "[1]", "[]", "{ nosuch = 1 }"),
    "flag": ('"true"', "1", *DATES, "[true]", "{ a = 1 }"),
}  # fmt: skip
"""Values that no key of a kind takes."""


def kind_of(key: str) -> str:
    value = GOOD.get(key)
    if value is None:
        return "table"
    if value in ("true", "false"):
        return "flag"
    return {'"': "text", "[": "list"}.get(value[0], "number")


def written(changes: dict[str, str]) -> str:
    """The good study with some keys replaced, or what is under them."""
    kept = {
        key: value
        for key, value in GOOD.items()
        if not any(f"{key}.".startswith(f"{new}.") for new in changes)
    }
    return "".join(f"{key} = {value}\n" for key, value in (kept | changes).items())


ONE_BAD_VALUE = [
    (key, value) for key in (*GOOD, *TABLES) for value in WRONG[kind_of(key)]
]  # fmt: skip

ODD_NAMES = (
    "../x", "..", "/etc/passwd", "C:\\\\x", "\\\\\\\\server\\\\x", "con", "nul", "com1", "lpt9",
    "aux", "prn", "a.b", "a ", " a", "-a", "раypal", "ﬁt", "ａ", "a\\u200b", "\\u202ea", "é",
    "e\\u0301", "\\u0000", "a\\u0000b", "\\n", "\\u001b[31m", "💥", "A", "", "%2e%2e", "~",
    "$HOME", "a;b", "*", "a" * 65, "a" * 100_000,
)  # fmt: skip
"""As they stand in TOML, in quotes."""

PLACES = (
    ("name", '"{0}"'),
    ("grid.teacher", '["{0}"]'),
    ("datasets.digits.student", '"{0}"'),
    ('datasets."{0}".student', '"student"'),
    ('recipe."{0}"', "1"),
    ("grid.start", '["{0}"]'),
    ("grid.ramp", '["{0}"]'),
    ("starts.near.student", '"{0}"'),
    ('starts.near."{0}"', "1"),
    ("then", '[{{ best = ["{0}"], grid = {{ init = ["he"] }} }}]'),
    ("search.found.start", '"{0}"'),
    ('"{0}"', "1"),
)
"""Where a name may stand: a key and a value."""

DEEP = "[" * 5000 + "]" * 5000
BROKEN: tuple[tuple[bytes, str], ...] = (
    (b"seeds = [1]\nseeds = [2]\n", "not valid TOML"),
    (b"[grid]\n[grid]\n", "not valid TOML"),
    (b"recipe.epochs = 3\n[recipe]\nbatch_size = 1\n", "not valid TOML"),
    (b"name = 'a'\nname.b = 1\n", "not valid TOML"),
    (b"datasets = {}\n[datasets.digits]\n", "not valid TOML"),
    (b"name = 'a", "not valid TOML"),
    (b'name = """a', "not valid TOML"),
    (b"name = 'a'\rseeds = [1]", "not valid TOML"),
    (b"name = 'a\0b'", "not valid TOML"),
    (b"\0" * 1000, "not valid TOML"),
    (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not UTF-8"),
    (b"PAR1" + bytes(100), "not valid TOML"),
    (b"name = '\xff'", "not UTF-8"),
    (b"name = '\xc0\xaf'", "not UTF-8"),
    (b"name = '\xed\xa0\x80'", "not UTF-8"),
    (b"name = \"\\ud800\"", "not valid TOML"),
    ("name = 'x'".encode("utf-16"), "not UTF-8"),
    ("name = 'x'".encode("utf-32-be"), "not valid TOML"),
    ("nаme = 'x'".encode(), "not valid TOML"),
    ("name\u00a0= 'x'".encode(), "not valid TOML"),
    ("name = “x”".encode(), "not valid TOML"),
    (b"{\"name\": \"x\"}", "not valid TOML"),
    (b"name: x\nseeds: [1]\n", "not valid TOML"),
    (b"<study/>", "not valid TOML"),
    (b"import os; os.system('id')", "not valid TOML"),
    (b"seeds = [" + b"1," * 300_000 + b"]\n[datasets.digits]\n", "given twice"),
    (b"x = " + DEEP.encode(), "not valid TOML"),
    (b"x = " + b"{a=" * 50_000 + b"1" + b"}" * 50_000, "not valid TOML"),
    (b"x = {" + b".".join([b"a"] * 100_000) + b" = 1}", "nested"),
    (b"x = [\n{" + b".".join([b"a"] * 100_000) + b" = 1}]", "nested"),
    (b".".join([b'"a b"'] * 100_000) + b" = 1", "nested"),
    (b".".join([rb'"a\"b"'] * 100_000) + b" = 1", "nested"),
    (b"[" + b" . ".join([b"'a'"] * 100_000) + b"]", "nested"),
    (b"[[" + b".".join([b"a"] * 100_000) + b"]]", "nested"),
    (b"\n".join(b".".join([b"a"] * 60 + [b"k%d" % n]) + b" = 1" for n in range(7000)), "nested"),
    (b"\n".join(b"k%d = 1" % n for n in range(80_000)), "unknown key 'k0'"),
    (b"\n".join(b"[grid.k%d]" % n for n in range(50_000)), "unknown key 'grid.k0'"),
    (b"[[grid]]\n" * 100_000, "must be a section"),
    (b'name = "' + b"a" * 900_000, "not valid TOML"),
    (b'name = """' + b'"a' * 400_000, "not valid TOML"),
    (b'name = "' + rb"\u0041" * 150_000 + b'"', "datasets: missing"),
    (b"x = " + b"1_" * 400_000, "not valid TOML"),
    (b"recipe.learning_rate = " + b"1" * 900_000 + b".5\n[datasets.digits]", "learning_rate"),
    (b"recipe.learning_rate = 1e" + b"9" * 900_000 + b"\n[datasets.digits]", "learning_rate"),
    (b"\r\n" * 450_000 + b"x", "not valid TOML"),
    (b"#\n" * 450_000, "datasets: missing"),
    (b"#" * (MAX_STUDY_BYTES + 1), "larger than 1,000,000 bytes"),
)  # fmt: skip
"""Files, and what is said of them."""


def refused(file: Path, content: bytes) -> str:
    """The message with which a file is refused, after the checks that hold for all."""
    file.write_bytes(content)
    around = sorted(path.name for path in file.parent.iterdir())
    began = time.process_time()
    with pytest.raises(StudyError) as caught:
        load_study(file)
    took = time.process_time() - began
    message = str(caught.value)
    assert took < 2, f"{content[:80]!r} took {took:.2f} s of a processor"
    assert len(message) < 2000, message[:300]
    assert all(line.isprintable() for line in message.splitlines()), repr(message[:300])
    assert sorted(path.name for path in file.parent.iterdir()) == around
    return message


def test_the_good_study_is_good(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(written({}))
    assert load_study(file).name == "good"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())  # as some editors on Windows write it
    assert load_study(file).name == "good"


def test_one_bad_value_is_refused_by_key_and_value(tmp_path: Path) -> None:
    assert len(ONE_BAD_VALUE) >= 400
    for key, value in ONE_BAD_VALUE:
        message = refused(tmp_path / "study.toml", written({key: value}).encode())
        assert key.rpartition(".")[2] in message, (key, value[:50], message)
        assert re.search(r" = |unknown key|missing|more than|bits; at most", message), message
    print(f"{len(ONE_BAD_VALUE)} files with one bad value refused")


def test_odd_names_are_refused_wherever_they_stand(tmp_path: Path) -> None:
    count = 0
    for name, (key, value) in itertools.product(ODD_NAMES, PLACES):
        content = written({key.format(name): value.format(name)}).encode()
        refused(tmp_path / "study.toml", content)
        count += 1
    assert count == len(ODD_NAMES) * len(PLACES)
    print(f"{count} files with an odd name refused")


def test_what_is_no_study_at_all_is_refused(tmp_path: Path) -> None:
    for content, part in BROKEN:
        message = refused(tmp_path / "study.toml", content)
        assert part in message, (content[:80], message)
    print(f"{len(BROKEN)} files that are no study refused")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (written({"recipe.epochs": '"3"'}).encode(), "recipe.epochs = '3'"),
        (written({"name": '"../x"'}).encode(), "name = '../x'"),
        (b"name = '\xff'", "not UTF-8"),
        (b"#" * (MAX_STUDY_BYTES + 1), "larger than"),
    ],
)
def test_the_command_says_it_in_one_message_and_makes_nothing(
    tmp_path: Path, content: bytes, part: str
) -> None:
    (tmp_path / "study.toml").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", "from sweep.cli import main; main()", "run", "study.toml", "--local"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sweep: ")
    assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]
