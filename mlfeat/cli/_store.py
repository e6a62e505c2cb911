"""Results of pieces of work in a folder, so that a comparison goes on where it stopped."""

import hashlib
import json
from pathlib import Path

from mlfeat.cli._report import plain, write_json

FOLDER = "pieces"


class Store:
    """A JSON file of each piece, with the hash of what decided it and those of the files that it wrote.

    Pieces that failed are not kept: they are tried again.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self._hashes = {}  # of files, by task

    def clear(self):
        """Forget all pieces."""
        for path in (self.folder / FOLDER).glob("*.json"):
            path.unlink()

    def keep(self, task, result):
        """Write the result of a task; returns it as it will be read."""
        result = plain(result)
        if result.get("status") == "failed":
            return result
        self._hashes[task.name] = self._hashes_of(task.files)
        path = self._path(task)
        path.parent.mkdir(exist_ok=True)
        write_json(path, {"key": self._key(task), "files": self._hashes[task.name], "result": result})
        return result

    def find(self, task):
        """The result of a task, if it and its files are as that would leave them; else None."""
        try:
            piece = json.loads(self._path(task).read_text(encoding="utf-8"))
            known = piece["key"] == self._key(task) and piece["files"] == self._hashes_of(task.files)
        except (OSError, ValueError, KeyError, TypeError):  # none, or damaged
            return None
        if not known:
            return None
        self._hashes[task.name] = piece["files"]
        return piece["result"]

    def _path(self, task):
        return self.folder / FOLDER / f"{task.name}.json"

    def _key(self, task):
        return task.key(self._hashes.get(task.needs))

    def _hashes_of(self, names):
        return {name: hashlib.sha256((self.folder / name).read_bytes()).hexdigest() for name in names}
