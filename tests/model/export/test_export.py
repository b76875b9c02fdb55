import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import export
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image, ImageOps, UnidentifiedImageError
from safetensors.numpy import load_file
from test_hostile_pictures import BYTES

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.bottleneck.scores import InputMap, raw_map
from jaxcbm.cli import main
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.encoders.image.file import MAX_BYTES
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.model.calibration import fit_calibration
from jaxcbm.model.export.program import ExportedProgram
from jaxcbm.model.export.readme import readme
from jaxcbm.model.model import Model, load_model

PHRASES = ("a red crown", "a long tail", "white spots", "a short bill", "a blue wing")
CLASSES = ("owl", "tern", "wren")
SHAPES = [(20, 31), (64, 40), (16, 16), (90, 17), (33, 34), (12, 50), (40, 40)]


def pictures():
    rng = np.random.default_rng(5)
    return [Image.fromarray(rng.integers(0, 256, (*hw, 3), np.uint8)) for hw in SHAPES]


def make_model(folder, **config) -> Model:
    """Random weights on a small encoder; nothing here needs a fitted one."""
    encoder = load_encoder(folder)
    settled = BottleneckConfig(**config)
    concepts_DxE = encoder.embed_texts(PHRASES)
    mapping = raw_map(concepts_DxE, encoder.logit_scale)
    if settled.layer == "factored":
        mapping = InputMap(None, np.linspace(-1, 1, encoder.embed_dim, dtype=np.float32))
    width = mapping.bias.shape[0]
    _, params = build_bottleneck(settled, width, len(PHRASES), len(CLASSES), seed=3)
    return Model(
        config=settled,
        params={name: np.asarray(value) for name, value in params.items()},
        input_map=InputMap(mapping.kernel, np.asarray(mapping.bias)),
        concepts=ConceptSet.from_phrases(PHRASES),
        concept_embeddings=concepts_DxE,
        classes=CLASSES,
        encoder_name=str(folder),
        encoder_hash=encoder.content_hash,
        logit_scale=encoder.logit_scale,
        logit_bias=encoder.logit_bias,
    )


CONFIGS = [
    {"parameterisation": "residual"},
    {"parameterisation": "full", "sampler": "top_k", "k": 2},
    {"parameterisation": "factored", "sampler": "gumbel_softmax", "head_bias": False},
    {"parameterisation": "factored", "objective": "sigmoid", "sampler": "sigmoid"},
]


@pytest.fixture(scope="module")
def moved(tmp_path_factory, tiny_encoder_folder):
    """An exported folder with its encoder, moved, and the model it came from."""
    folder = tmp_path_factory.mktemp("export")
    encoder = shutil.copytree(tiny_encoder_folder, folder / "encoder")
    model = make_model(encoder, **CONFIGS[0])
    model.save(folder / "run" / "model")
    argv = ["-q", "export", f"--workdir={folder / 'run'}", f"--output={folder / 'exported'}"]
    assert main([*argv, "--with-encoder"]) == 0
    before = model.predict(pictures())
    shutil.rmtree(encoder)
    return (folder / "exported").rename(folder / "elsewhere"), before, model


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config["parameterisation"])
def test_the_program_says_what_the_model_says_for_any_batch(config, tiny_encoder_folder, tmp_path):
    model = make_model(tiny_encoder_folder, **config)
    rows = np.eye(2, len(PHRASES), dtype=np.float32)
    labels = np.arange(2)
    record = fit_calibration(rows, labels, rows, np.eye(2, 3), labels)
    record = replace(record, temperature=0.3)
    model = replace(model, calibration=record)
    model.save(tmp_path / "model")
    argv = ["-q", "export", f"--workdir={tmp_path / 'model'}", f"--output={tmp_path / 'out'}"]
    assert main(argv) == 0
    place = tmp_path / "out" / "program"
    program = export.deserialize(bytearray((place / "predict.stablehlo").read_bytes()))
    weights = load_file(place / "weights.safetensors")
    assert program.platforms == ("cpu", "cuda", "tpu")
    predict = jax.jit(program.call)
    expected = model.predict(pictures())
    pixels = np.stack([model.loaded_encoder.preprocess(image) for image in pictures()])
    for batch in (pixels, pixels[:1], pixels[2:5]):
        start = 2 if len(batch) == 3 else 0
        rows = slice(start, start + len(batch))
        out = predict(weights, batch)
        np.testing.assert_allclose(
            out["class_logits"], expected.class_logits[rows], rtol=1e-5, atol=1e-5
        )
        np.testing.assert_allclose(
            out["concept_activations"], expected.concept_activations[rows], rtol=1e-5, atol=1e-5
        )
        np.testing.assert_allclose(
            out["class_probabilities"], expected.class_probabilities[rows], rtol=1e-4, atol=1e-6
        )
    # As the exported README computes a contribution.
    said = json.loads((place / "program.json").read_text())
    beside = np.asarray(predict(weights, pixels)["concept_activations"]) - said["neutral"]
    np.testing.assert_allclose(beside, expected.evidence, rtol=1e-4, atol=1e-5)
    assert np.ptp(expected.class_logits, axis=0).max() > 1e-3, "the pictures are all alike"


def test_the_program_carries_no_weight_that_it_does_not_read(moved):
    names = load_file(moved[0] / "program" / "weights.safetensors")
    assert any(name.startswith("encoder.vision.") for name in names)
    assert not any(name.startswith("encoder.text.") for name in names)
    assert not list(moved[0].rglob("*.pkl"))


def test_an_exported_folder_serves_without_the_encoder_it_came_from(moved):
    folder, before, original = moved
    model = load_model(folder)
    after = model.predict(pictures())
    np.testing.assert_allclose(after.class_logits, before.class_logits, rtol=1e-6, atol=1e-6)
    assert model.classes == original.classes and model.encoder_name == original.encoder_name
    assert model.loaded_encoder.content_hash == original.encoder_hash


def files_of_every_mode(folder) -> list[Path]:
    """The same noise as RGBA, palettes, CMYK, grey of all depths, JPEGs of every orientation."""
    folder.mkdir()
    shapes, rng = pictures(), np.random.default_rng(2)
    rgb = Image.fromarray(rng.integers(0, 256, (40, 23, 3), np.uint8))
    clear = Image.fromarray(rng.integers(0, 256, (40, 23), np.uint8))
    deep = rng.integers(0, 65536, (31, 40)).astype(np.uint16)
    palette, half = rgb.quantize(32), clear.convert("LA")
    half.putalpha(clear.rotate(180))
    rgba = rgb.copy()
    rgba.putalpha(clear)
    kinds = {
        "rgba.png": (rgba, {}),
        "palette.png": (palette, {}),
        "clear_palette.png": (palette, {"transparency": 3}),
        "clear_colour.png": (rgb, {"transparency": rgb.getpixel((0, 0))}),
        "palette.gif": (palette, {"transparency": 5}),
        "cmyk.jpg": (rgb.convert("CMYK"), {}),
        "cmyk.tif": (rgb.convert("CMYK"), {}),
        "deep.png": (Image.fromarray(deep), {}),
        "deep.tif": (Image.fromarray(deep), {}),
        "wide.tif": (Image.fromarray(deep.astype(np.int32)), {}),
        "grey_alpha.png": (half, {}),
        "bits.png": (clear.convert("1"), {}),
        "grey.png": (clear, {}),
        **{f"plain{i}.png": (picture, {}) for i, picture in enumerate(shapes)},
    }
    for orientation in range(1, 9):
        turned = Image.Exif()
        turned[0x0112] = orientation
        kinds[f"turned{orientation}.jpg"] = (rgb, {"exif": turned})
    for name, (picture, how) in kinds.items():
        picture.save(folder / name, **how)
    return sorted(folder.iterdir())


def everything_but(stated: list[str]) -> list[str]:
    """Top modules of what is installed and neither stated nor needed by what is."""
    wanted, waiting = set(), list(stated)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in wanted:
            continue
        wanted.add(name)
        for text in metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
    modules = metadata.packages_distributions().items()
    others = [m for m, of in modules if not wanted & {canonicalize_name(name) for name in of}]
    return ["jaxcbm", *others]


def run_recipe(folder: Path, parts: tuple[str, ...], files: list[Path]) -> tuple[list, np.ndarray]:
    """What the code of some parts of a README says of files, with no package but those they name.

    The folder's own page is run in a process of its own.
    """
    page = (folder / "README.md").read_text()
    sections = [page.split(f"## {part}\n")[1].split("\n## ")[0] for part in parts]
    code = "".join(re.findall(r"```python\n(.*?)```", "".join(sections), re.DOTALL))
    stated = " ".join(re.findall(r"^`pip install (.*?)`", "".join(sections), re.MULTILINE)).split()
    blocked = everything_but(stated)
    assert {"jaxcbm", "flax", "matplotlib"} <= set(blocked) and "PIL" not in blocked
    script = (
        f"import sys\nsys.modules.update(dict.fromkeys({blocked!r}))\n"
        + code
        + f"\nlabels, out = classify({[str(file) for file in files]!r})\n"
        "print(json.dumps([labels, np.asarray(out['class_logits']).tolist()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    labels, logits = json.loads(done.stdout)
    return labels, np.array(logits)


def test_the_readme_code_needs_what_it_states_alone_and_agrees_on_every_kind_of_file(
    moved, tmp_path
):
    folder, _, _ = moved
    files = files_of_every_mode(tmp_path / "files")
    labels, logits = run_recipe(folder, ("From a file to pixels", "With jax alone"), files)
    said = tmp_path / "labels.jsonl"
    argv = ["-q", "predict", f"--workdir={folder}", f"--images={tmp_path / 'files'}"]
    assert main([*argv, f"--output={said}"]) == 0
    rows = {Path(row["file"]).name: row for row in map(json.loads, said.read_text().splitlines())}
    ours = [rows[file.name]["label"] for file in files]
    assert dict(zip(files, labels, strict=True)) == dict(zip(files, ours, strict=True))
    expected = load_model(folder).predict(files).class_logits
    for file, theirs, here in zip(files, logits, expected, strict=True):
        np.testing.assert_allclose(theirs, here, rtol=1e-5, atol=1e-5, err_msg=file.name)


def test_the_onnx_graph_says_what_the_model_says(moved, tmp_path):
    """Runs where jax2onnx is (docs/exports.md); Triton's configuration is held to the graph."""
    pytest.importorskip("jax2onnx", reason="jax2onnx lives in an environment of its own")
    import onnxruntime

    out = tmp_path / "out"
    assert main(["-q", "export", f"--workdir={moved[0]}", f"--output={out}", "--onnx"]) == 0
    files = files_of_every_mode(tmp_path / "files")
    parts = "From a file to pixels", "With ONNX Runtime"
    expected = load_model(moved[0]).predict(files)
    for rows in (slice(0, 1), slice(0, None)):
        labels, logits = run_recipe(out, parts, files[rows])
        assert tuple(labels) == expected.labels[rows]
        np.testing.assert_allclose(logits, expected.class_logits[rows], rtol=1e-5, atol=1e-5)
    config = (out / "onnx" / "cbm" / "config.pbtxt").read_text()
    session = onnxruntime.InferenceSession(out / "onnx" / "cbm" / "1" / "model.onnx")
    types = {"tensor(uint8)": "TYPE_UINT8", "tensor(float)": "TYPE_FP32"}
    for each in (*session.get_inputs(), *session.get_outputs()):
        dims = ", ".join(map(str, each.shape[1:]))
        assert f'name: "{each.name}" data_type: {types[each.type]} dims: [ {dims} ]' in config


SIZES = [
    {"size": 16, "crop_size": 16},
    {"size": {"shortest_edge": 20}, "crop_size": {"height": 16, "width": 24}},
    {"size": {"shortest_edge": 18, "longest_edge": 30}, "do_center_crop": False},
    {"size": {"height": 12, "width": 17}, "crop_size": 16},
    {"do_resize": False, "crop_size": 27},
]


def recipe(how: Preprocess) -> dict:
    """What the README's code that opens pictures defines."""
    program = ExportedProgram(b"", {}, 16, "float32", ("cpu",))
    page = readme(program, how, "encoder", with_encoder=False, with_onnx=False)
    names: dict = {"Image": Image, "ImageOps": ImageOps, "np": np, "Path": Path}
    exec(page[page.index("Image.init()") : page.index("```\n\n## With jax")], names)
    return names


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_the_readme_resizes_and_crops_as_the_encoder_does(sizes, rounded, tmp_path):
    how = Preprocess.from_hf({"image_processor_type": "CLIPImageProcessor", **sizes})
    how = replace(how, rounded_corner=rounded)
    names = recipe(how)
    for i, image in enumerate(pictures()):
        image.save(tmp_path / f"{i}.png")
        ours, theirs = names["pixels"](tmp_path / f"{i}.png"), how(tmp_path / f"{i}.png")
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", BYTES)
def test_the_readme_refuses_what_the_encoder_refuses(name, tmp_path):
    how = Preprocess.square(16)
    (tmp_path / name).write_bytes(BYTES[name][0])
    with pytest.raises(UserError):
        how(tmp_path / name)
    with pytest.raises((ValueError, UnidentifiedImageError, Image.DecompressionBombError)):
        recipe(how)["pixels"](tmp_path / name)


def test_the_readme_waits_for_no_pipe_and_reads_no_vast_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with open(tmp_path / "sparse.png", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    for name in ("pipe.png", "sparse.png"):
        with pytest.raises(ValueError, match="not an ordinary file"):
            recipe(Preprocess.square(16))["pixels"](tmp_path / name)


def test_a_program_in_bfloat16_holds_half_the_bytes_and_says_what_the_model_says_in_it(
    moved, tmp_path
):
    folder, _, _ = moved
    argv = ["-q", "export", f"--workdir={folder}", f"--output={tmp_path / 'out'}"]
    assert main([*argv, "--dtype=bfloat16"]) == 0
    place, whole = tmp_path / "out" / "program", folder / "program"
    assert json.loads((place / "program.json").read_text())["dtype"] == "bfloat16"
    program = export.deserialize(bytearray((place / "predict.stablehlo").read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")
    weights, wide = (load_file(p / "weights.safetensors") for p in (place, whole))
    kinds = {str(array.dtype) for array in weights.values()}
    assert kinds == {"float32", "bfloat16"} and weights.keys() == wide.keys()
    size = {p: (p / "weights.safetensors").stat().st_size for p in (place, whole)}
    assert size[place] < 0.75 * size[whole]
    model = load_model(folder)
    pixels = np.stack([model.loaded_encoder.preprocess(image) for image in pictures()])
    out = jax.jit(program.call)(weights, pixels)
    said = model.on(dtype="bfloat16").predict(pixels)
    np.testing.assert_allclose(out["class_logits"], said.class_logits, rtol=1e-4, atol=1e-4)
    exact = model.predict(pixels).class_logits
    assert np.abs(said.class_logits - exact).max() > 1e-4, "nothing was rounded"


def test_the_folder_names_its_contents(moved):
    said = json.loads((moved[0] / "program" / "program.json").read_text())
    assert tuple(said["classes"]) == CLASSES and tuple(said["concepts"]) == PHRASES
    assert said["inputs"]["pixels"]["shape"] == ["b", 16, 16, 3]
    assert said["outputs"]["concept_activations"]["shape"] == ["b", len(PHRASES)]


def test_nothing_is_overwritten_and_mistakes_are_one_line(moved, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    for argv, word in (
        ([f"--workdir={moved[0]}", f"--output={tmp_path / 'full'}"], "already"),
        ([f"--workdir={moved[0]}", f"--output={tmp_path / 'x'}", "--platforms=gpu"], "'gpu'"),
        ([f"--workdir={tmp_path}", f"--output={tmp_path / 'x'}"], "no finished model"),
    ):
        assert main(["-q", "export", *argv]) == 2
        assert word in capsys.readouterr().err
    assert (tmp_path / "full" / "thesis.txt").read_text() == "years of work"
    assert not (tmp_path / "x").exists()


def test_a_name_is_not_needed_twice(moved, tmp_path):
    """What was exported with its encoder can be exported again."""
    assert main(["-q", "export", f"--workdir={moved[0]}", f"--output={tmp_path / 'again'}"]) == 0
    assert not (Path(tmp_path) / "again" / "encoder").exists()
