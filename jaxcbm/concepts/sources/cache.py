"""Answers kept on the disk, one file each, so that a stopped run asks nothing twice."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxcbm.errors import UserError
from jaxcbm.sealed_json import read_sealed, write_sealed


class AnswerCache:
    """A folder of answers, each under the request that it answers.

    An answer is written aside and renamed: a run that is killed leaves whole answers only, and one
    that cannot be read counts as none. Several threads and processes may share a folder.

    Args:
        folder: made when the first answer is kept.

    >>> import tempfile
    >>> cache = AnswerCache(tempfile.mkdtemp())
    >>> cache.keep({"term": "dog"}, ["tail"])
    >>> cache.find({"term": "dog"}), cache.find({"term": "cat"})
    (['tail'], None)
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def find(self, request: Mapping[str, Any]) -> Any:
        """The answer to a request, or None.

        Args:
            request: what was asked, fit for JSON. It is stored: put no secret in it.

        Raises:
            UserError: the folder cannot be read.
        """
        path = self._path(request)
        try:
            entry = read_sealed(path)
        except (FileNotFoundError, ValueError):
            return None
        except OSError as error:
            raise UserError(f"cannot read the cache {path}: {error.strerror}") from error
        return entry.get("answer") if entry.get("request") == dict(request) else None

    def keep(self, request: Mapping[str, Any], answer: Any) -> None:
        """Write an answer, whole or not at all.

        Args:
            request: what was asked, fit for JSON.
            answer: what came, fit for JSON, not None.

        Raises:
            UserError: the disk is full or the folder is not writable.
        """
        write_sealed(self._path(request), {"request": dict(request), "answer": answer})

    def _path(self, request: Mapping[str, Any]) -> Path:
        canonical = json.dumps(dict(request), sort_keys=True, separators=(",", ":"))
        name = hashlib.sha256(canonical.encode("ascii")).hexdigest()
        return self.folder / name[:2] / f"{name}.json"
