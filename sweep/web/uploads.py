"""Studies that were sent to the server: TOML text, data only.

A study file may name one kind of file, weights to begin with (`pretrained`). One that was sent, and
every setting that was sent with a study, may do so only within the folder that was named when the
server was started: reading a file, or even whether there is one, is nothing a stranger may ask for.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sweep.errors import StudyError
from sweep.layout import is_study_name
from sweep.local_files import LocalFiles
from sweep.study import MAX_STUDY_BYTES, Study, apply_overrides, validate
from sweep.study.files import files_named, parse_text, plain_data, read_file

MAX_UPLOAD_BYTES = min(256 * 1024, MAX_STUDY_BYTES)
MAX_UPLOADS = 500


class Uploads:
    """The studies that were sent, each a file named after it."""

    def __init__(self, folder: Path, may_read: Path | None) -> None:
        """Keeps them in a folder.

        Args:
            folder: made when the first arrives.
            may_read: the folder in which files that they name may lie; None for nowhere.
        """
        self._folder, self._may_read = folder, may_read
        self._files = LocalFiles()

    def names(self) -> list[str]:
        """Of all."""
        found = (entry.path for entry in self._files.entries(self._folder))
        return sorted(p.stem for p in found if p.suffix == ".toml" and is_study_name(p.stem))

    def path(self, name: str) -> Path:
        """Where one lies."""
        if not is_study_name(name):
            raise StudyError(f"{name!r} is not the name of a study")
        return (self._folder / f"{name}.toml").absolute()

    def stamp(self, name: str) -> object | None:
        """Another one once it was replaced; None where there is none."""
        try:
            status = self.path(name).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size

    def stamps(self) -> list[tuple[str, object]]:
        """Others once any was sent or replaced."""
        return [(name, self.stamp(name)) for name in self.names()]

    def text(self, name: str) -> str | None:
        """What was sent."""
        content = self._files.read(self.path(name))
        return None if content is None else content.decode("utf-8")

    def keep(self, study: Study, text: str) -> bool:
        """Keeps a study that was validated.

        Returns:
            Whether there was one of that name.

        Raises:
            StudyError: where there are too many.
        """
        there = self.stamp(study.name) is not None
        if not there and len(self.names()) >= MAX_UPLOADS:
            raise StudyError(f"{MAX_UPLOADS} studies were uploaded; that is as many as are kept")
        self._files.put(self.path(study.name), text.encode())
        return there

    def remove(self, name: str) -> bool:
        """Removes a study.

        Returns:
            Whether there was one of that name.

        Raises:
            StoreError: where it cannot be removed.
        """
        if self.stamp(name) is None:
            return False
        self._files.remove(self.path(name))
        self._files.settle(self._folder)
        return True

    def parse(self, text: str, settings: Iterable[str] = ()) -> Study:
        """Reads and validates the text of a study, as `sweep run` does a file.

        Raises:
            StudyError: naming the key, the value and what is allowed.
        """
        if len(text.encode()) > MAX_UPLOAD_BYTES:
            raise StudyError(f"the study is larger than {MAX_UPLOAD_BYTES:,} bytes")
        return self._validated(parse_text(text, "the study"), settings)

    def load(self, source: str | Mapping[str, Any], settings: Iterable[str] = ()) -> Study:
        """Validates a built-in or an uploaded study, or the content of one, with settings.

        Raises:
            StudyError: naming the key, the value and what is allowed.
        """
        if not isinstance(source, str):
            return self._validated(source, settings)
        text = self.text(source)
        raw = read_file(source) if text is None else parse_text(text, "the study")
        return self._validated(raw, settings)

    def _validated(self, raw: Mapping[str, Any], settings: Iterable[str]) -> Study:
        from sweep import extensions

        extensions.load()
        plain = plain_data(raw)
        apply_overrides(plain, list(settings))
        for key, named in files_named(plain):
            self._refuse(key, named)
        return validate(plain)

    def _refuse(self, key: str, named: str) -> None:
        folder = self._may_read
        if folder is not None:
            inside = Path(named).expanduser()
            if inside.is_absolute() and inside.resolve().is_relative_to(folder.resolve()):
                return
        raise StudyError(
            f"{key}: a file must not be named by what is sent to a server, unless it lies in the "
            "folder that --uploads-may-read names, and by its absolute path"
        )
