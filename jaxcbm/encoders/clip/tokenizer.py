"""CLIP's tokenizer: byte pairs, an end of text behind every phrase, pooled where that stands."""

import html
from dataclasses import replace
from pathlib import Path

from jaxcbm.encoders.clip.config import ClipConfig
from jaxcbm.encoders.clip.model import LEGACY_END_OF_TEXT
from jaxcbm.encoders.tokenizer import Tokenizer
from jaxcbm.errors import UserError


def clip_tokenizer(folder: Path, config: ClipConfig) -> Tokenizer:
    """Load the tokenizer of a CLIP checkpoint and check that the text tower pools at its end.

    Args:
        folder: holds the tokenizer's files.
        config: sizes of the towers.

    Raises:
        UserError: files are missing, or the tokenizer is not the one of these weights.
    """
    text = config.text
    tokenizer = Tokenizer.from_folder(
        folder, positions=text.context_length, vocab_size=text.vocab_size
    )
    # The reference would pool every text at its first token, and embed all texts alike.
    if text.end_of_text_id not in (LEGACY_END_OF_TEXT, tokenizer.end_of_text_id):
        raise UserError(
            f"{folder}: config.json says eos_token_id {text.end_of_text_id} but the tokenizer ends "
            f"texts with {tokenizer.end_of_text_id}; use the tokenizer these weights came with"
        )
    return tokenizer


def open_clip_tokenizer(folder: Path, config: ClipConfig) -> Tokenizer:
    """The same for an open_clip checkpoint, whose tokenizer undoes HTML's escapes twice first.

    open_clip also repairs wrongly decoded characters by the library ftfy; that is left out.
    """
    tokenizer = clip_tokenizer(folder, config)
    return replace(tokenizer, clean=lambda text: html.unescape(html.unescape(text)))
