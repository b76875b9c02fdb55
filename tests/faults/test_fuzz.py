"""Whatever is handed in is read or refused in one line: nothing runs, hangs or is written."""

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import fuzz_record
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
from watched import FAILURE, READ, Verdict, judge

from jaxcbm.code_version import this_code
from jaxcbm.encoders.image.open import open_image
from jaxcbm.experiment.config import Experiment, read_experiment
from jaxcbm.experiment.config_file import read_config
from jaxcbm.typed_json import settings_of

SEED = 15
TABLE: Mapping[str, Reader] = READERS | CHECKPOINTS | ANSWERS | PICTURES
OVERRIDDEN, TRAINED = "overrides of a config", (handed_in_model, runs_of_a_report)
RECORDED = (OVERRIDDEN, *TABLE, *(reader.__name__.replace("_", " ") for reader in TRAINED))
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


@pytest.fixture(scope="module", autouse=True)
def tallies():
    """What came of each reader; one pass over all of them is recorded where that is asked for."""
    found: list[Tally] = []
    yield found
    if "JAXCBM_FAULTS_RECORD" in os.environ:
        record(found, RECORDED, SEED)


_FIELDS = tuple(setting.name for setting in settings_of(Experiment))
_TYPED = st.sampled_from(NUMBERS + TEXTS[:-1]) | st.text(max_size=20) | st.floats().map(str)
_LISTS = st.lists(st.sampled_from(("1", "None", "'a'", "[", "]")), max_size=5).map(",".join)
OVERRIDES = st.builds(
    "--config.{}={}".format,
    st.sampled_from(_FIELDS) | st.text(max_size=20),
    _TYPED | _LISTS.map("[{}]".format) | st.integers().map(str),
)


def test_overrides_are_read_or_refused(tmp_path, tallies):
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
    tallies.append(Tally(OVERRIDDEN, tuple(verdicts), time.monotonic() - began))


def hold(name: str, reader: Reader, whole: Path, folder: Path, tallies: list[Tally]) -> None:
    """Change a reader's whole files again and again; none may come to more than a refusal."""
    count = tries(8)
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
    tallies.append(Tally(name, tuple(verdicts), time.monotonic() - began))
    assert not failures, "\n".join([f"{len(failures)} of {count}", *failures[:20]])


@pytest.mark.parametrize("name", TABLE)
def test_what_is_handed_in_is_read_or_refused(name, whole, tmp_path, tallies):
    """JAXCBM_FAULTS=300 makes so many tries for each reader."""
    hold(name, TABLE[name], whole(TABLE[name]), tmp_path, tallies)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_no_more_than_is_stated(name, tmp_path):
    content = BOMBS[name]()
    verdict = judge(lambda: open_image(content).close(), tmp_path, MEBIBYTES)
    assert verdict.verdict != FAILURE, verdict


@pytest.mark.parametrize("reader", TRAINED)
def test_what_a_stranger_trained(reader, trained, whole, tmp_path, tallies):
    made = reader(trained)
    hold(reader.__name__.replace("_", " "), made, whole(made), tmp_path, tallies)


def test_only_a_whole_pass_is_recorded(tmp_path, monkeypatch):
    page, before = tmp_path / "fuzzing.md", (fuzz_record.DOCS / "fuzzing.md").read_text()
    page.write_text(before)
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(fuzz_record, "DOCS", tmp_path)
    verdict = Verdict(READ, "", 0.25, 3.0)
    pass_over = [Tally(name, (verdict, verdict), 30.0) for name in ("one", "two")]
    with pytest.raises(ValueError, match="nobody tried three"):
        record(pass_over, ("one", "two", "three"), 7)
    assert page.read_text() == before and not list((tmp_path / "results").iterdir())
    record(pass_over, ("two", "one"), 7)
    found = json.loads((tmp_path / "results" / "fuzz.json").read_text())
    assert (found["seed"], found["minutes"], list(found["readers"])) == (7, 1.0, ["two", "one"])
    assert found["code"] == str(this_code())
    table = page.read_text().partition("<!-- table")[2].partition("<!-- end")[0]
    assert f"from seed 7: {this_code()}." in table
    assert table.count("\n| ") == 5 and "| **all** | 4 | 4 | 0 | 0 |" in table
