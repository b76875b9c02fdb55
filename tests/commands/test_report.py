import subprocess
import sys

import pytest

from jaxcbm.cli import main
from jaxcbm.evaluation.results.file import write_result
from jaxcbm.evaluation.results.schema import Concepts, Images, MethodResult, ResultFile

NAMES = ["report.csv", "report.html", "report.md"]


def result(dataset="birds", **fields):
    return ResultFile(
        dataset=dataset,
        encoder="jaxcbm/tiny",
        encoder_hash="ab" * 32,
        concepts=Concepts(3, "cd" * 32),
        images=Images(10, 2, 5),
        hardware="a machine",
        seconds=1.0,
        seeds=(0, 1),
        rows=(MethodResult("one", "ours", {"top1": (0.5, 0.7)}),),
        **{"protocol": "official", **fields},
    )


@pytest.fixture
def files(tmp_path):
    for name in ("birds", "fashion_mnist"):
        write_result(tmp_path / f"{name}.json", result(name))
    return [str(tmp_path / f"{name}.json") for name in ("birds", "fashion_mnist")]


def report(output, *arguments):
    return main(["-q", "report", *arguments, f"--output={output}"])


def test_report_writes_three_files_and_nothing_else(files, tmp_path, capsys):
    output = tmp_path / "a" / "report"
    assert report(output, "--results", *files) == 0
    assert sorted(path.name for path in output.iterdir()) == NAMES
    assert capsys.readouterr().out.count("written: ") == 3
    for name in NAMES:
        text = (output / name).read_text(encoding="utf-8")
        assert "birds" in text and "fashion" in text
    assert "60.0 \u00b1 14.1" in (output / "report.md").read_text(encoding="utf-8")


def test_both_ways_of_naming_files_give_the_same_report(files, tmp_path):
    assert report(tmp_path / "one", "--results", *files) == 0
    assert report(tmp_path / "two", *(f"--results={file}" for file in files)) == 0
    for name in NAMES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("text", ["", '{"format": "jaxcbm-results", "ver', '{"rows": []}', None])
def test_a_broken_file_is_one_line_and_nothing_is_written(files, tmp_path, capsys, text):
    broken = tmp_path / "broken.json"
    if text is not None:
        broken.write_text(text)
    assert report(tmp_path / "out", "--results", *files, str(broken)) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"jaxcbm: error: {broken}: ") and "\n" not in error
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_one_line(files, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert report(tmp_path / "file", "--results", *files) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_help_teaches_and_a_report_needs_no_jax(files, tmp_path):
    code = (
        "import sys\nfrom jaxcbm.cli import main\n"
        f"assert main(['report', '--results', {files[0]!r}, '--output={tmp_path / 'out'}']) == 0\n"
        "assert not {'jax', 'transformers', 'tensorflow'} & set(sys.modules)\n"
        "main(['report', '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "example:" in done.stdout and "--results FILE.json" in done.stdout


def test_a_quoted_glob_is_expanded_and_a_name_with_brackets_is_itself(files, tmp_path, capsys):
    odd = tmp_path / "odd[1].json"
    write_result(odd, result("fashion_mnist"))
    write_result(tmp_path / "odd1.json", result("birds"))
    assert report(tmp_path / "named", f"--results={odd}") == 0
    assert report(tmp_path / "glob", f"--results={tmp_path}/[bf]*.json") == 0
    rows = [(tmp_path / name / "report.csv").read_text() for name in ("named", "glob")]
    assert "birds" not in rows[0] and "birds" in rows[1]
    assert report(tmp_path / "none", f"--results={tmp_path}/no*.json") == 2
    assert "no*.json" in capsys.readouterr().err
