"""An ordered list of concept phrases that knows where it came from."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from jaxcbm.atomic import write_text
from jaxcbm.concepts.diff import ConceptDiff, diff
from jaxcbm.concepts.file import built_in_name, numbered_lines, read_built_in, read_concept_file
from jaxcbm.concepts.filters.log import Dropped, FilterLog, FilterRun
from jaxcbm.concepts.find import not_among
from jaxcbm.concepts.provenance import Candidate, Origins, origins_from_json, origins_to_json
from jaxcbm.concepts.tidy import MAX_CHARACTERS, tidy_candidates, tidy_lines
from jaxcbm.data.labels import some_of
from jaxcbm.errors import UserError
from jaxcbm.json_text import parse_json
from jaxcbm.typed_json import from_json, to_json

_ORIGIN = {"author": "written for jaxcbm", "licence": "Apache-2.0"}


@dataclass(frozen=True)
class ConceptSet:
    """The concepts of a bottleneck; concept d is `phrases[d]`.

    Make one with `from_file`, `from_phrases` or `from_candidates`, which tidy what they are given.
    Two sets are equal when their phrases are.

    Attributes:
        phrases: D short texts, none blank, no two alike but for case and spaces.
        provenance: where the set comes from; `provenance["dropped"]` counts what was left out.
        origins: where each phrase comes from; phrases of unknown origin are absent.
        filters: the filters that ran, oldest first, with what each dropped and why.

    >>> ConceptSet.from_phrases(["red crown", "hooked bill", "Red  Crown"]).phrases
    ('red crown', 'hooked bill')
    """

    phrases: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)
    origins: Origins = field(default_factory=dict, compare=False)
    filters: tuple[FilterRun, ...] = field(default=(), compare=False)

    def __len__(self) -> int:
        return len(self.phrases)

    def __iter__(self) -> Iterator[str]:
        return iter(self.phrases)

    def __repr__(self) -> str:
        lines = [f"ConceptSet {self.content_hash[:8]} of {some_of(self.phrases, 'phrases')}"]
        if source := self.provenance.get("source"):
            lines.append(f"source: {source}")
        lines += [f"filter {run.name}: dropped {len(run.dropped):,}" for run in self.filters]
        return "\n  ".join(lines)

    @property
    def content_hash(self) -> str:
        """SHA-256 of the phrases in their order, as hex; the provenance has no part in it.

        >>> ConceptSet.from_phrases(["red crown"]).content_hash[:8]
        '54d52097'
        """
        text = json.dumps(self.phrases, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def columns(self, phrases: Iterable[str]) -> np.ndarray:
        """Where phrases are in the set, int64, in the order given.

        Raises:
            UserError: a phrase that is not in it; names the closest.

        >>> ConceptSet.from_phrases(["red crown", "hooked bill"]).columns(["hooked bill"]).tolist()
        [1]
        """
        place = {phrase: d for d, phrase in enumerate(self.phrases)}
        asked = list(phrases)
        if unknown := [phrase for phrase in asked if phrase not in place]:
            raise not_among(unknown[0], self.phrases)
        return np.array([place[phrase] for phrase in asked], np.int64)

    @classmethod
    def of(cls, concepts: "ConceptSet | str | Path | Iterable[str]") -> "ConceptSet":
        """A concept set from whatever names one.

        Args:
          concepts: a set, which comes back as it is; a built-in set's name or a file, as for
            `from_file`; or phrases, as for `from_phrases`.

        Raises:
          UserError: no such set or file, or no usable phrases.

        >>> ConceptSet.of(["red crown", "hooked bill"]).phrases, len(ConceptSet.of("birds"))
        (('red crown', 'hooked bill'), 57)
        """
        if isinstance(concepts, ConceptSet):
            return concepts
        if isinstance(concepts, str | Path):
            return cls.from_file(concepts)
        if not isinstance(concepts, Iterable):
            raise UserError(
                f"concepts={concepts!r:.60}: give phrases, a built-in set's name, or a file"
            )
        return cls.from_phrases(concepts)

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
    def from_candidates(
        cls, candidates: Iterable[Candidate], provenance: Mapping[str, Any] | None = None
    ) -> "ConceptSet":
        """Tidy what sources gave; unlike a file, a source may be wrong here and there.

        Args:
            candidates: phrases with their origins; blank phrases, ones with control characters and
                ones above 200 characters are dropped, and logged as the filter "tidy". A phrase
                given twice keeps its first spelling and all its origins.
            provenance: what to remember of the set as a whole; must be fit for JSON.

        Returns:
            A `ConceptSet`, in the order given.

        Raises:
            UserError: no phrase is left.

        >>> from jaxcbm.concepts.provenance import Origin
        >>> given = [Candidate("Long tail", Origin("a")), Candidate("long  tail", Origin("b"))]
        >>> concepts = ConceptSet.from_candidates(given)
        >>> concepts.phrases, [origin.source for origin in concepts.origins["Long tail"]]
        (('Long tail',), ['a', 'b'])
        """
        phrases, dropped, origins = tidy_candidates(candidates)
        run = FilterRun("tidy", {"max_characters": MAX_CHARACTERS}, len(phrases), dropped)
        return cls(phrases, dict(provenance or {}), origins, (run,) if dropped else ())

    @classmethod
    def from_file(cls, source: str | Path) -> "ConceptSet":
        """Read a built-in set, a text file or a JSON file.

        A text file holds one phrase a line; lines that start with # are comments. A JSON file holds
        a list of phrases, or what `save` wrote.

        Args:
            source: one of `concept_file.BUILT_IN` ("birds", "cifar100", "cub", ...), or a path that
                ends in .txt or .json.

        Returns:
            A `ConceptSet`; blank lines and repeats are dropped, counted and told in one warning.

        Raises:
            UserError: no such file, not UTF-8, not JSON, or no usable phrases in it.

        >>> len(ConceptSet.from_file("birds"))
        57
        """
        if name := built_in_name(source):
            provenance = {"source": f"built-in {name}", **_ORIGIN}
            return _tidy(numbered_lines(read_built_in(name)), provenance, name)
        text = read_concept_file(Path(source))
        if not str(source).endswith(".json"):
            return _tidy(numbered_lines(text), {"source": str(source)}, str(source))
        try:
            return cls.from_json(parse_json(text), str(source))
        except ValueError as error:
            raise UserError(f"{source} is not JSON: {error}") from error

    @classmethod
    def from_json(cls, value: Any, where: str) -> "ConceptSet":
        """The set that a JSON value describes.

        Args:
            value: a list of phrases, or what `to_json` gave.
            where: what errors and the provenance call its source.

        Raises:
            UserError: no usable phrases in it.

        >>> ConceptSet.from_json(["red crown"], "by hand").provenance
        {'source': 'by hand'}
        """
        provenance = {"source": where}
        origins: Origins = {}
        runs: tuple[FilterRun, ...] = ()
        if isinstance(value, dict):
            saved = value.get("provenance")
            provenance = dict(saved) if isinstance(saved, dict) and saved else provenance
            origins = origins_from_json(value, where)
            runs = from_json(FilterLog, {"filters": value.get("filters", [])}, where).filters
            value = value.get("phrases")
        if not isinstance(value, list):
            raise UserError(f'{where} must hold a list of phrases, or an object with "phrases"')
        numbered = [(f"phrase {n}", phrase) for n, phrase in enumerate(value, start=1)]
        concepts = _tidy(numbered, provenance, where)
        known = {phrase: origins[phrase] for phrase in concepts.phrases if phrase in origins}
        return replace(concepts, origins=known, filters=runs)

    def to_json(self) -> dict[str, Any]:
        """Phrases, provenance, origins and filters as one JSON object.

        >>> ConceptSet.from_phrases(["tail"], {"by": "hand"}).to_json()
        {'phrases': ['tail'], 'provenance': {'by': 'hand'}}
        """
        value: dict[str, Any] = {
            "phrases": list(self.phrases),
            "provenance": dict(self.provenance),
        }
        if self.filters:
            value["filters"] = to_json(self.filters)
        if self.origins:
            value |= origins_to_json(self.origins)
        return value

    def without(
        self, dropped: Mapping[str, str], name: str, settings: Mapping[str, Any]
    ) -> "ConceptSet":
        """The set after a filter, which is logged even if it dropped nothing.

        Args:
            dropped: the reason of each phrase to leave out, by phrase, as spelt here.
            name: of the filter.
            settings: its thresholds, fit for JSON.

        Returns:
            A `ConceptSet` of the other phrases, in their order, with one more entry in `filters`.

        Raises:
            UserError: nothing would be left.
            ValueError: a dropped phrase is not in the set.

        >>> concepts = ConceptSet.from_phrases(["tail", "thing"])
        >>> concepts.without({"thing": "says nothing"}, "by hand", {}).phrases
        ('tail',)
        """
        unknown = dropped.keys() - set(self.phrases)
        if unknown:
            raise ValueError(f"{name} drops a phrase that is not in the set: {min(unknown)!r:.60}")
        kept = tuple(phrase for phrase in self.phrases if phrase not in dropped)
        if not kept:
            phrase = self.phrases[0]
            raise UserError(
                f"the filter {name} would drop all {len(self)} phrases, {phrase!r:.60} because "
                f"{dropped[phrase]}: loosen {dict(settings)}"
            )
        drops = tuple(
            Dropped(phrase, dropped[phrase]) for phrase in self.phrases if phrase in dropped
        )
        origins = {phrase: self.origins[phrase] for phrase in kept if phrase in self.origins}
        run = FilterRun(name, dict(settings), len(kept), drops)
        return ConceptSet(kept, self.provenance, origins, (*self.filters, run))

    def diff(self, after: "ConceptSet") -> ConceptDiff:
        """What is added, removed and kept from this set to another, and why things went.

        >>> before, after = ConceptSet.from_phrases(["tail"]), ConceptSet.from_phrases(["fur"])
        >>> before.diff(after).added
        ('fur',)
        """
        return diff(self.phrases, after.phrases, after.filters)

    def save(self, path: str | Path) -> None:
        """Write the set, whole or not at all.

        Args:
            path: ends in .json (with provenance, origins and filters) or in .txt (the phrases
                alone).

        Raises:
            UserError: another ending, a full disk, or a phrase that a text file cannot hold.
        """
        path = Path(path)
        if path.suffix == ".json":
            text = json.dumps(self.to_json(), indent=2, ensure_ascii=False)
        elif path.suffix == ".txt":
            comments = [phrase for phrase in self.phrases if phrase.startswith("#")]
            if comments:
                raise UserError(f"{comments[0]!r} would be a comment in {path}: save as .json")
            text = "\n".join(self.phrases)
        else:
            raise UserError(f"cannot save concepts as {path}: the name must end in .txt or .json")
        write_text(path, text + "\n")


def _tidy(phrases: list[tuple[str, Any]], provenance: dict[str, Any], where: str) -> ConceptSet:
    kept, blank, duplicates = tidy_lines(phrases, where)
    if blank or duplicates:
        logging.warning("%s: dropped %d duplicate and %d blank phrases", where, duplicates, blank)
        provenance["dropped"] = {"duplicates": duplicates, "blank": blank}
    return ConceptSet(kept, provenance)
