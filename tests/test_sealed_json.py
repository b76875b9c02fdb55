"""What knows its own hash is refused once a single bit of it is another one."""

import json

import numpy as np
import pytest

from jaxcbm.described_tensors import load_described, save_described
from jaxcbm.ordinary_file import first_strange, read_ordinary
from jaxcbm.sealed_json import read_sealed, sealed, write_sealed

CONTENT = {"seed": 1, "rate": 0.1, "names": ["a", "\u00e9"], "nothing": None}


def flipped(content: bytes):
    for place, byte in enumerate(content):
        yield content[:place] + bytes([byte ^ 1 << place % 8]) + content[place + 1 :]


def test_a_flipped_bit_of_an_object_shows_or_does_not_matter(tmp_path):
    file = tmp_path / "sealed.json"
    write_sealed(file, CONTENT)
    assert read_sealed(file, always=True) == CONTENT
    for content in flipped(file.read_bytes()):
        file.write_bytes(content)
        try:
            assert read_sealed(file, always=True) == CONTENT  # a blank became another blank
        except ValueError:
            continue


def test_what_people_write_has_no_hash_unless_it_must(tmp_path):
    file = tmp_path / "plain.json"
    file.write_text(json.dumps(CONTENT))
    assert read_sealed(file) == CONTENT
    with pytest.raises(ValueError, match="without its hash"):
        read_sealed(file, always=True)
    file.write_text(json.dumps({**sealed(CONTENT), "seed": 2}))
    with pytest.raises(ValueError, match="not what was written"):
        read_sealed(file)


def test_a_flipped_bit_of_arrays_shows(tmp_path):
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([1, -1], np.int8)}
    file = tmp_path / "one.safetensors"
    save_described(file, arrays, CONTENT)
    whole = file.read_bytes()
    for content in flipped(whole):
        file.write_bytes(content)
        try:
            said, found = load_described(file)
        except (OSError, ValueError):
            continue
        assert said == CONTENT and found.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)


def test_the_same_content_is_the_same_bytes(tmp_path):
    for name in "ab":
        save_described(tmp_path / name, {"x": np.ones(2)}, CONTENT)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_never_ends_is_not_read(tmp_path):
    (tmp_path / "endless").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="not an ordinary file"):
        read_ordinary(tmp_path / "endless")
    assert first_strange(tmp_path) == tmp_path / "endless"
