"""SigLIP's tokenizers: text made plain, pieces, an end, and rows filled up to their full length.

Version 1 lower-cases and drops punctuation before sentencepiece sees a text; version 2, which has
Gemma's vocabulary, only lower-cases. transformers does the first in a slow class alone and the
second in one of several classes, so both are done here. A special token's name in a text is text.
"""

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxcbm.encoders.siglip.config import SiglipConfig
from jaxcbm.encoders.tokenizer import (
    Tokenizer,
    check_vocabulary,
    files_digest,
    read_settings,
    require_files,
)
from jaxcbm.errors import UserError
from jaxcbm.extras import import_extra

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_BLANK = "\u2581"  # how sentencepiece writes a blank


def without_punctuation(text: str) -> str:
    """A text without ASCII punctuation, its blanks made single.

    >>> without_punctuation("It's  a \\n red-crowned bird!")
    'Its a redcrowned bird'
    """
    return " ".join(text.translate(_NO_PUNCTUATION).split())


@dataclass(frozen=True)
class PieceBackend:
    """Called as a transformers tokenizer is.

    Attributes:
        pieces: text -> ids without special tokens.
        size: tokens of the vocabulary.
        start, end: ids put before and behind every text; the end survives when a text is cut.
    """

    pieces: Callable[[str], list[int]]
    size: int
    start: tuple[int, ...]
    end: tuple[int, ...]

    def __len__(self) -> int:
        return self.size

    def __call__(
        self, phrases: Sequence[str], *, truncation: bool = True, max_length: int
    ) -> dict[str, list[list[int]]]:
        """Ids of each phrase under the key "input_ids"."""
        room = max_length - len(self.start) - len(self.end) if truncation else None
        return {"input_ids": [[*self.start, *self.pieces(p)[:room], *self.end] for p in phrases]}


def siglip_tokenizer(folder: Path, config: SiglipConfig) -> Tokenizer:
    """Load the tokenizer of a SigLIP or SigLIP 2 checkpoint.

    Args:
        folder: holds `spiece.model` (version 1; needs the package sentencepiece) or
            `tokenizer.json`, and `tokenizer_config.json`.
        config: sizes of the towers.

    Raises:
        UserError: files or the package are missing, or the vocabulary is not the model's.
    """
    require_files(folder, ("spiece.model",), ("tokenizer.json", "tokenizer_config.json"))
    settings = read_settings(folder)
    second = _second_version(settings, folder)
    lower = second or settings.get("do_lower_case", True)

    def plain(text: str) -> str:
        text = text.lower() if lower else text
        return text if second else without_punctuation(text)

    if (folder / "spiece.model").is_file():
        unknown = _token(settings, "unk_token", "<unk>")
        pieces, size, id_of = _read_sentencepiece(folder, unknown)
    else:
        pieces, size, id_of = _read_json(folder)
    check_vocabulary(folder, size, config.text.vocab_size)

    def special(name: str, default: str) -> int:
        token = _token(settings, name, default)
        if (found := id_of(token)) is None:
            raise UserError(
                f"{folder}: the tokenizer has no token {token!r}, its {name}; use the tokenizer "
                "files these weights came with"
            )
        return found

    end = special("eos_token", "<eos>" if second else "</s>")
    starts = second and settings.get("add_bos_token", False)
    limit = int(settings.get("model_max_length", 64))
    return Tokenizer(
        backend=PieceBackend(
            pieces=lambda text: pieces(plain(text)),
            size=size,
            start=(special("bos_token", "<bos>"),) if starts else (),
            end=(end,) if settings.get("add_eos_token", True) else (),
        ),
        context_length=min(config.text.context_length, limit),
        end_of_text_id=end,
        digest=files_digest(folder),
        pad_id=special("pad_token", "<pad>" if second else "</s>"),
        full_rows=True,
    )


def _second_version(settings: dict[str, Any], folder: Path) -> bool:
    kind = str(settings.get("tokenizer_class") or "SiglipTokenizer").removesuffix("Fast")
    versions = {"SiglipTokenizer": False, "GemmaTokenizer": True, "Siglip2Tokenizer": True}
    if kind not in versions:
        raise UserError(
            f"{folder / 'tokenizer_config.json'}: tokenizer_class {kind!r} is not one of SigLIP's "
            f"({', '.join(versions)}); use the tokenizer files these weights came with"
        )
    return versions[kind]


def _token(settings: dict[str, Any], name: str, default: str) -> str:
    token = settings.get(name) or default
    return str(token.get("content") if isinstance(token, dict) else token)


Reader = tuple[Callable[[str], list[int]], int, Callable[[str], int | None]]


def _read_sentencepiece(folder: Path, unknown: str) -> Reader:
    path = folder / "spiece.model"
    sentencepiece = import_extra("sentencepiece", "jaxcbm[siglip]", str(path))
    try:
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: incomplete or damaged; download it again") from error
    prefix = len(model.encode(unknown))

    def pieces(text: str) -> list[int]:
        # The model swallows a leading blank, so it is kept from leading and cut off again.
        return model.encode(unknown + _BLANK + text.replace(_BLANK, " "))[prefix:]

    def id_of(token: str) -> int | None:
        found = model.piece_to_id(token)
        return found if model.id_to_piece(found) == token else None

    return pieces, model.get_piece_size(), id_of


def _read_json(folder: Path) -> Reader:
    from tokenizers import Tokenizer as Backend

    path = folder / "tokenizer.json"
    try:
        backend = Backend.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{path}: incomplete or damaged; download it again") from error
    backend.no_truncation()
    backend.no_padding()
    return (
        lambda text: backend.encode(text, add_special_tokens=False).ids,
        backend.get_vocab_size(with_added_tokens=True),
        backend.token_to_id,
    )
