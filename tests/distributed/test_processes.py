"""Starting together: what goes wrong is one line and exit code 2, on every process, and soon."""

import os
import signal
import threading
from pathlib import Path

import pytest
from pair import free_port, launch, start_pair, wait_for

from jaxcbm.cli import main
from jaxcbm.distributed import preemption, processes
from jaxcbm.distributed.processes import Cluster
from jaxcbm.errors import UserError
from jaxcbm.experiment.workdir_lock import hold

ROOT = Path(__file__).parents[2]


@pytest.fixture
def search_words(tmp_path, picture_folder, tiny_encoder_folder) -> list[str]:
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("an amber glow\na blue tint\na coral hue\n")
    return [
        "search",
        f"--config={ROOT / 'configs' / 'folder.py'}",
        f"--config.data.root={picture_folder}",
        f"--config.concepts={phrases}",
        f"--config.encoder.name={tiny_encoder_folder}",
        f"--config.features={tmp_path / 'features'}",
        "--template={}",
        f"--output={tmp_path / 'found.json'}",
    ]


def lines_of(error: str) -> list[str]:
    return [line for line in error.splitlines() if line.startswith("jaxcbm:")]


def test_one_process_needs_nobody():
    assert processes.is_main() and processes.process_count() == 1
    processes.barrier("anything")
    processes.agree("anything", "whatever")
    processes.publish("anything", "whatever")
    assert processes.decide("anything", True) and not processes.decide("anything", False)
    processes.finish()


@pytest.mark.parametrize(
    "cluster, message",
    [
        (Cluster("host", 2, 0), "--coordinator=host: write HOST:PORT"),
        (Cluster("host:port", 2, 0), "--coordinator=host:port: write HOST:PORT"),
        (Cluster("host:1", 2, 2), "--process=2 of --processes=2: they count from 0"),
        (Cluster("host:1", 2, -1), "--process=-1: they count from 0"),
        (Cluster("host:1", 0, 0), "--processes=0: at least 1"),
    ],
)
def test_numbers_that_make_no_sense(cluster, message):
    with pytest.raises(UserError, match=message):
        processes.start(cluster)


@pytest.mark.parametrize("flag", ["--coordinator=host:1", "--processes=2", "--process=0"])
def test_flags_of_a_cluster_without_distributed(capsys, flag):
    assert main(["evaluate", "--workdir=runs/none", flag]) == 2
    assert "go with --distributed" in capsys.readouterr().err.splitlines()[-1]


def test_a_remote_work_directory_is_refused(capsys):
    assert main(["evaluate", "--workdir=gs://bucket/run"]) == 2
    assert "gs://bucket/run is no folder of a file system" in capsys.readouterr().err


def test_no_cluster():
    (alone,) = wait_for([launch(["evaluate", "--workdir=runs/none", "--distributed"])])
    (line,) = lines_of(alone.error)
    assert alone.code == 2 and line.startswith("jaxcbm: error: --distributed found no cluster")
    assert "--coordinator=HOST:PORT --processes=N --process=I" in line


def test_the_second_process_never_comes():
    words = [f"--coordinator=localhost:{free_port()}", "--processes=2", "--process=0"]
    command = ["evaluate", "--workdir=runs/none", "--distributed", *words]
    (alone,) = wait_for([launch(command, settings={"start": 3})])
    (line,) = lines_of(alone.error)
    assert alone.code == 2 and "not all processes came within 3 s" in line


def test_two_processes_that_differ(search_words):
    ended = wait_for(start_pair(search_words, differ=["--config.data.seed=5"]))
    assert [one.code for one in ended] == [2, 2], ended
    for one in ended:
        (line, *_) = lines_of(one.error)
        assert "differ in their config (process 1 of 2)" in line, ended


def test_one_that_fails_ends_the_other_with_its_reason(search_words):
    ended = wait_for(start_pair(search_words, settings={"failing": 1, "heartbeat": 100}))
    assert [one.code for one in ended] == [2, 2], ended
    assert lines_of(ended[0].error) == [
        "jaxcbm: stopped, because process 1 failed: no such folder here: pictures"
    ]
    assert lines_of(ended[1].error) == ["jaxcbm: error: no such folder here: pictures"]


def test_an_error_of_process_0_alone_is_everybodys(search_words, tmp_path):
    (tmp_path / "run").mkdir()
    with hold(tmp_path / "run"):
        words = [word for word in search_words[1:] if not word.startswith(("--t", "--o"))]
        ended = wait_for(start_pair(["train", *words, f"--workdir={tmp_path / 'run'}"]))
    assert [one.code for one in ended] == [2, 2], ended
    for one in ended:
        (line,) = lines_of(one.error)
        assert f"in use by process {os.getpid()} on" in line, ended


def test_two_processes_are_one_command(search_words, tmp_path):
    ended = wait_for(start_pair(search_words))
    assert [one.code for one in ended] == [0, 0], ended
    assert ended[0].out and not ended[1].out, "process 0 speaks for all"
    together = (tmp_path / "found.json").read_bytes()
    left = [path.name for path in (tmp_path / "features").iterdir()]
    assert not any(name.startswith(".") for name in left), "shared hashes are cleared away"
    assert len(left) == 1
    # One process finds the same store, and the same rows.
    (alone,) = wait_for([launch(search_words)])
    assert alone.code == 0 and alone.out == ended[0].out, alone
    assert len(list((tmp_path / "features").iterdir())) == 1
    assert "encode:" not in alone.error
    assert (tmp_path / "found.json").read_bytes().count(b"method") == together.count(b"method")


def test_a_signal_is_a_request_while_somebody_listens():
    before = signal.getsignal(signal.SIGTERM)
    with preemption.listening():
        assert not preemption.requested(1) and not preemption.notified()
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption._signalled.wait(10.0)
        assert preemption.notified() and preemption.requested(2)
    assert signal.getsignal(signal.SIGTERM) == before
    assert not [t for t in threading.enumerate() if t.name == "preemption"]
    with preemption.listening():
        assert not preemption.requested(3), "the next command is not asked to stop"


def test_commands_outside_the_main_thread_run_without_listening():
    seen = []

    def listen() -> None:
        with preemption.listening():
            seen.append(preemption.requested(1))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [False]
