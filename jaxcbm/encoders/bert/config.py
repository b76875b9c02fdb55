"""Sizes of a BERT text tower, in the two flavours that dual encoders carry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxcbm.encoders.clip.config import TowerConfig, hf_tower, tower_sizes
from jaxcbm.errors import UserError


@dataclass(frozen=True, kw_only=True)
class BertConfig(TowerConfig):
    """A post-norm, bidirectional transformer over tokens.

    Attributes:
        vocab_size: rows of the token table.
        positions: rows of the position table.
        token_types: rows of the token type table, of which a single text uses the first.
        pad_id: the token that fills a row up; nothing attends to it.
        after_padding: positions are counted from `pad_id + 1`, as RoBERTa does, and not from 0.

    >>> config = BertConfig.from_hf({}, ROBERTA_DEFAULTS, after_padding=True)
    >>> config.positions, config.context_length
    (514, 512)
    """

    vocab_size: int
    positions: int
    token_types: int
    pad_id: int
    after_padding: bool

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.pad_id < self.vocab_size or self.context_length < 1:
            raise UserError(
                f"config.json: pad_token_id {self.pad_id} does not fit vocab_size "
                f"{self.vocab_size} and max_position_embeddings {self.positions}"
            )

    @property
    def context_length(self) -> int:
        """The most tokens a text can have."""
        return self.positions - (self.pad_id + 1 if self.after_padding else 0)

    @classmethod
    def from_hf(
        cls, section: Mapping[str, Any], defaults: Mapping[str, Any], *, after_padding: bool
    ) -> "BertConfig":
        """Read the `text_config` of a config.json.

        Args:
            section: the parsed section.
            defaults: what a key left out means; it differs by family.
            after_padding: where positions start, see the attributes.

        Raises:
            UserError: sizes that no such tower can have.
        """
        c = {**defaults, **section}
        return cls(
            **tower_sizes(c),
            vocab_size=c["vocab_size"],
            positions=c["max_position_embeddings"],
            token_types=c["type_vocab_size"],
            pad_id=c["pad_token_id"],
            after_padding=after_padding,
        )

    def to_hf(self) -> dict[str, Any]:
        """The keys of a `text_config` that transformers reads as the same tower."""
        return {
            **hf_tower(self),
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.positions,
            "type_vocab_size": self.token_types,
            "pad_token_id": self.pad_id,
        }


BERT_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "pad_token_id": 0,
}
ROBERTA_DEFAULTS: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "vocab_size": 250002,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "pad_token_id": 1,
}
