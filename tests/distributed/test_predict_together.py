"""Several processes write the files of one folder, and they are those that one would write."""

import pytest
from pair import free_port, launch, start_pair, wait_for

from benchmarks.soak_inputs import draw, save_toy_model

pytestmark = pytest.mark.slow


def content(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("part-*")}


def test_two_processes_write_what_one_does(tmp_path):
    (tmp_path / "pictures").mkdir()
    for name, picture in draw(0, 23):
        (tmp_path / "pictures" / name).write_bytes(picture)
    (tmp_path / "pictures" / "00000004.png").write_bytes(b"no picture")
    argv = ["predict", f"--workdir={save_toy_model(tmp_path)}", "--shard-rows=5"]
    argv.append(f"--images={tmp_path / 'pictures'}")
    alone = ["--distributed", f"--coordinator=localhost:{free_port()}", "--processes=1"]
    one = launch([*argv, *alone, "--process=0", f"--output={tmp_path / 'one'}"])
    (ended,) = wait_for([one])
    assert ended.code == 0, ended.error
    pair = wait_for(start_pair([*argv, f"--output={tmp_path / 'two'}"]))
    assert [ended.code for ended in pair] == [0, 0], pair
    assert "22 pictures predicted, 1 skipped" in pair[0].out and not pair[1].out
    assert len(content(tmp_path / "two")) == 5 and content(tmp_path / "two") == content(
        tmp_path / "one"
    )
    assert (tmp_path / "two.skipped.jsonl").read_bytes() == (
        tmp_path / "one.skipped.jsonl"
    ).read_bytes()
    pair = wait_for(start_pair([*argv, f"--output={tmp_path / 'labels.csv'}"]))
    assert [ended.code for ended in pair] == [2, 2]
    assert "several processes write a folder" in pair[0].error
