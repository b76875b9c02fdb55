"""A model pushed to a hub on loopback and pulled by name, with everything that goes wrong there."""

import dataclasses
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

import httpx
import numpy as np
import pytest
from huggingface_hub import ModelCard
from loopback_hub import DAMAGES, LoopbackHub, Repository

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.bottleneck.scores import InputMap
from jaxcbm.cli import main
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.experiment.run_metrics import read_run_metrics
from jaxcbm.hub import HubName, explained
from jaxcbm.model.familiarity import Familiarity
from jaxcbm.model.hub.card import model_card
from jaxcbm.model.model import Model, load_model

NAME = "somebody/colours"
# The client's own, of the library that it speaks HTTP by.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that the client of this process takes for the only one, and an empty cache."""
    constants = "huggingface_hub.constants"
    with LoopbackHub() as server:
        point_to(monkeypatch, server.url)
        monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)
        monkeypatch.setattr(f"{constants}.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(f"{constants}.HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the client's tries
        monkeypatch.setenv("HF_TOKEN", server.token)
        yield server


def point_to(monkeypatch, url: str) -> None:
    """As the client reads HF_ENDPOINT when it is imported."""
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, tiny_encoder_folder) -> Path:
    """What a run leaves, of a model that nobody has trained."""
    folder = tmp_path_factory.mktemp("run")
    encoder = load_encoder(tiny_encoder_folder)
    phrases = ("an amber glow", "a blue tint", "a coral hue")
    concepts = ConceptSet.from_phrases(phrases, {"source": str(folder / "phrases.txt")})
    _, params = build_bottleneck(BottleneckConfig(), 16, 3, 3, seed=0)
    model = Model(
        config=BottleneckConfig(),
        params={path: np.asarray(value) for path, value in params.items()},
        input_map=InputMap(None, np.zeros(16, np.float32)),
        concepts=concepts,
        concept_embeddings=encoder.embed_texts(list(phrases)),
        classes=("amber", "blue", "coral"),
        encoder_name=str(tiny_encoder_folder),
        encoder_hash=encoder.content_hash,
        logit_scale=10.0,
        logit_bias=0.0,
        encoder_image_size=16,
        metrics={"chosen_top1": 0.5, "chosen_nec": 2.0},
        familiarity=Familiarity(
            *(np.zeros(16, np.float32), np.eye(16, dtype=np.float32)),
            *(np.zeros((3, 16), np.float32), np.ones(30, np.float32), 0.1, 0.5),
        ),
    )
    model.save(folder / "model")
    metrics = {
        "test": {"images": 9.0, "top1": 0.8125, "ece": 0.02, "nll": float("nan")},
        "validation": {},
        "not_measured": {"anec": "the model has a trained head"},
        "data": {"name": "folder", "protocol": "official", "seed": 0, "skipped": 0},
        "encoder": {"name": model.encoder_name, "hash": model.encoder_hash},
        "concepts": {"count": 3, "hash": concepts.content_hash},
        "hardware": {},
    }
    metrics["data"] |= {"train": 21, "valid": 6, "test": 9}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


@pytest.fixture(scope="module")
def model(workdir) -> Model:
    return load_model(workdir)


@pytest.fixture
def pushed(hub, model) -> str:
    """A model on the hub; the commit."""
    return model.push_to_hub(NAME, with_encoder=True)


def test_what_is_pulled_by_name_is_what_was_pushed(pushed, hub, model, picture_folder):
    pulled = Model.from_pretrained(NAME)
    pictures = sorted(picture_folder.rglob("*.png"))[::6]
    before, after = model.predict(pictures), pulled.predict(pictures)
    np.testing.assert_array_equal(after.class_logits, before.class_logits)
    np.testing.assert_array_equal(after.distances, before.distances)
    assert (after.labels, pulled.classes) == (before.labels, model.classes)
    assert pulled.encoder_folder is not None
    files = hub.repositories[NAME].commits[pushed]
    kinds = {Path(file).suffix for file in files if file != ".gitattributes"}
    assert kinds == {".json", ".safetensors", ".md"}
    # Nothing says where it lay on this machine.
    here = str(picture_folder.parent).encode()
    assert not [path for path, content in files.items() if here in content]
    assert pulled.encoder_name == "encoder"


def test_the_same_again_pushes_nothing(pushed, model):
    assert model.push_to_hub(NAME, with_encoder=True) == pushed
    assert Model.from_pretrained(NAME, revision=pushed).classes == model.classes


def test_as_the_client_does_it_where_large_files_have_a_storage_of_their_own(
    hub, model, monkeypatch
):
    """It then pushes in another way, piece by piece; small files take no part in that storage."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    hub.large = False
    commit = model.push_to_hub(NAME, with_encoder=True)
    assert Model.from_pretrained(NAME, revision=commit).classes == model.classes
    less = dataclasses.replace(model, familiarity=None).push_to_hub(NAME, with_encoder=True)
    assert Model.from_pretrained(NAME, revision=less).familiarity is None


def test_revisions(pushed, hub, model):
    other = dataclasses.replace(model, classes=("a", "b", "c"), familiarity=None)
    branch = other.push_to_hub(NAME, revision="v2", with_encoder=True)
    assert Model.from_pretrained(NAME).classes == model.classes
    for again in (
        Model.from_pretrained(NAME, revision="v2"),
        Model.from_pretrained(NAME, revision=branch),
        load_model(f"hf-hub:{NAME}@v2"),
    ):
        # What the newer model does not have went with its push.
        assert (again.classes, again.familiarity) == (("a", "b", "c"), None)
    assert "familiarity.safetensors" not in hub.repositories[NAME].commits[branch]
    assert f"{NAME}@v2" in hub.repositories[NAME].commits[branch]["README.md"].decode()
    with pytest.raises(UserError, match="no such branch, tag or commit"):
        Model.from_pretrained(NAME, revision="v3")


def test_only_the_files_of_a_model_are_fetched(pushed, hub):
    repository = hub.repositories[NAME]
    strange = ("run.py", "pytorch_model.bin", "encoder/pytorch_model.bin", "more.safetensors")
    repository.commit("main", repository.commits[pushed] | dict.fromkeys(strange, b"boo"))
    Model.from_pretrained(NAME)
    got = [line for line in hub.requests if "/resolve/" in line]
    assert got
    assert not [line for line in got if line.endswith(strange)]


def test_a_private_model_and_a_token_that_nobody_sees(hub, model, monkeypatch, caplog, capfd):
    """Not even where the hub repeats it."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match=r"hub refuses \(401\).*HF_TOKEN"):
        model.push_to_hub(NAME, with_encoder=True)
    model.push_to_hub(NAME, private=True, token=hub.token, with_encoder=True)
    with pytest.raises(UserError, match="no such public model"):
        Model.from_pretrained(NAME)
    assert Model.from_pretrained(NAME, token=hub.token).classes == model.classes
    for status in (401, 403, 500):
        hub.answer = status, '{"error": "no good: TOKEN"}'
        for call in (
            lambda: Model.from_pretrained("somebody/else", token=hub.token),
            lambda: model.push_to_hub("somebody/else", token=hub.token, with_encoder=True),
        ):
            with pytest.raises(UserError) as caught:
                call()
            shown = "".join(traceback.format_exception(caught.value))
            assert hub.token not in shown
            assert "\n" not in str(caught.value)
    assert hub.token in hub.tokens[-1]
    said = capfd.readouterr()
    assert hub.token not in caplog.text + said.out + said.err


def test_a_token_in_the_first_line_of_an_error(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_login")
    for given in ("hf_given", None):
        with (
            pytest.raises(UserError, match=r"a/b: .*\(token\)") as caught,
            explained(HubName("a/b"), given, "not reached: {}"),
        ):
            raise ValueError(f"what is {given or 'hf_of_the_login'} doing here")
        assert "hf_" not in "".join(traceback.format_exception(caught.value)[-1:])
        assert caught.value.__suppress_context__


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_download_is_refused_and_can_be_mended(pushed, hub, tmp_path, damage):
    hub.damage = {"model.safetensors": damage}
    with pytest.raises(UserError, match=NAME) as caught:
        Model.from_pretrained(NAME)
    assert "\n" not in str(caught.value)
    hub.damage = {}
    if damage != "half":  # what came in full and is wrong is in the client's cache
        folder = str(caught.value).rpartition("delete ")[2].rstrip(")")
        assert folder == str(tmp_path / "hub" / "models--somebody--colours")
        with pytest.raises(UserError, match="damaged"):
            Model.from_pretrained(NAME)
        shutil.rmtree(folder)
    Model.from_pretrained(NAME)


def test_a_file_without_an_end_ends_with_the_disk(pushed, hub):
    """A limit on the size of files stands for a disk that is full."""
    hub.damage = {"model.safetensors": "endless"}
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, most[1]))
    try:
        with pytest.raises(UserError, match="no space left while writing the hub's cache"):
            Model.from_pretrained(NAME)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)


def test_a_token_stays_with_the_hub_that_it_is_for(pushed, hub):
    with LoopbackHub() as other:
        hub.elsewhere, other.answer = other.url, (200, "something")
        with pytest.raises(UserError, match=NAME) as caught:
            Model.from_pretrained(NAME, token=hub.token)
        assert hub.token in hub.tokens[-1]
        assert other.requests
        assert not any(other.tokens)
    assert hub.token not in "".join(traceback.format_exception(caught.value))


def test_names_that_lead_out_of_the_cache(pushed, hub, tmp_path):
    repository = hub.repositories[NAME]
    outside = ("encoder/../../../../../evil.safetensors", f"encoder/{tmp_path}/evil.safetensors")
    repository.commit("main", repository.commits[pushed] | dict.fromkeys(outside, b"boo"))
    with pytest.raises(UserError, match=NAME):
        Model.from_pretrained(NAME)
    for found in tmp_path.rglob("evil*"):
        assert (tmp_path / "hub") in found.resolve().parents


@pytest.mark.parametrize(
    "answer",
    [
        (200, "<html>502 Bad Gateway</html>"),
        (200, "[]"),
        (200, ""),
        (500, "oh\n\x1b[31m"),
        (429, "slow down"),
    ],
    ids=lambda answer: f"{answer[0]}-{len(answer[1])}",
)
def test_a_hub_that_talks_nonsense(hub, model, answer):
    hub.answer = answer
    with pytest.raises(UserError, match=f"^{NAME}: .*hub cannot be reached") as pulling:
        Model.from_pretrained(NAME)
    with pytest.raises(UserError, match=f"^{NAME}: it was not pushed") as pushing:
        model.push_to_hub(NAME, with_encoder=True)
    for caught in (pulling, pushing):
        assert str(caught.value).isprintable()


def test_without_a_network_the_cached_copy_serves(pushed, hub, model, monkeypatch):
    Model.from_pretrained(NAME)
    point_to(monkeypatch, "http://127.0.0.1:9")
    assert Model.from_pretrained(NAME).classes == model.classes
    assert Model.from_pretrained(NAME, revision=pushed).classes == model.classes
    with pytest.raises(UserError, match=r"somebody/else: .*cannot be reached.*no copy"):
        Model.from_pretrained("somebody/else")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert Model.from_pretrained(NAME).classes == model.classes
    with pytest.raises(UserError, match=r"somebody/else: .*cannot be reached.*no copy"):
        Model.from_pretrained("somebody/else")


def test_an_encoder_that_is_on_the_hub_too(
    hub, model, monkeypatch, tiny_encoder_folder, picture_folder
):
    """By its name, online and then out of the cache, where only what it needs lies."""
    files = {path.name: path.read_bytes() for path in tiny_encoder_folder.iterdir()}
    encoder = hub.repositories["somebody/encoder"] = Repository()
    encoder.commit("main", files | dict.fromkeys(("README.md", "pytorch_model.bin"), b"more"))
    by_name = dataclasses.replace(model, encoder_name="somebody/encoder", encoder_folder=None)
    by_name.push_to_hub(NAME)
    picture = sorted(picture_folder.rglob("*.png"))[0]
    expected = model.predict(picture).class_logits
    for _ in range(2):
        found = Model.from_pretrained(NAME)
        assert found.encoder_folder is None
        np.testing.assert_array_equal(found.predict(picture).class_logits, expected)
        point_to(monkeypatch, "http://127.0.0.1:9")


def test_another_kind_of_repository(pushed, hub):
    hub.repositories[NAME].commit("main", {"config.json": b"{}"})
    with pytest.raises(UserError, match=r"no model of jaxcbm in it \(no model.json\)"):
        Model.from_pretrained(NAME)


def test_an_encoder_that_nobody_else_has(hub, model):
    with pytest.raises(UserError, match=r"nobody else has.*--with-encoder"):
        model.push_to_hub(NAME)
    assert not hub.requests
    with pytest.raises(UserError, match="give OWNER/NAME"):
        model.push_to_hub("colours")


def test_a_folder_and_back(tmp_path, model, picture_folder):
    model.save_pretrained(tmp_path / "saved")
    again = Model.from_pretrained(tmp_path / "saved")
    pictures = sorted(picture_folder.rglob("*.png"))[::9]
    np.testing.assert_array_equal(
        again.predict(pictures).class_logits, model.predict(pictures).class_logits
    )
    model.save_pretrained(tmp_path / "saved", with_encoder=True)
    assert Model.from_pretrained(tmp_path / "saved").encoder_folder is not None
    with pytest.raises(UserError, match="no revisions"):
        Model.from_pretrained(tmp_path / "saved", revision="v2")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="other things"):
        model.save_pretrained(tmp_path / "other")
    assert (tmp_path / "other" / "thesis.tex").exists()


def test_the_commands(hub, workdir, tmp_path, picture_folder, capsys):
    push = ["push", f"--workdir={workdir}", f"--repo={NAME}", "--with-encoder", "--private"]
    assert main([*push, "--licence=mit"]) == 0
    assert f"pushed: hf-hub:{NAME}@" in capsys.readouterr().out
    card = ModelCard(
        next(iter(reversed(hub.repositories[NAME].commits.values())))["README.md"].decode()
    )
    assert card.data.license == "mit"
    found = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert found["accuracy (top-1)"] == 0.8125
    output = tmp_path / "labels.csv"
    predict = ["predict", f"--images={picture_folder / 'amber'}", f"--output={output}"]
    assert main([*predict, f"--workdir=hf-hub:{NAME}"]) == 0
    assert len(output.read_text().splitlines()) == 13
    for wrong in ("hf-hub:a", "hf-hub:a/b/c", "hf-hub:../etc"):
        assert main([*predict, f"--workdir={wrong}"]) == 2
    assert main(["train", "--config=quickstart", f"--workdir=hf-hub:{NAME}"]) == 2
    assert "name a folder of a run" in capsys.readouterr().err


HOSTILE = ("**bold** | cell", "<script>x</script>", "[a](javascript:b)\n---\nlicense: none", "`c`")


def test_text_of_the_data_is_no_markup_in_the_card(model):
    """Read by a parser of Markdown, the card shows such names as they are."""
    from markdown_it import MarkdownIt

    classes = HOSTILE[:3]
    concepts = dataclasses.replace(model.concepts, phrases=HOSTILE[: len(model.concepts)])
    strange = dataclasses.replace(model, classes=classes, concepts=concepts)
    text = model_card(strange, {}, name=NAME)
    card = ModelCard(text)
    assert card.data.license is None
    assert card.data.library_name == "jaxcbm"
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(card.text)
    flat = [inner for token in tokens for inner in [token, *(token.children or [])]]
    assert not [t for t in flat if t.type in ("html_block", "html_inline", "link_open", "hr")]
    assert not [t for t in flat if t.type == "strong_open"]
    cells = [t.content for t in flat if t.type == "text"]
    assert any("<script>x</script>" in cell for cell in cells)


def test_the_card_tells_of_this_model_alone(model, workdir):
    metrics = read_run_metrics(workdir)
    card = ModelCard(model_card(model, metrics))
    assert "81.2%" in card.text
    assert "21 train" in card.text and "has a trained head" in card.text
    with pytest.raises(UserError, match="of another model"):
        model_card(dataclasses.replace(model, encoder_hash="0" * 64), metrics)
    with pytest.raises(UserError, match="not what `jaxcbm evaluate` writes"):
        model_card(model, {"test": 3})
    untested = model_card(model, {})
    assert "validation" in untested
    assert "| test images |" not in untested


_PULL = """
import sys, pathlib, numpy as np
from jaxcbm.model.model import Model
pictures = sorted(pathlib.Path(sys.argv[2]).rglob("*.png"))
np.save(sys.argv[3], Model.from_pretrained(sys.argv[1]).predict(pictures).class_logits)
"""


@pytest.mark.slow
def test_in_processes_of_their_own(tmp_path, trained, picture_folder):
    """Pushed by the command, pulled by name with an empty cache and nothing of this machine."""
    pictures = sorted(picture_folder.rglob("*.png"))
    with LoopbackHub() as server:
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
        plain |= {"HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1", "PYTHONWARNINGS": "ignore"}
        push = [sys.executable, "-m", "jaxcbm", "push", f"--workdir={trained}", f"--repo={NAME}"]
        secret = {"HF_TOKEN": server.token, "HF_HOME": str(tmp_path / "pusher")}
        done = subprocess.run(
            [*push, "--with-encoder"], env=plain | secret, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert server.token not in done.stdout + done.stderr
        pulled = subprocess.run(
            [sys.executable, "-c", _PULL, NAME, picture_folder, tmp_path / "logits.npy"],
            env=plain | {"HF_HOME": str(tmp_path / "puller")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert pulled.returncode == 0, pulled.stderr
    np.testing.assert_array_equal(
        np.load(tmp_path / "logits.npy"), load_model(trained).predict(pictures).class_logits
    )


@pytest.mark.slow
def test_served_by_its_name_from_a_fresh_cache(tmp_path, trained, picture_folder):
    """Pushed, pulled by a server that has nothing of this machine, and asked by a real client."""
    pictures = [path.read_bytes() for path in sorted(picture_folder.rglob("*.png"))]
    model = load_model(trained)
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    with LoopbackHub() as hub:
        plain |= {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "PYTHONWARNINGS": "ignore"}
        push = [sys.executable, "-m", "jaxcbm", "push", f"--workdir={trained}", f"--repo={NAME}"]
        secret = {"HF_TOKEN": hub.token, "HF_HOME": str(tmp_path / "pusher")}
        subprocess.run([*push, "--with-encoder"], env=plain | secret, check=True)
        serve = [sys.executable, "-m", "jaxcbm", "serve", f"--workdir=hf-hub:{NAME}", "--port=0"]
        with subprocess.Popen(
            [*serve, "--max-batch=4"],
            env=plain | {"HF_HOME": str(tmp_path / "puller")},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            try:
                assert server.stdout is not None
                address = server.stdout.readline().split()[-1]
                said = _asked(address, pictures, len(model.classes))
            finally:
                server.terminate()
    expected = model.predict(pictures)
    assert [each["label"] for each in said] == list(expected.labels)
    given = [[each["probabilities"][name] for name in model.classes] for each in said]
    np.testing.assert_allclose(given, expected.class_probabilities, rtol=0, atol=1e-6)
    assert (server.returncode, any("resolve" in line for line in hub.requests)) == (0, True)


def _asked(address: str, pictures: list[bytes], classes: int) -> list[dict]:
    """What a server says of pictures, one by one, and of the rest in a form."""
    with httpx.Client(base_url=address, timeout=60) as client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.1)
        png, options = {"content-type": "image/png"}, {"classes": classes}
        sent = [
            client.post("/v1/predict", content=picture, headers=png, params=options)
            for picture in pictures[:5]
        ]
        files = [("image", (f"{n}.png", picture)) for n, picture in enumerate(pictures[5:])]
        sent.append(client.post("/v1/predict", files=files, params=options))
    return [image for each in sent for image in each.raise_for_status().json()["images"]]
