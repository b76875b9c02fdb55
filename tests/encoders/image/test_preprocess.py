"""Pixels equal to those of transformers' PIL processor, for every file and every image mode."""

import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image
from transformers import CLIPImageProcessorPil, EfficientNetImageProcessorPil

from jaxcbm.encoders.image.preprocess import Preprocess, open_image
from jaxcbm.errors import UserError


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth colours with noise: a filter or a crop that is slightly off shows at once."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / (3 + c)) + np.cos(y / (5 + c)) for c in range(channels)], axis=-1)
    return np.clip(128 + 50 * waves + random.normal(0, 20, waves.shape), 0, 255).astype(np.uint8)


SETTINGS = {
    "as released": {"size": 32, "crop_size": 32},
    "newer form": {
        "size": {"shortest_edge": 32},
        "crop_size": {"height": 32, "width": 32},
        "resample": 3,
    },
    "crop larger than the resized": {"size": 20, "crop_size": 33},
    "crop of an odd remainder": {"size": 33, "crop_size": 32},
    "bilinear, own statistics": {
        "size": 32,
        "crop_size": 32,
        "resample": 2,
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [0.5, 0.6, 0.7],
    },
    "rectangle": {"size": {"height": 32, "width": 32}, "do_center_crop": False},
    "longest edge": {"size": {"shortest_edge": 24, "longest_edge": 30}, "crop_size": 32},
    "no resize": {"do_resize": False, "crop_size": 16},
    "no rescale, no normalise": {
        "size": 32,
        "crop_size": 32,
        "do_rescale": False,
        "do_normalize": False,
    },
    "other factor": {"size": 32, "crop_size": 32, "rescale_factor": 1 / 127.5},
}
SIZES = [(40, 60), (61, 37), (32, 32), (20, 90), (50, 31)]


@pytest.mark.parametrize("settings", SETTINGS)
def test_equals_transformers(settings):
    ours = Preprocess.from_hf(SETTINGS[settings])
    theirs = CLIPImageProcessorPil(**SETTINGS[settings])
    for height, width in SIZES:
        image = Image.fromarray(picture(height, width))
        want = theirs(image, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
        pixels = ours(image)
        assert pixels.dtype == np.uint8
        np.testing.assert_allclose(ours.normalise(pixels), want, atol=1e-6, rtol=1e-6)


ALIGN = {
    "size": {"height": 40, "width": 40},
    "crop_size": {"height": 33, "width": 33},
    "do_center_crop": True,
    "do_normalize": False,
    "include_top": False,
    "resample": 2,
    "rescale_factor": 1 / 127.5,
    "rescale_offset": True,
}
EFFICIENT_NETS = {
    "ALIGN as released": ALIGN,
    "defaults": {"size": {"height": 32, "width": 32}},
    "offset and both normalisations": {
        **ALIGN,
        "do_normalize": True,
        "include_top": True,
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [0.5, 0.6, 0.7],
    },
    "divided without a mean": {**ALIGN, "include_top": True, "image_std": [0.5, 0.6, 0.7]},
    "no rescale, so no offset": {**ALIGN, "do_rescale": False},
}


@pytest.mark.parametrize("settings", EFFICIENT_NETS)
def test_efficient_net_equals_transformers(settings):
    how = EFFICIENT_NETS[settings]
    ours = Preprocess.from_hf({"image_processor_type": "EfficientNetImageProcessor", **how})
    theirs = EfficientNetImageProcessorPil(**how)
    for height, width in SIZES:
        image = Image.fromarray(picture(height, width))
        want = theirs(image, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
        for same in (ours, Preprocess.from_hf(ours.to_hf())):
            np.testing.assert_allclose(same.normalise(same(image)), want, atol=2e-6, rtol=2e-6)


def _modes() -> dict[str, Image.Image]:
    rgb, alpha = picture(45, 64), picture(45, 64, 1, seed=1)[..., 0]
    rgba = Image.fromarray(np.dstack([rgb, alpha]))
    grey = Image.fromarray(rgb[..., 0])
    see_through = Image.fromarray(rgb).quantize(16)
    see_through.info["transparency"] = 3
    return {
        "RGB": Image.fromarray(rgb),
        "L": grey,
        "LA": Image.merge("LA", [grey, Image.fromarray(alpha)]),
        "RGBA": rgba,
        "P": Image.fromarray(rgb).quantize(16),
        "P with transparency": see_through,
        "CMYK": Image.fromarray(rgb).convert("CMYK"),
        "YCbCr": Image.fromarray(rgb).convert("YCbCr"),
        "HSV": Image.fromarray(rgb).convert("HSV"),
        "1": grey.convert("1"),
    }


@pytest.mark.parametrize("mode", _modes())
def test_every_mode_equals_transformers(mode):
    image = flat = _modes()[mode]
    if image.has_transparency_data:
        # What lies under transparency differs between versions of transformers.
        flat = Image.new("RGBA", image.size, "white")
        flat.alpha_composite(image.convert("RGBA"))
        flat = flat.convert("RGB")
    want = CLIPImageProcessorPil(size=32, crop_size=32)(flat, return_tensors="np")
    pixels = Preprocess.square(32)(image)
    ours = Preprocess.square(32).normalise(pixels)
    np.testing.assert_allclose(ours, want["pixel_values"][0].transpose(1, 2, 0), atol=1e-6)
    assert pixels.std() > 5


def test_transparency_becomes_white():
    clear = Image.fromarray(np.zeros((4, 4, 4), np.uint8))
    assert np.all(np.asarray(open_image(clear)) == 255)


@pytest.mark.parametrize("form", ["png", "tiff", "array", "array of colours", "32 bits"])
def test_sixteen_bits_are_scaled_and_not_clipped(form):
    eight = picture(30, 40)[..., :1]
    deep = eight[..., 0].astype(np.uint16) * 257
    if form == "array":
        image = open_image(deep)
    elif form == "array of colours":
        image = open_image(np.repeat(deep[..., None], 3, axis=-1))
    elif form == "32 bits":
        image = open_image(Image.fromarray(deep.astype(np.int32)))
    else:
        file = io.BytesIO()
        Image.fromarray(deep).save(file, form)
        image = open_image(file.getvalue())
    np.testing.assert_array_equal(np.asarray(image), np.repeat(eight, 3, axis=-1))


def test_camera_orientation_is_applied(tmp_path):
    pixels = picture(20, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see it upright
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(
        np.asarray(open_image(tmp_path / "a.png")), np.rot90(pixels, k=-1)
    )


@pytest.mark.parametrize(
    "array",
    [
        picture(6, 5)[..., 0] > 128,
        picture(6, 5)[..., :1],
        picture(6, 5, 4),
        picture(6, 5).astype(np.float32) / np.float32(255),
    ],
    ids=["bool", "one channel", "four channels", "floats"],
)
def test_arrays_of_every_kind(array):
    image = open_image(array)
    assert (image.mode, image.size) == ("RGB", (5, 6))
    assert np.asarray(image).std() > 0


def test_float_arrays_round_to_the_same_bytes():
    pixels = picture(6, 5)
    np.testing.assert_array_equal(np.asarray(open_image(pixels / 255.0)), pixels)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"not a picture", "13 bytes: not a picture"),
        (b"", "empty file"),
        (np.zeros((2, 2, 5), np.uint8), "is no picture"),
        (np.zeros((0, 2), np.uint8), "is no picture"),
        (np.full((2, 2), 7.0), "scale them to 0..1"),
        (np.full((2, 2), np.nan), "scale them to 0..1"),
        (np.full((2, 2), 1j), "is no picture"),
    ],
)
def test_what_is_no_picture_says_so(source, said):
    with pytest.raises(UserError, match=said):
        open_image(source)


def test_truncated_and_absent_files_say_so(tmp_path):
    file = io.BytesIO()
    Image.fromarray(picture(40, 40)).save(file, "png")
    (tmp_path / "half.png").write_bytes(file.getvalue()[:200])
    for name, why in {"half.png": "cut short", "absent.png": "No such file"}.items():
        with pytest.raises(UserError, match=rf"{name}: {why}"):
            open_image(tmp_path / name)


def test_settings_come_from_either_file(tmp_path):
    settings = {"image_processor_type": "CLIPImageProcessor", "size": 48, "crop_size": 40}
    want = Preprocess.from_hf(settings)
    nested = {"processor_class": "CLIPProcessor", "image_processor": settings}
    (tmp_path / "processor_config.json").write_text(json.dumps(nested))
    assert Preprocess.from_folder(tmp_path) == want
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    (tmp_path / "processor_config.json").write_text('{"processor_class": "CLIPProcessor"}')
    assert Preprocess.from_folder(tmp_path) == want


@pytest.mark.parametrize("settings", SETTINGS)
def test_written_settings_read_back(settings):
    ours = Preprocess.from_hf(SETTINGS[settings])
    assert Preprocess.from_hf(ours.to_hf()) == ours
    image = Image.fromarray(picture(50, 31))
    theirs = CLIPImageProcessorPil(**ours.to_hf())(image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(ours.normalise(ours(image)), theirs.transpose(1, 2, 0), atol=1e-6)


def test_survives_pickling_to_a_worker():
    ours = Preprocess.square(32)
    assert pickle.loads(pickle.dumps(ours)) == ours


@pytest.mark.parametrize(
    "settings",
    [
        {"image_processor_type": "BlipImageProcessor"},
        {"size": {"longest_edge": 30}},
        {"size": "large"},
        {"do_pad": True},
    ],
)
def test_unsupported_settings_say_so(settings):
    with pytest.raises(UserError, match="support"):
        Preprocess.from_hf(settings)


def test_absent_and_damaged_files_say_so(tmp_path):
    with pytest.raises(UserError, match=r"no preprocessor_config\.json"):
        Preprocess.from_folder(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(UserError, match="not a JSON file"):
        Preprocess.from_folder(tmp_path)


def test_a_folder_and_a_name_that_is_not_there_get_other_advice(tmp_path):
    with pytest.raises(UserError, match=r"is a folder: give jaxcbm.readable"):
        open_image(tmp_path)
    with pytest.raises(UserError, match=r"No such file.*; look at its name"):
        open_image(tmp_path / "absent.png")


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "JPEG2000", "PNG", "TIFF", "WEBP"])
def test_half_a_file_is_cut_short_or_damaged_in_our_own_words(kind):
    file = io.BytesIO()
    Image.fromarray(picture(40, 40)).save(file, kind)
    plain = rf"bytes: (cut short: .*|damaged: .*|a damaged {kind} file); replace or remove it$"
    with pytest.raises(UserError, match=plain):
        open_image(file.getvalue()[: len(file.getvalue()) // 2])


@pytest.mark.parametrize(
    "head, name",
    [(b"\0\0\0\x18ftypheic", "HEIC"), (b"%PDF-1.4", "PDF"), (b"%!PS", "PostScript")],
)
def test_a_known_format_that_is_not_read_is_named(head, name):
    with pytest.raises(UserError, match=f"{name} is not read: save it as JPEG or PNG"):
        open_image(head + bytes(40))
