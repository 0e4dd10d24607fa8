"""A server of the page as a process of its own, Chromium to look at it with, and tiny studies."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

ROOT = Path(__file__).resolve().parents[3]
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
PATIENCE_S = 60
"""For anything that is waited for; a quiet machine needs a few of them."""

STUDY = """
name = "{name}"
title = "{title}"
question = "Is the page right?"
seeds = [1, 2]
[grid]
teacher = {teachers}
alpha = [0.1, 0.9]
switch_epoch = [1, 2]
[recipe]
epochs = 2
batch_size = 32
[split]
train_size = 128
validation = 0.1
[evaluation]
fgsm_epsilons = [0.05]
[datasets.digits]
student = "medium"
"""

EXTENSION = """
from pathlib import Path
from tests.sweep import faulty

def register():
    faulty.register(Path(__file__).parent)
"""


def study_text(
    name: str, title: str = "A tiny study", teachers: tuple[str, ...] = ("small",)
) -> str:
    """A study of two alphas, two switch epochs and two seeds on 128 digits."""
    said = ", ".join(f'"{teacher}"' for teacher in teachers)
    return STUDY.format(name=name, title=title, teachers=f"[{said}]")


def with_faulty_networks(folder: Path) -> None:
    """An installed extension whose networks fail once: see `tests.sweep.faulty`."""
    folder.mkdir()
    (folder / "faulty_extension.py").write_text(EXTENSION)
    info = folder / "faulty_extension-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-extension\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sweep.extensions]\nfaulty = faulty_extension:register")


def chromium() -> str:
    """Where a Chromium of this machine is; skips the test where there is none."""
    pytest.importorskip("playwright", reason="needs playwright")
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (found := shutil.which(name)) is not None:
            return found
    pytest.skip("no chromium or google-chrome is installed")


@contextmanager
def browser() -> Iterator["Browser"]:
    """Chromium, without a window."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield found
        found.close()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`sweep serve` as a process; its output goes to a file beside the results."""

    def __init__(self, results: Path, *options: str, extensions: Path | None = None) -> None:
        self.results, self.options, self.extensions = results, options, extensions
        self.port = free_port()
        self.token: str | None = None
        self.log = results.with_name(f"{results.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "Server":
        """Starts it, on the port it had before, and waits until it answers."""
        path = [str(ROOT), *([str(self.extensions)] if self.extensions else [])]
        command = [sys.executable, "-c", "from sweep.cli import main; main()", "serve"]
        command += ["--results", str(self.results), "--port", str(self.port), *self.options]
        token = {} if self.token is None else {"SWEEP_TOKEN": self.token}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.results.parent,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path), **token},
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"no server: exit status {ended}\n{self.log.read_text()}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """Ends it."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


class Watched:
    """A page whose complaints are kept: errors, and what the content policy forbade."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.complaints: list[str] = []
        self.expected: tuple[str, ...] = ()
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _said(self, message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location['url']})")

    def unexpected(self) -> list[str]:
        """Complaints that hold none of the expected texts."""
        return [text for text in self.complaints if not any(one in text for one in self.expected)]
