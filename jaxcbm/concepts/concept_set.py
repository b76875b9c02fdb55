"""An ordered list of concept phrases that knows where it came from."""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from absl import logging

from jaxcbm.atomic import atomic_file
from jaxcbm.errors import UserError

BUILT_IN = ("birds", "cifar10", "fashion_mnist")


@dataclass(frozen=True)
class ConceptSet:
    """The concepts of a bottleneck; concept d is `phrases[d]`.

    Make one with `from_file` or `from_phrases`, which tidy what they are given. Two sets are equal
    when their phrases are.

    Args:
      phrases: D short texts, none blank, no two alike but for case and spaces.
      provenance: where they come from; `provenance["dropped"]` counts what was left out.

    >>> ConceptSet.from_phrases(["red crown", "hooked bill", "Red  Crown"]).phrases
    ('red crown', 'hooked bill')
    """

    phrases: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.phrases)

    @property
    def content_hash(self) -> str:
        """SHA-256 of the phrases in their order, as hex; the provenance has no part in it.

        >>> ConceptSet.from_phrases(["red crown"]).content_hash[:8]
        '54d52097'
        """
        text = json.dumps(self.phrases, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    @classmethod
    def from_phrases(
        cls, phrases: Iterable[str], provenance: Mapping[str, Any] | None = None
    ) -> "ConceptSet":
        """Tidy phrases that are already in memory.

        Args:
          phrases: texts; blank ones and repeats (but for case and spaces) are dropped.
          provenance: what to remember of their origin; must be fit for JSON.

        Returns:
          A `ConceptSet`, in the order given.

        Raises:
          UserError: no phrase is left, or one is no text or holds control characters.
        """
        numbered = [(f"phrase {n}", phrase) for n, phrase in enumerate(phrases, start=1)]
        return _tidy(numbered, dict(provenance or {}), where="the given phrases")

    @classmethod
    def from_file(cls, source: str | Path) -> "ConceptSet":
        """Read a built-in set, a text file or a JSON file.

        A text file holds one phrase a line; lines that start with # are comments. A JSON file holds
        a list of phrases, or what `save` wrote.

        Args:
          source: "birds", "cifar10", "fashion_mnist", or a path that ends in .txt or .json.

        Returns:
          A `ConceptSet`; blank lines and repeats are dropped, counted and told in one warning.

        Raises:
          UserError: no such file, not UTF-8, not JSON, or no usable phrases in it.

        >>> len(ConceptSet.from_file("birds"))
        57
        """
        path = Path(source)
        name = path.stem if path.suffix == ".txt" else str(source)
        # A file of that name in front of the user goes before ours; a bare name is always ours.
        if name in BUILT_IN and (path.suffix == "" or not path.exists()):
            file = resources.files("jaxcbm.concepts").joinpath("sets", f"{name}.txt")
            return _from_text(file.read_text("utf-8"), {"source": f"built-in {name}"}, name)
        text = _read(path)
        if path.suffix == ".json":
            return _from_json(text, str(path))
        return _from_text(text, {"source": str(path)}, str(path))

    def save(self, path: str | Path) -> None:
        """Write the set, whole or not at all.

        Args:
          path: ends in .json (with the provenance) or in .txt (the phrases alone).

        Raises:
          UserError: another ending, a full disk, or a phrase that a text file cannot hold.
        """
        path = Path(path)
        if path.suffix == ".json":
            value = {"phrases": list(self.phrases), "provenance": dict(self.provenance)}
            text = json.dumps(value, indent=2, ensure_ascii=False)
        elif path.suffix == ".txt":
            comments = [phrase for phrase in self.phrases if phrase.startswith("#")]
            if comments:
                raise UserError(f"{comments[0]!r} would be a comment in {path}: save as .json")
            text = "\n".join(self.phrases)
        else:
            raise UserError(f"cannot save concepts as {path}: the name must end in .txt or .json")
        with atomic_file(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8", newline="\n")


def _read(path: Path) -> str:
    if path.suffix not in (".txt", ".json"):
        raise UserError(
            f"no concept set {str(path)!r}: give a .txt or .json file, or one of "
            + ", ".join(BUILT_IN)
        )
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(
            f"no such concept file: {path} (one phrase a line, or one of the built-in sets "
            f"{', '.join(BUILT_IN)})"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 at byte {error.start}: save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _from_text(text: str, provenance: dict[str, Any], where: str) -> ConceptSet:
    # Not splitlines: it also splits at characters that no editor shows as a new line.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    numbered = [(f"line {n}", line) for n, line in enumerate(lines, start=1)]
    kept = [(place, line) for place, line in numbered if not line.lstrip().startswith("#")]
    return _tidy(kept, provenance, where)


def _from_json(text: str, where: str) -> ConceptSet:
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{where} is not JSON: {error}") from error
    provenance = {"source": where}
    if isinstance(value, dict):
        saved = value.get("provenance")
        provenance = dict(saved) if isinstance(saved, dict) and saved else provenance
        value = value.get("phrases")
    if not isinstance(value, list):
        raise UserError(f'{where} must hold a list of phrases, or an object with "phrases"')
    numbered = [(f"phrase {n}", phrase) for n, phrase in enumerate(value, start=1)]
    return _tidy(numbered, provenance, where)


def _tidy(phrases: list[tuple[str, Any]], provenance: dict[str, Any], where: str) -> ConceptSet:
    kept: dict[str, str] = {}
    blank = duplicates = 0
    for place, phrase in phrases:
        phrase = _one_line(phrase, f"{place} of {where}")
        key = phrase.casefold()
        if not phrase:
            blank += 1
        elif key in kept:
            duplicates += 1
        else:
            kept[key] = phrase
    if not kept:
        raise UserError(f"no concept phrases in {where}: give one short text a line")
    if blank or duplicates:
        logging.warning("%s: dropped %d duplicate and %d blank phrases", where, duplicates, blank)
        provenance["dropped"] = {"duplicates": duplicates, "blank": blank}
    return ConceptSet(tuple(kept.values()), provenance)


def _one_line(phrase: Any, place: str) -> str:
    """The phrase with single spaces; a mark that no reader would see is a fault of the file."""
    if not isinstance(phrase, str):
        raise UserError(f"{place} is no text: {phrase!r:.60}")
    kinds = {unicodedata.category(character) for character in phrase.replace("\t", " ")}
    if kinds & {"Cc", "Cs"}:
        raise UserError(f"{place} holds a control character: {phrase!r:.60} (remove it)")
    return " ".join(phrase.split())
