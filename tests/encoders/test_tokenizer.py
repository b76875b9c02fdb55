"""Token ids equal to transformers', truncation included; and tokenizers of our own."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from random_clip import CAPTIONS
from transformers import AutoTokenizer, CLIPTokenizer

from jaxcbm.encoders.tokenizer import Tokenizer, train_tokenizer
from jaxcbm.errors import UserError

PHRASES = [
    "",
    "a red bird",
    "A Red  BIRD's   crown!!",
    "zürich 鳥 🦜 naïve",
    "it's 12 o'clock\n\tand we'll see",
    "<|endoftext|> in the middle",
    "wings and bill and crown and belly " * 12,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(CAPTIONS, 590, folder, context_length=20)
    return folder


@pytest.mark.parametrize("positions", [20, 9, 77])
def test_ids_and_truncation_equal_transformers(folder, positions):
    tokenizer = Tokenizer.from_folder(folder, positions=positions, vocab_size=600)
    assert tokenizer.context_length == min(20, positions)
    reference = CLIPTokenizer.from_pretrained(folder)
    want = reference(
        PHRASES,
        padding="max_length",
        truncation=True,
        max_length=tokenizer.context_length,
        return_tensors="np",
    )["input_ids"]
    np.testing.assert_array_equal(tokenizer(PHRASES), want)
    assert np.all(tokenizer(PHRASES)[:, -1] == tokenizer.end_of_text_id)
    assert tokenizer(PHRASES).dtype == np.int32


def test_a_bare_vocabulary_is_cut_at_the_positions(folder, tmp_path):
    """vocab.json and merges.txt alone say nothing of a limit; transformers then says 1e30."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    vocabulary = dict(model["vocab"])
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    merges = [" ".join(pair) for pair in model["merges"]]
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    bare = Tokenizer.from_folder(tmp_path, positions=20, vocab_size=600)
    assert bare.backend.model_max_length > 1e29
    whole = Tokenizer.from_folder(folder, positions=20, vocab_size=600)
    np.testing.assert_array_equal(bare(PHRASES), whole(PHRASES))
    assert bare.digest != whole.digest


def test_training_follows_clips_conventions(folder):
    tokenizer = Tokenizer.from_folder(folder, positions=20, vocab_size=600)
    size = len(tokenizer.backend)
    assert size <= 590
    tokens = tokenizer.backend.convert_ids_to_tokens([size - 2, size - 1])
    assert tokens == ["<|startoftext|>", "<|endoftext|>"]
    assert tokenizer.end_of_text_id == size - 1
    # Every byte has a token: whatever is written comes back, in lower case.
    text = "Öd! \u00df \u9ce5 \U0001f99c"
    assert tokenizer.backend.decode(tokenizer.ids([text])[0][1:-1]) == "öd ! ß 鳥 🦜"
    assert len(tokenizer.ids(["belly"])[0]) < 2 + len("belly"), "frequent words are merged"


def test_training_is_deterministic(folder, tmp_path):
    want = (folder / "tokenizer.json").read_bytes()
    for i in range(3):
        train_tokenizer(CAPTIONS, 590, tmp_path / str(i), context_length=20)
        assert (tmp_path / str(i) / "tokenizer.json").read_bytes() == want


def test_a_trained_folder_opens_in_transformers(folder):
    for reader in (AutoTokenizer, CLIPTokenizer):
        reference = reader.from_pretrained(folder)
        assert reference.model_max_length == 20
        assert (
            reference("a red bird")["input_ids"]
            == (Tokenizer.from_folder(folder, positions=20, vocab_size=600).ids(["a red bird"])[0])
        )


def test_the_smallest_vocabulary_is_bytes():
    with pytest.raises(ValueError, match="514"):
        train_tokenizer(CAPTIONS, 513, Path("never-written"))


def test_no_phrases_make_no_rows(folder):
    tokenizer = Tokenizer.from_folder(folder, positions=20, vocab_size=600)
    assert tokenizer([]).shape == (0, 20)


@pytest.mark.parametrize("present", [[], ["tokenizer_config.json"], ["vocab.json"]])
def test_missing_files_say_so(present, tmp_path):
    for name in present:
        (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match="tokenizer lacks its files"):
        Tokenizer.from_folder(tmp_path, positions=20, vocab_size=600)


@pytest.mark.parametrize("vocab_size", [500, 49408])
def test_another_models_vocabulary_says_so(folder, vocab_size):
    with pytest.raises(UserError, match=rf"vocab_size {vocab_size}"):
        Tokenizer.from_folder(folder, positions=20, vocab_size=vocab_size)


def test_a_damaged_file_says_so(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    whole = (folder / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot be read") as caught:
        Tokenizer.from_folder(tmp_path, positions=20, vocab_size=600)
    assert "\n" not in str(caught.value)
