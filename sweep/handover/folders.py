"""Runs that are a folder each, with one file for the tool and a note on what was written.

The file is put in place whole, the note after it; a folder whose note does not fit its file is not
whole and is written again.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

NOTE = "handed-over.json"
TEMPORARY = ".sweep-export-"


class RunFolders:
    """The folders of the runs of one study."""

    def __init__(self, root: Path, form: str) -> None:
        """Looks at what is there.

        Args:
            root: holds the folders, at any depth.
            form: of what is written: a tool, then a version. Folders of another version are written
                again; those of another tool, which may lie below, are left alone.
        """
        self._root, self._form = root, form
        self._known = dict(self._found())

    def digest_of(self, trial_id: str) -> str | None:
        """See `Target.digest_of`; of another form, a word that is no digest."""
        return self._known.get(trial_id, (None, None))[1]

    def put(self, trial_id: str, digest: str, folder: Path, name: str, content: bytes) -> None:
        """Writes the folder of a run, and removes the file and folder it had, if they have other names."""
        before = self._known.get(trial_id)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, content)
        if before is not None and before[0].parent == folder and before[0].name != name:
            before[0].unlink(missing_ok=True)
        note = {
            "trial_id": trial_id, "digest": digest, "form": self._form, "file": name,
            "bytes": len(content),
        }  # fmt: skip
        write_whole(folder / NOTE, json.dumps(note).encode())
        if before is not None and before[0].parent != folder:
            shutil.rmtree(before[0].parent)
        self._known[trial_id] = folder / name, digest

    def _found(self) -> Iterator[tuple[str, tuple[Path, str]]]:
        for above, _, files in os.walk(self._root):
            folder = Path(above)
            for name in files:
                if name.startswith(TEMPORARY):
                    (folder / name).unlink()
            if NOTE not in files or folder == self._root:
                continue
            with suppress(ValueError, KeyError, TypeError, OSError):
                note = json.loads((folder / NOTE).read_bytes())
                trial_id, digest = str(note["trial_id"]), str(note["digest"])
                file = folder / Path(str(note["file"])).name
                whole = file.stat().st_size == note["bytes"]
                form = str(note["form"])
                if _tool(form) != _tool(self._form):
                    continue
                if not whole or form != self._form:
                    digest = "to be written again"
                yield trial_id, (file, digest)


def _tool(form: str) -> str:
    return form.partition(" ")[0]


def write_whole(path: Path, content: bytes) -> None:
    """Puts a file in place whole. Not synced: after a crash its size tells, and it is made again."""
    aside = path.with_name(f"{TEMPORARY}{os.getpid()}")  # a name that no tool takes for its own
    aside.write_bytes(content)
    aside.replace(path)
