"""Every format of weights gives the same tensors; files not whole or not safe are refused."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from flax import serialization, traverse_util
from random_clip import VARIANTS, random_tensors, write_config, write_tokenizer
from safetensors.numpy import save_file
from torch_zip import op, tensor_ops, write_torch_zip

from jaxcbm.encoders.checkpoint.restricted_pickle import read_torch_zip
from jaxcbm.encoders.checkpoint.tensor_files import read_tensors, weight_patterns
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError

GOLDENS = Path(__file__).parents[2] / "goldens"
CONFIG = VARIANTS["quick_gelu"]


def write_safetensors(folder: Path, tensors: dict) -> None:
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_shards(folder: Path, tensors: dict) -> None:
    names, weight_map = sorted(tensors), {}
    for i in range(3):
        shard = f"model-{i + 1:05d}-of-00003.safetensors"
        save_file({n: tensors[n] for n in names[i::3]}, folder / shard)
        weight_map |= dict.fromkeys(names[i::3], shard)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def write_msgpack(folder: Path, tensors: dict) -> None:
    """Flax's own naming: kernels and scales, matrices [in, out], convolutions HWIO."""
    tree = {}
    for name, array in tensors.items():
        *path, last = name.split(".")
        if last == "weight":
            if "norm" in path[-1] or "layrnorm" in path[-1]:
                last = "scale"
            elif path[-1].endswith("embedding") and array.ndim == 2:
                last = "embedding"
            else:
                last = "kernel"
                array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        tree[(*path, last)] = np.array(array, order="C")
    content = serialization.msgpack_serialize(traverse_util.unflatten_dict(tree))
    (folder / "flax_model.msgpack").write_bytes(content)


def write_bin(folder: Path, tensors: dict) -> None:
    write_torch_zip(folder / "pytorch_model.bin", tensors)


FORMATS = {
    "safetensors": write_safetensors,
    "shards": write_shards,
    "msgpack": write_msgpack,
    "bin": write_bin,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Makes a checkpoint that has everything but weights."""
    scratch = tmp_path_factory.mktemp("scratch")

    def make() -> Path:
        folder = tmp_path_factory.mktemp("checkpoint")
        write_config(folder, CONFIG)
        write_tokenizer(folder, scratch)
        return folder

    return make


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_and_precision_reads_the_same(form, dtype, tmp_path):
    tensors = {name: array.astype(dtype) for name, array in random_tensors(CONFIG).items()}
    FORMATS[form](tmp_path, tensors)
    found = dict(read_tensors(tmp_path))
    assert found.keys() == tensors.keys()
    for name, array in found.items():
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, tensors[name], err_msg=name)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_loads_as_float32(form, checkpoint):
    folder = checkpoint()
    tensors = {n: a.astype(ml_dtypes.bfloat16) for n, a in random_tensors(CONFIG).items()}
    FORMATS[form](folder, tensors)
    params = load_encoder(folder).params
    assert {str(array.dtype) for array in params.values()} == {"float32"}
    np.testing.assert_array_equal(
        params["vision.blocks.1.mlp.up.kernel"],
        tensors["vision_model.encoder.layers.1.mlp.fc1.weight"].T.astype(np.float32),
    )


def test_reads_what_torch_itself_wrote():
    tensors = read_torch_zip(GOLDENS / "torch_saved.bin")
    counting = np.arange(24, dtype=np.float32)
    shapes = {"float32": (4, 6), "float16": (2, 12), "bfloat16": (24, 1), "int64": (1, 24)}
    for name, shape in shapes.items():
        assert tensors[name].dtype.name == name
        np.testing.assert_array_equal(tensors[name].astype(np.float32), counting.reshape(shape))
    np.testing.assert_array_equal(tensors["transposed"], counting.reshape(4, 6).T)
    np.testing.assert_array_equal(tensors["sliced"], counting[4:16:2])
    np.testing.assert_array_equal(tensors["parameter"], counting.reshape(2, 3, 4))
    assert (tensors["scalar"], tensors["empty"].shape) == (5.0, (0, 3))


def test_a_pickle_that_calls_anything_is_refused_and_not_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "broken_into"),)

    path = tmp_path / "pytorch_model.bin"
    write_torch_zip(path, {"a": np.zeros(2, np.float32)}, extra=op("b") + op(Attack()))
    with pytest.raises(UserError, match=r"refused.*posix\.mkdir|refused.*nt\.mkdir"):
        dict(read_tensors(tmp_path))
    assert not (tmp_path / "broken_into").exists()


@pytest.mark.parametrize("name", ["builtins\neval", "torch\nload", "numpy\nload", "os\nsystem"])
def test_only_five_names_are_known(name, tmp_path):
    module, function = name.split("\n")
    call = f"c{name}\n".encode() + b"(" + op("1") + b"tR"
    write_torch_zip(tmp_path / "a.bin", {}, extra=op("b") + call)
    with pytest.raises(UserError, match=rf"refused.*{module}\.{function}"):
        read_torch_zip(tmp_path / "a.bin")


@pytest.mark.parametrize("shape", [(3, 3), (2**40,), (-1, 2)])
def test_a_tensor_may_not_reach_past_its_storage(shape, tmp_path):
    write_torch_zip(tmp_path / "a.bin", {"a": np.zeros((2, 2), np.float32)}, shape=shape)
    with pytest.raises(UserError, match="refused"):
        read_torch_zip(tmp_path / "a.bin")


def test_a_number_that_is_repeated_a_billion_times_is_no_tensor(tmp_path):
    one = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (2**30,), (0,))
    content = tensor_ops("0", one)
    with zipfile.ZipFile(tmp_path / "a.bin", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}(" + op("a") + content + b"u.")
        archive.writestr("archive/data/0", bytes(4))
    with pytest.raises(UserError, match="larger than its storage"):
        read_torch_zip(tmp_path / "a.bin")


def test_a_packed_file_of_zeros_is_not_unpacked(tmp_path):
    write_torch_zip(tmp_path / "a.bin", {"a": np.zeros(4, np.float32)})
    with zipfile.ZipFile(tmp_path / "a.bin", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/1", bytes(2**24))
    with pytest.raises(UserError, match="times larger"):
        read_torch_zip(tmp_path / "a.bin")


def test_the_format_before_zip_says_so(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UserError, match=r"before version 1\.6"):
        dict(read_tensors(tmp_path))


@pytest.mark.parametrize("form", ["safetensors", "msgpack", "bin"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.6, 0.999])
def test_truncated_files_say_so(form, share, tmp_path):
    FORMATS[form](tmp_path, random_tensors(CONFIG))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=r"damaged|empty file"):
        dict(read_tensors(tmp_path))


def test_missing_shards_are_named(tmp_path):
    write_shards(tmp_path, random_tensors(CONFIG))
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(UserError, match=r"incomplete download, 1 of 3.*model-00002-of-00003"):
        dict(read_tensors(tmp_path))


@pytest.mark.parametrize("shard", ["../elsewhere.safetensors", "/etc/passwd"])
def test_an_index_may_not_point_elsewhere(shard, tmp_path):
    index = {"weight_map": {"a": shard}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="not a file of this folder"):
        dict(read_tensors(tmp_path))


def test_no_weights_and_half_downloads_say_so(tmp_path):
    with pytest.raises(UserError, match=r"no weights.*model\.safetensors"):
        dict(read_tensors(tmp_path))
    (tmp_path / "model.safetensors.incomplete").write_bytes(b"x")
    with pytest.raises(UserError, match="download is incomplete"):
        dict(read_tensors(tmp_path))
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match="git lfs pull"):
        dict(read_tensors(tmp_path))


def test_the_hub_is_asked_for_one_format_only():
    both = ["config.json", "pytorch_model.bin", "flax_model.msgpack", "tf_model.h5"]
    assert weight_patterns(both)[0] == "flax_model.msgpack"
    sharded = ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"]
    assert "pytorch_model-*.bin" in weight_patterns(sharded)
    assert weight_patterns(["tf_model.h5"]) == []


def test_strict_both_ways_and_all_at_once(checkpoint):
    tensors = random_tensors(CONFIG)
    del tensors["visual_projection.weight"], tensors["text_model.final_layer_norm.bias"]
    tensors["text_model.embeddings.position_embedding.weight"] = np.zeros((5, 24), np.float32)
    tensors["text_projection.weight"] = np.zeros((40,), np.float32)
    tensors["vision_model.encoder.layers.9.mlp.fc1.bias"] = np.zeros(48, np.float32)
    tensors["classifier.weight"] = np.zeros(3, np.float32)
    tensors["logit_scale"] = np.array(3, np.int64)
    folder = checkpoint()
    write_safetensors(folder, tensors)
    with pytest.raises(UserError) as caught:
        load_encoder(folder)
    said = str(caught.value)
    assert "\n" not in said
    assert "2 missing: text_model.final_layer_norm.bias, visual_projection.weight" in said
    assert "2 unknown: classifier.weight, vision_model.encoder.layers.9.mlp.fc1.bias" in said
    assert "3 mis-shaped" in said
    assert "text_model.embeddings.position_embedding.weight [5, 24] instead of [20, 24]" in said
    assert "text_projection.weight [40] instead of [40, 24]" in said
    assert "logit_scale of type int64 instead of a float" in said


def test_only_position_ids_are_ignored(checkpoint):
    folder = checkpoint()
    tensors = random_tensors(CONFIG)
    for tower, count in (("text", 20), ("vision", 17)):
        name = f"{tower}_model.embeddings.position_ids"
        tensors[name] = np.arange(count, dtype=np.int64)[None]
    write_safetensors(folder, tensors)
    load_encoder(folder)
    tensors["elsewhere.position_ids"] = np.arange(3)
    write_safetensors(folder, tensors)
    with pytest.raises(UserError, match=r"1 unknown: elsewhere\.position_ids"):
        load_encoder(folder)
