"""A config.json with anything in it: sizes, or one line that says what is wrong; and in silence."""

import copy
import logging
import subprocess
import sys

import pytest
import random_bert_families
import random_clip
import random_siglip

from jaxcbm.encoders.checkpoint.hf_config import read_hf_config
from jaxcbm.encoders.families import FAMILIES
from jaxcbm.errors import UserError

KINDS = ("clip", "siglip", "altclip", "align")
# Complete, and with another value than the default in most places.
CONTENTS = {
    "clip": random_clip.VARIANTS["gelu"],
    "siglip": random_siglip.VARIANTS["gelu"],
    "altclip": random_bert_families.VARIANTS["altclip_tanh"],
    "align": random_bert_families.VARIANTS["align_max"],
}
OTHERS = ("num_channels", "pad_token_id", "sub_configs", "per_layer_config", "to_dict")
VALUES = (None, True, 0, -1, 1.5, 2**70, "x", "__class__", [], [1, 2], {}, {"x": 1})


def broken_configs(kind):
    """A config.json of a kind with one value replaced, in every way."""
    for section in ("", "text_config", "vision_config"):
        keys = CONTENTS[kind][section] if section else CONTENTS[kind]
        for key in (*keys, *OTHERS):
            for value in VALUES:
                content = copy.deepcopy(CONTENTS[kind])
                (content[section] if section else content)[key] = value
                yield content, f"{section}.{key} {value!r}"


@pytest.mark.parametrize("kind", KINDS)
def test_any_value_gives_sizes_or_one_line(kind):
    for content, what in broken_configs(kind):
        try:
            sizes = FAMILIES[kind].config(content)
        except UserError as error:
            assert "\n" not in str(error) and str(error).startswith("config.json: "), what
        except Exception as error:
            pytest.fail(f"{what}: {error!r}")
        else:
            assert min(sizes.embed_dim, sizes.vision.image_size, sizes.text.width) > 0, what


@pytest.mark.parametrize("kind", KINDS)
def test_reading_changes_nothing_and_warns_of_nothing(kind, caplog):
    content = copy.deepcopy(CONTENTS[kind]) | {"text_config_dict": {"hidden_size": 64}}
    before, level = copy.deepcopy(content), logging.getLogger("transformers").level
    with caplog.at_level(logging.WARNING):
        read_hf_config(kind, content)
    assert content == before
    assert not caplog.records and logging.getLogger("transformers").level == level


def test_code_that_a_file_names_is_not_run(tmp_path):
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')\n")
    content = {"auto_map": {"AutoConfig": "evil.Config"}, "trust_remote_code": True}
    assert FAMILIES["clip"].config(content) == FAMILIES["clip"].config({})


def test_transformers_is_imported_late_and_in_silence():
    program = (
        "import sys, os\n"
        "from jaxcbm.encoders.load import load_encoder\n"
        "assert 'transformers' not in sys.modules\n"
        "load_encoder('jaxcbm/tiny')\n"
        "assert 'transformers' in sys.modules\n"
        "assert 'TRANSFORMERS_NO_ADVISORY_WARNINGS' not in os.environ\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
