"""Sizes of a BERT text tower, in the two flavours that dual encoders carry."""

from dataclasses import dataclass

from jaxcbm.encoders.json_file import Size
from jaxcbm.encoders.nn.tower_config import TowerConfig
from jaxcbm.errors import UserError
from jaxcbm.typed_json import Whole


@dataclass(frozen=True, kw_only=True)
class BertConfig(TowerConfig):
    """Sizes of a post-norm, bidirectional transformer over tokens.

    Attributes:
        vocab_size: rows of the token table.
        positions: rows of the position table.
        token_types: rows of the token type table, of which a single text uses the first.
        pad_id: the token that fills a row up; nothing attends to it.
        after_padding: positions are counted from `pad_id + 1`, as RoBERTa does, and not from 0.
    """

    vocab_size: Size
    positions: Size
    token_types: Size
    pad_id: Whole
    after_padding: bool

    hf_names = TowerConfig.hf_names | {
        "vocab_size": "vocab_size",
        "positions": "max_position_embeddings",
        "token_types": "type_vocab_size",
        "pad_id": "pad_token_id",
    }

    def __post_init__(self):
        super().__post_init__()
        if self.pad_id >= self.vocab_size or self.context_length < 1:
            raise UserError(
                f"config.json: pad_token_id {self.pad_id} does not fit vocab_size "
                f"{self.vocab_size} and max_position_embeddings {self.positions}"
            )

    @property
    def context_length(self) -> int:
        """The most tokens a text can have."""
        return self.positions - (self.pad_id + 1 if self.after_padding else 0)
