"""Whatever is handed in is read or refused in one line: nothing runs, hangs or is written."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from answer_readers import ANSWERS
from checkpoint_readers import CHECKPOINTS, handed_in_model
from damage import tries
from fuzz_record import Tally, record
from hostile_bytes import NUMBERS, TEXTS, mutated
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_readers import BOMBS, MEBIBYTES, PICTURES
from readers import READERS, Reader, runs_of_a_report
from watched import FAILURE, judge

from jaxcbm.encoders.image.open import open_image
from jaxcbm.experiment.config import Experiment, read_experiment
from jaxcbm.experiment.config_file import read_config
from jaxcbm.typed_json import settings_of

SEED = 15
TABLE: Mapping[str, Reader] = READERS | CHECKPOINTS | ANSWERS | PICTURES
# TFDS 4.9.10 itself uses what newer Pythons and its dependencies deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Whole files of a reader, written once."""
    written: dict[int, Path] = {}

    def write(reader: Reader) -> Path:
        if id(reader) not in written:
            written[id(reader)] = tmp_path_factory.mktemp("whole")
            reader.write(written[id(reader)])
        return written[id(reader)]

    return write


_FIELDS = tuple(setting.name for setting in settings_of(Experiment))
_TYPED = st.sampled_from(NUMBERS + TEXTS[:-1]) | st.text(max_size=20) | st.floats().map(str)
_LISTS = st.lists(st.sampled_from(("1", "None", "'a'", "[", "]")), max_size=5).map(",".join)
OVERRIDES = st.builds(
    "--config.{}={}".format,
    st.sampled_from(_FIELDS) | st.text(max_size=20),
    _TYPED | _LISTS.map("[{}]".format) | st.integers().map(str),
)


def test_overrides_are_read_or_refused(tmp_path):
    verdicts, began = [], time.monotonic()
    read_experiment(read_config("quickstart"))

    @settings(max_examples=tries(30), derandomize=True, database=None)
    @given(st.lists(OVERRIDES, min_size=1, max_size=3))
    def each(overrides):
        def read():
            read_experiment(read_config("quickstart", overrides))

        verdicts.append(judge(read, tmp_path))
        assert verdicts[-1].verdict != FAILURE, (overrides, verdicts[-1].said)

    each()
    record(Tally("overrides of a config", tuple(verdicts), time.monotonic() - began), SEED)


def hold(name: str, reader: Reader, whole: Path, folder: Path, count: int) -> None:
    """Change a reader's whole files so many times; none may come to more than a refusal."""
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    reader.read(folder)  # whole, and with it whatever is imported late
    names, verdicts, failures = list(reader.changed), [], []
    began = time.monotonic()
    for number in range(count):
        rng = np.random.default_rng([SEED, number])
        changed = names[rng.integers(len(names))]
        content = (whole / changed).read_bytes()
        (folder / changed).write_bytes(mutated(content, rng, reader.changed[changed]))
        verdict = judge(lambda: reader.read(folder), folder, reader.mebibytes)
        (folder / changed).write_bytes(content)
        verdicts.append(verdict)
        if verdict.verdict == FAILURE:
            failures.append(f"input {number}, {changed}: {verdict.said}")
    record(Tally(name, tuple(verdicts), time.monotonic() - began), SEED)
    assert not failures, "\n".join([f"{len(failures)} of {count}", *failures[:20]])


@pytest.mark.parametrize("name", TABLE)
def test_what_is_handed_in_is_read_or_refused(name, whole, tmp_path):
    """JAXCBM_FAULTS=300 makes so many tries for each reader."""
    hold(name, TABLE[name], whole(TABLE[name]), tmp_path, tries(8))


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_no_more_than_is_stated(name, tmp_path):
    content = BOMBS[name]()
    verdict = judge(lambda: open_image(content).close(), tmp_path, MEBIBYTES)
    assert verdict.verdict != FAILURE, verdict


@pytest.mark.parametrize("reader", [handed_in_model, runs_of_a_report])
def test_what_a_stranger_trained(reader, trained, whole, tmp_path):
    made = reader(trained)
    hold(reader.__name__.replace("_", " "), made, whole(made), tmp_path, tries(8))
