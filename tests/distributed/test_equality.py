"""One device, eight devices and two processes of four compute the same, over uneven sizes."""

import shutil
import subprocess
import sys
from pathlib import Path

import equality_problem as problem
import numpy as np
import pytest
from pair import environment, free_port

from jaxcbm.training.config import MeshConfig

ALONE, DATA, MODEL, BOTH = MeshConfig(1, 1), MeshConfig(8, 1), MeshConfig(1, 8), MeshConfig(2, 4)
EVEN = {"count": problem.EVEN_CONCEPTS}
# Result of the two processes -> the problem that one device solves.
IN_TWO_PROCESSES = {
    "fit 8x1": "fit",
    "even 1x8": "even",
    "even 2x4": "even",
    "resumed even 2x4": "even",
    "paired 2x4": "paired",
    "sparse 8x1": "sparse",
    "sweep 8x1": "sweep",
    "path 8x1": "path",
    "search 8x1": "search",
    "tune 4x2": "tune",
    "resumed tune 4x2": "tune",
}


@pytest.fixture(scope="module")
def solve(tiny_encoder_folder, tmp_path_factory):
    """Solves a problem in this process, on any mesh; on one device only once."""
    towers, known = tiny_encoder_folder, {}
    problems = {
        "fit": lambda mesh: problem.fitted(mesh, towers),
        "even": lambda mesh: problem.fitted(mesh, towers, **EVEN),
        "paired": lambda mesh: problem.fitted(mesh, towers, **EVEN, **problem.PAIRED),
        "sigmoid": lambda mesh: problem.fitted(mesh, towers, **EVEN, objective="sigmoid"),
        "sparse": lambda mesh: problem.sparse(mesh, towers),
        "sweep": lambda mesh: problem.swept(mesh, towers),
        "path": problem.path,
        "search": problem.searched,
        "tune": lambda mesh: problem.finetuned(mesh, towers, tmp_path_factory.mktemp("tune")),
    }

    def solve(name, mesh=ALONE):
        if mesh != ALONE:
            return problems[name](mesh)
        if name not in known:
            known[name] = problems[name](mesh)
        return known[name]

    return solve


@pytest.fixture(scope="module")
def pair(tiny_encoder_folder, tmp_path_factory):
    """(folder of a run of two processes, results of each)"""
    folder = tmp_path_factory.mktemp("pair")
    worker = Path(__file__).with_name("equality_worker.py")
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, str(worker), port, str(i), str(tiny_encoder_folder), str(folder)],
            env=environment(devices=4),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    try:
        said = [process.communicate(timeout=900)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, text in zip(processes, said, strict=True):
        assert process.returncode == 0, text[-3000:]
    return folder, [read(folder / f"process{i}.npz") for i in range(2)]


def read(path):
    found = {}
    with np.load(path) as arrays:
        for name, value in arrays.items():
            group, key = name.split("|")
            found.setdefault(group, {})[key] = value
    return found


def same(one, other, atol=1e-5):
    assert one.keys() == other.keys() and one
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=atol, rtol=0, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_TWO_PROCESSES)
def test_two_processes_compute_what_one_device_does(pair, solve, name):
    alone = solve(IN_TWO_PROCESSES[name])
    for found in pair[1]:
        same(found[name], alone)


@pytest.mark.slow
def test_two_processes_predict_their_shares_as_one_device_does_all(pair, tiny_encoder_folder):
    alone = problem.predicted(tiny_encoder_folder, None)
    assert alone["names"].tolist() == list(range(problem.IMAGES))
    parts = [dict(np.load(pair[0] / f"predicted{i}.npz")) for i in range(2)]
    same({name: np.concatenate([part[name] for part in parts]) for name in alone}, alone)


@pytest.mark.slow
def test_both_processes_have_the_whole_result_to_the_bit(pair):
    first, second = pair[1]
    assert first.keys() == second.keys() == IN_TWO_PROCESSES.keys()
    for name in first:
        same(first[name], second[name], atol=0.0)


@pytest.mark.slow
def test_stopped_and_resumed_two_processes_come_to_the_same_bits(pair):
    for found in pair[1]:
        same(found["even 2x4"], found["resumed even 2x4"], atol=0.0)
        same(found["tune 4x2"], found["resumed tune 4x2"], atol=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [MODEL, ALONE], ids=["1x8", "1x1"])
def test_a_checkpoint_of_two_processes_goes_on_anywhere(pair, solve, tiny_encoder_folder, mesh):
    folder = pair[0] / f"elsewhere{mesh.data}x{mesh.model}"
    shutil.copytree(pair[0] / "elsewhere", folder)
    written = (folder / "metrics.jsonl").read_text()
    same(problem.fitted(mesh, tiny_encoder_folder, folder, **EVEN), solve("even"))
    after = (folder / "metrics.jsonl").read_text()
    # One of the processes wrote two epochs of five lines, and this one wrote the other two.
    assert written.count("\n") == 10 and after.startswith(written) and after.count("\n") == 20


@pytest.mark.parametrize(
    "name, mesh",
    [
        ("fit", DATA),
        ("even", MODEL),
        ("even", BOTH),
        ("sigmoid", BOTH),
        ("sweep", DATA),
        ("path", DATA),
        ("search", DATA),
        ("tune", BOTH),
    ],
    ids=lambda x: x if isinstance(x, str) else f"{x.data}x{x.model}",
)
def test_eight_devices_compute_what_one_does(solve, name, mesh):
    same(solve(name, mesh), solve(name))
