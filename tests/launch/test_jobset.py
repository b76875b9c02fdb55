"""The manifest that launch/gke_jobset.sh renders, against the schemas of what it is made of."""

import json
import subprocess
from pathlib import Path

import pytest
from fake_tools import LAUNCH, make_tools

yaml = pytest.importorskip("yaml", reason="no PyYAML: pip install the extra `launch`")
jsonschema = pytest.importorskip("jsonschema", reason="pip install the extra `launch`")
SCHEMA = json.loads((Path(__file__).parent / "jobset_schema.json").read_text())
ARGUMENTS = [
    "--config=imagenet",
    '--config.data.classes=a "b" \\c',
    "--workdir=runs/r",
]


@pytest.fixture
def render(tmp_path):
    environment = make_tools(tmp_path / "tools")

    def render(**variables):
        settings = {"IMAGE": "r/i:tpu", "DATA_BUCKET": "images", "RUNS_CLAIM": "runs"}
        settings |= {"DRY_RUN": "1", **variables}
        done = subprocess.run(
            ["bash", str(LAUNCH / "gke_jobset.sh"), *ARGUMENTS],
            env={**environment, **settings},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        first, *manifest, last = done.stdout.splitlines()
        assert first.startswith("kubectl apply") and last == "EOF"
        return yaml.safe_load("\n".join(manifest))

    return render


def job(manifest):
    (replicated,) = manifest["spec"]["replicatedJobs"]
    return replicated["template"]


@pytest.mark.parametrize("spot", ["0", "1"])
def test_it_is_a_jobset_of_valid_jobs(render, spot):
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="no kubernetes-validate: pip install the extra `launch`"
    )
    manifest = render(SPOT=spot)
    jsonschema.validate(manifest, SCHEMA)
    inner = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, **job(manifest)}
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(inner, version, strict=True)
    inner["spec"]["template"]["spec"]["containers"][0]["imagee"] = "misspelt"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(inner, version, strict=True)


def test_the_schema_refuses_what_jobset_would():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet"}, SCHEMA)


@pytest.mark.parametrize("topology,hosts", [("4x4", 4), ("16x16", 64), ("2x2x4", 4)])
def test_as_many_pods_as_the_slice_has_hosts(render, topology, hosts):
    spec = job(render(TOPOLOGY=topology))["spec"]
    assert spec["parallelism"] == spec["completions"] == hosts
    assert spec["completionMode"] == "Indexed" and spec["backoffLimit"] == 0
    pod = spec["template"]["spec"]
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == topology
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": 4}


def test_the_command_arrives_word_for_word(render):
    (container,) = job(render())["spec"]["template"]["spec"]["containers"]
    # No `command`: the image's own entry point runs Python under tini.
    assert "command" not in container
    assert container["args"] == ["train", *ARGUMENTS, "--distributed"]


def test_a_failure_restarts_all_but_a_mistake_ends_the_set(render):
    manifest = render()
    policy = manifest["spec"]["failurePolicy"]
    assert policy["maxRestarts"] > 0
    assert policy["rules"][0]["action"] == "FailJobSet"
    (rule,) = job(manifest)["spec"]["podFailurePolicy"]["rules"]
    # 2 is what jaxcbm exits with on a user's mistake; 143 (SIGTERM, saved) must restart.
    assert rule["action"] == "FailJob" and rule["onExitCodes"]["values"] == [2]
    assert job(manifest)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 60


def test_preemptible_nodes_can_be_refused(render):
    def pod(spot):
        return job(render(SPOT=spot))["spec"]["template"]["spec"]

    assert pod("1")["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    assert pod("1")["tolerations"][0]["key"] == "cloud.google.com/gke-spot"
    assert "cloud.google.com/gke-spot" not in pod("0")["nodeSelector"]
    assert "tolerations" not in pod("0")
