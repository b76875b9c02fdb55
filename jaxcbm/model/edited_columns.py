"""Concepts deleted, merged and added: which columns the edited bottleneck has, and its layer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.filters.log import Dropped, FilterRun
from jaxcbm.concepts.find import find
from jaxcbm.errors import UserError
from jaxcbm.model.model import Model


class Columns(NamedTuple):
    """What the D' concepts after an edit are made of.

    Attributes:
        phrases: D' texts.
        sources: the columns before the edit whose logits are averaged, for each; () for a new one.
    """

    phrases: tuple[str, ...]
    sources: tuple[tuple[int, ...], ...]

    def summed(self, values: np.ndarray) -> np.ndarray:
        """Weights [..., D] of the old concepts as weights [..., D'] that say as much."""
        zeros = np.zeros(values.shape[:-1], values.dtype)
        parts = [values[..., list(s)].sum(axis=-1) if s else zeros for s in self.sources]
        return np.stack(parts, axis=-1)

    def averaged(self, values: np.ndarray) -> np.ndarray:
        """Columns [..., D] of the old layer as those [..., D'] of the new one; 0 for new ones."""
        shares = np.array([1.0 / max(len(source), 1) for source in self.sources], values.dtype)
        return self.summed(values) * shares


class NewColumn(NamedTuple):
    """A concept logit as a function of an image embedding: `embedding @ slope + offset`.

    Attributes:
        embedding: of the phrase, float32 [E], unit norm.
        slope: float32 [E].
        offset: a number.
        origin: how it was found, in words.
    """

    embedding: np.ndarray
    slope: np.ndarray
    offset: float
    origin: str


def plan_columns(
    phrases: Sequence[str],
    delete: Iterable[str],
    merge: Mapping[str, Iterable[str]],
    add: Iterable[str],
) -> Columns:
    """Settle the columns after an edit; a merged concept stands where its first member stood.

    Args:
        phrases: D, before it.
        delete: phrases.
        merge: new phrase, which may be that of a member -> two members or more.
        add: new phrases, which come last.

    Raises:
        UserError: a phrase that is not there, is there already, or is named twice; nothing left.

    >>> plan_columns(("a", "b", "c"), ["a"], {"bc": ["b", "c"]}, ["d"])
    Columns(phrases=('bc', 'd'), sources=((1, 2), ()))
    """
    place, taken = {phrase: d for d, phrase in enumerate(phrases)}, set[str]()
    gone, at = {find(phrase, phrases) for phrase in delete}, dict[int, tuple[str, tuple]]()
    for phrase, given in merge.items():
        members = tuple(find(member, phrases) for member in given)
        if len(set(members)) < 2:
            raise UserError(f"a merge into {phrase!r} takes two phrases or more: name them")
        if twice := taken.union(gone).intersection(members):
            raise UserError(f"{min(twice)!r} is named twice: delete it or merge it, once")
        taken.update(members)
        at[place[members[0]]] = tidy(phrase), tuple(place[member] for member in members)
    kept = [
        at.get(d, (phrase, (d,)))
        for d, phrase in enumerate(phrases)
        if phrase not in gone and (phrase not in taken or d in at)
    ]
    kept += [(tidy(phrase), ()) for phrase in add]
    names = [phrase.casefold() for phrase, _ in kept]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"{min(twice)!r} is in the concept set already: add another phrase")
    if not kept:
        raise UserError(f"no concept is left without {min(gone)!r}: keep one at least")
    return Columns(*zip(*kept, strict=True))


def tidy(phrase: str) -> str:
    """A phrase as a concept set would have it."""
    return ConceptSet.from_phrases([phrase]).phrases[0]


def with_columns(model: Model, columns: Columns, new: Mapping[str, NewColumn]) -> Model:
    """The model with other concepts; its head has the old weights, those of new concepts are 0.

    Args:
        model: before the edit. A residual layer becomes a full one: what was deleted no longer is
            a concept, but its score may still enter other concepts as the layer learnt it.
        columns: from `plan_columns`.
        new: for each concept without sources.
    """
    layer, params = _layer(model), dict(model.params)
    kernel, bias = columns.averaged(layer), params.get("cbl.bias")
    bias = None if bias is None else columns.averaged(np.asarray(bias))
    input_map = model.input_map
    for d, phrase in enumerate(columns.phrases):
        if phrase not in new:
            continue
        column = new[phrase]
        if model.config.layer == "factored":
            widths = 1.0 if input_map.kernel is None else np.diag(np.asarray(input_map.kernel))
            kernel[:, d] = column.slope / widths
            offset = column.offset - float(np.asarray(input_map.bias) @ kernel[:, d])
            if bias is not None:
                bias[d] = offset
        else:
            scores = np.asarray(input_map.kernel)
            input_map = input_map._replace(
                kernel=np.concatenate([scores, column.slope[:, None]], axis=1),
                bias=np.append(np.asarray(input_map.bias), np.float32(column.offset)),
            )
            kernel = np.pad(kernel, ((0, 1), (0, 0)))
            kernel[-1, d] = 1.0
    params |= {"cbl.kernel": kernel.astype(np.float32)}
    params |= {} if bias is None else {"cbl.bias": bias.astype(np.float32)}
    params |= {"head.kernel": np.ascontiguousarray(columns.summed(model.head).T)}
    full = {"parameterisation": "full"} if model.config.layer == "residual" else {}
    return replace(
        model,
        config=replace(model.config, **full),
        params=params,
        input_map=input_map,
        concepts=_concepts(model.concepts, columns),
        concept_embeddings=_embeddings(model, columns, new),
        calibration=None,
        familiarity=None,
        sparse_path=None,
    )


def _layer(model: Model) -> np.ndarray:
    """The layer's kernel [I, D]: of W, not of W - I."""
    kernel = np.asarray(model.params["cbl.kernel"])
    if model.config.layer != "residual":
        return kernel
    return kernel + np.eye(len(kernel), dtype=kernel.dtype)


def _embeddings(model: Model, columns: Columns, new: Mapping[str, NewColumn]) -> np.ndarray:
    """Of the texts [D', E]; only a phrase that nobody has embedded yet takes the encoder."""
    known = dict(zip(model.concepts.phrases, model.concept_embeddings, strict=True))
    known |= {phrase: column.embedding for phrase, column in new.items()}
    if unknown := [phrase for phrase in columns.phrases if phrase not in known]:
        known |= dict(zip(unknown, model.loaded_encoder.embed_texts(unknown), strict=True))
    return np.stack([known[phrase] for phrase in columns.phrases]).astype(np.float32)


def _concepts(before: ConceptSet, columns: Columns) -> ConceptSet:
    """The edited set; what went is logged like what a filter drops."""
    if columns.phrases == before.phrases:
        return before
    kept = set(columns.phrases)
    into = {
        before.phrases[d]: f"merged into {phrase}"
        for phrase, source in zip(columns.phrases, columns.sources, strict=True)
        for d in source
    }
    dropped = tuple(
        Dropped(phrase, into.get(phrase, "deleted"))
        for phrase in before.phrases
        if phrase not in kept
    )
    added: Any = [phrase for phrase in columns.phrases if phrase not in set(before.phrases)]
    run = FilterRun("edit", {"added": added}, len(columns.phrases), dropped)
    origins = {phrase: before.origins[phrase] for phrase in kept if phrase in before.origins}
    return ConceptSet(columns.phrases, before.provenance, origins, (*before.filters, run))
