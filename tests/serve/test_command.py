"""`jaxcbm serve` as a process of its own, asked by real clients, told to stop under load."""

import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
from command_line import fails
from served import before_each_batch, picture_bytes

from jaxcbm.cli import main

PNG = {"content-type": "image/png"}


@contextmanager
def started(folder, *flags: str):
    """The process, its address once it is ready, and its log, a line a list item."""
    command = [sys.executable, "-m", "jaxcbm", "serve", f"--workdir={folder}", "--port=0", *flags]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout and process.stderr
    stderr, log = process.stderr, []
    reader = threading.Thread(target=lambda: log.extend(stderr))
    reader.start()
    try:
        address = process.stdout.readline().split()[-1].rstrip("/")
        end = time.monotonic() + 120
        while httpx.get(f"{address}/readyz").status_code != 200:
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.05)
        yield process, address, log
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()
        stderr.close()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    place = tmp_path_factory.mktemp("served") / "model"
    model.save(place)
    return place


@pytest.mark.slow
def test_under_load_all_answers_are_right_and_none_is_lost_at_the_stop(model, folder):
    """Eight clients ask as fast as they can until nobody answers."""
    pictures = [picture_bytes(n) for n in range(40)]
    answers: list[tuple[int, dict]] = []
    broken: list[Exception] = []

    def client(address: str, start: int) -> None:
        rng = np.random.default_rng(start)
        with httpx.Client(base_url=address, timeout=30) as session:
            while True:
                chosen = [int(n) for n in rng.integers(0, 40, rng.integers(1, 4))]
                files = [("image", (str(n), pictures[n])) for n in chosen]
                try:
                    found = session.post("/v1/predict?classes=3", files=files)
                except httpx.ConnectError:
                    return
                except httpx.TransportError as error:
                    broken.append(error)
                    return
                assert found.status_code == 200, found.text
                answers.extend(zip(chosen, found.json()["images"], strict=True))
                replies.append(1)

    replies: list[int] = []
    with started(folder, "--max-batch=8", "--drain=1") as (process, address, log):
        clients = [threading.Thread(target=client, args=(address, n)) for n in range(8)]
        for each in clients:
            each.start()
        time.sleep(4)
        process.send_signal(signal.SIGTERM)
        for each in clients:
            each.join(60)
        assert process.wait(60) == 0
    assert not broken
    logged = sum(" /v1/predict 200 " in line for line in log)
    assert logged == len(replies) > 50
    assert log[-1].startswith("stopped")
    expected = model.predict(pictures)
    for n, said in answers:
        assert said["name"] == str(n) and said["label"] == expected.labels[n]
        given = [said["probabilities"][name] for name in model.classes]
        np.testing.assert_allclose(given, expected.class_probabilities[n], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_memory_stays_where_it_is_and_the_wrong_is_refused_by_a_real_server(folder):
    def resident(address: str) -> float:
        text = httpx.get(f"{address}/metrics").text
        return float(re.findall(r"^process_resident_memory_bytes (\S+)", text, re.M)[0])

    flags = ("--max-body=1", "--max-per-client=2", "--max-queue=2", "--max-pictures=2")
    with started(folder, *flags) as (process, address, log), httpx.Client(base_url=address) as one:
        bodies = [picture_bytes(n) for n in range(10)]
        statuses = []

        def ask(count: int) -> None:
            for n in range(count):
                found = one.post("/v1/predict", content=bodies[n % 10], headers=PNG)
                statuses.append(found.status_code)

        ask(100)
        before = resident(address)
        ask(300)
        assert set(statuses) == {200}
        big = b"x" * 2**21
        refused = {
            413: one.post("/v1/predict", content=big, headers=PNG),
            415: one.post("/v1/predict", content=b"x"),
            422: one.post("/v1/predict", content=b"x", headers=PNG),
            421: one.get("/", headers={"host": "evil.example"}),
        }
        assert {status: each.status_code for status, each in refused.items()} == {
            status: status for status in refused
        }
        assert resident(address) - before < 20 * 2**20
        many: list[int] = []

        def crowd() -> None:
            found = httpx.post(f"{address}/v1/predict", content=big[:900_000], headers=PNG)
            many.append(found.status_code)

        crowds = [threading.Thread(target=crowd) for _ in range(12)]
        for each in crowds:
            each.start()
        for each in crowds:
            each.join()
        assert set(many) <= {422, 429, 503} and len(many) == 12
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert all(line.isprintable() for line in (text.rstrip("\n") for text in log))


def test_mistakes_are_a_line(capsys, folder, tmp_path):
    serve = ["-q", "serve", f"--workdir={folder}"]
    fails(capsys, ["serve", f"--workdir={tmp_path}"], str(tmp_path))
    fails(capsys, [*serve, "--max-batch=12", "--port=0"], "power of two")
    fails(capsys, [*serve, "--port=99999"], "--port=99999")
    fails(capsys, [*serve, "--host=203.0.113.1", "--port=0"], "--host=203.0.113.1")
    fails(capsys, [*serve, "--max-queue=10"], "make the queue longer")
    fails(capsys, [*serve, "--max-body=1000"], "allow more for all")


def test_outside_of_this_machine_it_warns(folder, monkeypatch, caplog, capsys):
    monkeypatch.setattr("jaxcbm.serve.server.run", lambda app, service, *_: service.batcher.stop())
    serve = ["-q", "serve", f"--workdir={folder}", "--port=0", "--max-batch=1"]
    assert main([*serve, "--host=0.0.0.0"]) == 0
    assert any("whoever reaches this port" in record.getMessage() for record in caplog.records)
    assert re.match(r"listening at http://0\.0\.0\.0:\d+/\n", capsys.readouterr().out)
    caplog.clear()
    assert main(serve) == 0
    assert not caplog.records


def test_a_model_that_cannot_run_ends_the_server(folder, monkeypatch, capsys):
    def fail():
        raise RuntimeError("no memory")

    before_each_batch(monkeypatch, fail)
    fails(
        capsys, ["-q", "serve", f"--workdir={folder}", "--port=0"], "does not run here: no memory"
    )
