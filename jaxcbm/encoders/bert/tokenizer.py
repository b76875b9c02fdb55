"""Tokenizers of text towers that ignore padding: BERT's word pieces, RoBERTa's sentence pieces."""

import importlib.util
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from jaxcbm.encoders.tokenizer import Tokenizer
from jaxcbm.errors import UserError


def _load(folder: Path, config: Any, *, vocabulary: str, kind: str) -> Tokenizer:
    """Load the tokenizer of a checkpoint and check that it fills rows up as the tower expects.

    `config` has a `BertConfig` as `text`; `kind` is the class of transformers where no file says.
    """
    text = config.text
    _require_sentencepiece(folder, vocabulary)
    tokenizer = Tokenizer.from_folder(
        folder,
        positions=text.context_length,
        vocab_size=text.vocab_size,
        files=(vocabulary,),
        kind=kind,
    )
    backend = tokenizer.backend
    if backend.pad_token_id != text.pad_id:
        raise UserError(
            f"{folder}: config.json says pad_token_id {text.pad_id} but the tokenizer fills rows "
            f"with {backend.pad_token_id}; use the tokenizer these weights came with"
        )
    # A text is pooled at its first token, which must be the one that stands for the whole.
    if len(empty := backend("")["input_ids"]) != 2:
        raise UserError(
            f"{folder}: the tokenizer puts {len(empty)} tokens around a phrase and not 2, so the "
            "text tower cannot pool there; use the tokenizer files these weights came with"
        )
    return replace(tokenizer, pad_id=text.pad_id)


def _require_sentencepiece(folder: Path, vocabulary: str) -> None:
    if (folder / "tokenizer.json").is_file() or not (folder / vocabulary).is_file():
        return
    if vocabulary.endswith(".model") and importlib.util.find_spec("sentencepiece") is None:
        raise UserError(
            f"{folder}: reading {vocabulary} takes the package sentencepiece; "
            "`pip install 'jaxcbm[siglip]'`, or add the tokenizer.json of the checkpoint"
        )


bert_tokenizer = partial(_load, vocabulary="vocab.txt", kind="BertTokenizer")
roberta_tokenizer = partial(_load, vocabulary="sentencepiece.bpe.model", kind="XLMRobertaTokenizer")
