"""Phrases to token ids by the checkpoint's own tokenizer, and training a new one from captions."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from jaxcbm.atomic import atomic_folder
from jaxcbm.encoders.import_transformers import import_transformers
from jaxcbm.encoders.json_file import field, read_json
from jaxcbm.errors import UserError
from jaxcbm.lines import first_line
from jaxcbm.typed_json import Range

# The files that decide what a tokenizer does, of any family.
TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)

_RARE = "a1\U0001f426\u9ce5"
# A text needs room for both its ends and a token between them; where no limit is known, files say
# 1e30.
_Limit = Annotated[float, Range(3)] | None
# The switches are those of SigLIP's second version.
_KINDS: dict[str, Any] = {
    "tokenizer_class": str | None,
    "model_max_length": _Limit,
    **dict.fromkeys(("do_lower_case", "add_bos_token", "add_eos_token"), bool | None),
}


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """Turns phrases into rows of token ids that all have the same length.

    Attributes:
        backend: the transformers tokenizer, or what is called as one.
        context_length: T, the smaller of the tokenizer's limit and the model's positions.
        end_of_text_id: the last token of every phrase.
        digest: sha256 of the tokenizer's files, hex.
        pad_id: what fills a row up; None for the end of text, since behind it a causal tower sees
            nothing.
        full_rows: whether what fills a row shows in the embedding, so that every row must have the
            context length.
        clean: what is done to a phrase before the backend sees it.
    """

    backend: Any
    context_length: int
    end_of_text_id: int
    digest: str
    pad_id: int | None = None
    full_rows: bool = False
    clean: Callable[[str], str] | None = None

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        *,
        positions: int,
        vocab_size: int,
        files: tuple[str, ...] = ("vocab.json", "merges.txt"),
        kind: str = "CLIPTokenizer",
    ) -> "Tokenizer":
        """Load a checkpoint's tokenizer.

        Args:
            folder: holds `tokenizer.json`, or the vocabulary's `files`.
            positions: the most tokens the model can take.
            vocab_size: rows of the model's token table.
            files: names of the files with the vocabulary.
            kind: class of transformers where no file names one.

        Raises:
            UserError: files are missing, or the vocabulary is not the model's.
        """
        require_files(folder, ("tokenizer.json",), files)
        backend, empty = _read_backend(folder, kind)
        check_vocabulary(folder, len(backend), vocab_size)
        if (highest := max([*backend.get_vocab().values(), *empty])) >= vocab_size:
            raise UserError(
                f"{folder}: the tokenizer has a token of id {highest} but config.json says "
                f"vocab_size {vocab_size}; use the tokenizer files these weights came with"
            )
        if not empty:
            raise UserError(
                f"{folder}: the tokenizer puts no end of text behind a phrase, so the text tower "
                "cannot pool there; use the tokenizer files these weights came with"
            )
        return cls(
            backend=backend,
            context_length=min(positions, int(backend.model_max_length)),
            end_of_text_id=empty[-1],
            digest=files_digest(folder),
        )

    def ids(self, phrases: Sequence[str]) -> list[list[int]]:
        """Token ids of each phrase, cut to the context length with the end of text kept."""
        if not phrases:
            return []
        texts = [p if self.clean is None else self.clean(p) for p in phrases]
        return self.backend(texts, truncation=True, max_length=self.context_length)["input_ids"]

    def pad(self, ids: Sequence[Sequence[int]], length: int) -> np.ndarray:
        """Rows of ids filled up -> int32 [N, length]."""
        fill = self.end_of_text_id if self.pad_id is None else self.pad_id
        rows_NxT = np.full((len(ids), length), fill, np.int32)
        for row_T, phrase in zip(rows_NxT, ids, strict=True):
            row_T[: len(phrase)] = phrase
        return rows_NxT

    def __call__(self, phrases: Sequence[str]) -> np.ndarray:
        """Phrases -> int32 [N, T], T the context length."""
        return self.pad(self.ids(phrases), self.context_length)


def require_files(folder: Path, *sets: tuple[str, ...]) -> None:
    """Refuse a folder that holds none of the sets of files that a tokenizer can be read from."""
    if not any(all((folder / name).is_file() for name in names) for names in sets):
        wanted = ", or ".join(" and ".join(names) for names in sets)
        raise UserError(
            f"{folder}: the tokenizer lacks its files ({wanted}); download them from the "
            "checkpoint's page"
        )


def check_vocabulary(folder: Path, found: int, vocab_size: int) -> None:
    """Refuse a tokenizer whose vocabulary is not the model's.

    Tables are padded to round sizes, so fewer tokens are fine; but a tokenizer that did not find
    its vocabulary comes up with a handful.
    """
    if not vocab_size // 2 <= found <= vocab_size:
        raise UserError(
            f"{folder}: the tokenizer has {found} tokens but config.json says vocab_size "
            f"{vocab_size}; use the tokenizer files these weights came with"
        )


def read_settings(folder: Path) -> dict[str, Any]:
    """The content of tokenizer_config.json, the fields that many read checked; empty without it.

    Raises:
        UserError: damaged, or a field of the wrong type.
    """
    path = folder / "tokenizer_config.json"
    settings = read_json(path, "a tokenizer's configuration") if path.is_file() else {}
    checked = {name: field(settings, name, kind, str(path)) for name, kind in _KINDS.items()}
    return settings | {name: value for name, value in checked.items() if value is not None}


def files_digest(folder: Path) -> str:
    """sha256 of the tokenizer's files in a folder, hex."""
    digest = hashlib.sha256()
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            content = (folder / name).read_bytes()
            digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _read_backend(folder: Path, kind: str) -> tuple[Any, list[int]]:
    """The tokenizer, and what it makes of an empty phrase."""
    read_settings(folder)
    transformers = import_transformers()
    try:
        # AutoTokenizer wants a config that names the tokenizer or the family.
        named = any((folder / n).is_file() for n in ("tokenizer_config.json", "config.json"))
        reader = transformers.AutoTokenizer if named else getattr(transformers, kind)
        backend = reader.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        # A vocabulary without a token for what it does not know fails only at such a text.
        backend(_RARE)
        return backend, list(backend("")["input_ids"])
    except Exception as error:
        place, reason = _at_fault(folder, error)
        raise UserError(
            f"{place}: the tokenizer files cannot be read ({first_line(reason)}); download them "
            "again"
        ) from error


def _at_fault(folder: Path, error: Exception) -> tuple[Path, Exception]:
    """The file that cannot be read, and why, where it can be told; else the folder."""
    from tokenizers import Tokenizer as Backend

    path = folder / "tokenizer.json"
    try:
        if path.is_file():
            Backend.from_file(str(path))
    except Exception as reason:  # the library raises nothing narrower
        return path, reason
    return folder, error


def train_tokenizer(
    captions: Iterable[str], vocab_size: int, folder: Path, *, context_length: int = 77
) -> Tokenizer:
    """Learn a byte-pair vocabulary with CLIP's conventions and write it to a folder.

    Lower case; `<|startoftext|>` and `<|endoftext|>` are the last two ids; every byte has a token,
    so no text is unknown. `transformers.CLIPTokenizer` reads the folder.

    Args:
        captions: texts to learn from.
        vocab_size: most tokens, at least 514 (256 bytes inside and at the end of words, 2 special);
            fewer where the captions do not have as many pairs.
        folder: created if need be.
        context_length: most tokens of a text, the two special ones included.

    Returns:
        The tokenizer; `len(tokenizer.backend)` is the vocabulary size to build the model with.
    """
    from tokenizers import Tokenizer as Backend
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer

    tokenizer_class = import_transformers().CLIPTokenizer
    suffix, special = "</w>", ["<|startoftext|>", "<|endoftext|>"]
    characters = sorted(ByteLevel.alphabet())
    alphabet = characters + [character + suffix for character in characters]
    merge_count = vocab_size - len(alphabet) - len(special)
    if merge_count < 0:
        raise ValueError(f"vocab_size {vocab_size} is below {len(alphabet) + len(special)}")

    pattern = tokenizer_class().backend_tokenizer
    learner = Backend(BPE(end_of_word_suffix=suffix))
    learner.normalizer, learner.pre_tokenizer = pattern.normalizer, pattern.pre_tokenizer
    # The alphabet goes in as special tokens because those are numbered first and in this order;
    # left to itself the learner numbers characters as a hash table yields them, and breaks ties so.
    trainer = BpeTrainer(
        vocab_size=len(alphabet) + merge_count,
        special_tokens=alphabet,
        end_of_word_suffix=suffix,
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    merges: list[Any] = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]][
        :merge_count
    ]
    tokens = dict.fromkeys([*alphabet, *("".join(pair) for pair in merges), *special])
    backend = tokenizer_class(
        vocab={token: i for i, token in enumerate(tokens)},
        merges=merges,
        model_max_length=context_length,
    )
    with atomic_folder(folder) as temporary:
        backend.save_pretrained(str(temporary))
    return Tokenizer.from_folder(folder, positions=context_length, vocab_size=len(tokens))
