"""From a picture to the pixels an image tower was trained on, equal to transformers' PIL processor.

The costly half, resize and crop, works on uint8 with PIL alone, so that it runs in threads and
worker processes; rescaling and normalising happen on the device.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxcbm.encoders.image.open import ImageLike, open_image
from jaxcbm.encoders.image.processor_file import (
    Colours,
    height_width,
    read_normalisation,
    read_size,
    with_defaults,
)
from jaxcbm.encoders.json_file import field, read_json
from jaxcbm.errors import UserError

__all__ = ["ImageLike", "Preprocess", "open_image"]

PREPROCESS_FILES = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class Preprocess:
    """How pictures become pixels.

    Attributes:
        shortest_edge: pixels of the shorter edge after resizing, or None.
        longest_edge: upper limit of the longer edge, or None; only with `shortest_edge`.
        resize: (height, width) after resizing, where `shortest_edge` is None; None: no resizing.
        crop: (height, width) cut from the middle, padded with black; None: no crop.
        resample: PIL's filter.
        scale: factor from bytes to floats.
        mean, std: per colour, subtracted and divided after scaling.
        rounded_corner: where the crop's corner falls between pixels, take the even one, as
            torchvision does, instead of the lower one, as transformers does.

    >>> clip = Preprocess.square(4)
    >>> clip(np.zeros((8, 6, 3), np.uint8)).shape
    (4, 4, 3)
    """

    shortest_edge: int | None
    longest_edge: int | None
    resize: tuple[int, int] | None
    crop: tuple[int, int] | None
    resample: int
    scale: float
    mean: Colours
    std: Colours
    rounded_corner: bool = False

    @classmethod
    def square(cls, size: int) -> "Preprocess":
        """CLIP's own preprocessing for square pictures of `size` pixels."""
        return cls.from_hf({"size": size, "crop_size": size})

    @classmethod
    def from_hf(cls, settings: Mapping[str, Any], where: str = "preprocessor") -> "Preprocess":
        """Read the content of a preprocessor_config.json.

        Args:
            settings: the parsed file; keys left out have the defaults of its processor type.
            where: what to call the file in a message.

        Raises:
            UserError: a processor type or a form of size that is not supported.
        """
        c = with_defaults(settings, where)
        if c.get("do_pad"):
            raise UserError(f"{where}: do_pad is not supported; only resize and centre crop are")
        edge = longest = resize = None
        if c["do_resize"]:
            edge, longest, resize = read_size(c["size"], c["default_to_square"], where)
        crop = read_size(c["crop_size"], True, where)[2] if c["do_center_crop"] else None
        mean, std = read_normalisation(c, where)
        return cls(
            shortest_edge=edge,
            longest_edge=longest,
            resize=resize,
            crop=crop,
            resample=int(c["resample"]),
            scale=c["rescale_factor"] if c["do_rescale"] else 1.0,
            mean=mean,
            std=std,
        )

    @classmethod
    def from_folder(cls, folder: Path) -> "Preprocess":
        """Read a checkpoint's own file, `preprocessor_config.json` or `processor_config.json`."""
        for name in PREPROCESS_FILES:
            path = folder / name
            if not path.is_file():
                continue
            settings = read_json(path, "an image processor's configuration")
            nested = field(settings, "image_processor", dict[str, Any] | None, str(path))
            settings = settings if nested is None else nested
            if name == PREPROCESS_FILES[0] or settings.keys() & {"size", "image_mean", "crop_size"}:
                return cls.from_hf(settings, str(path))
        raise UserError(
            f"{folder}: no {' or '.join(PREPROCESS_FILES)}; download the checkpoint's own, "
            "it says how pictures are resized and normalised"
        )

    def to_hf(self) -> dict[str, Any]:
        """The content of a preprocessor_config.json that transformers reads the same way."""
        size: dict[str, int] = {}
        if self.shortest_edge is not None:
            size["shortest_edge"] = self.shortest_edge
        if self.longest_edge is not None:
            size["longest_edge"] = self.longest_edge
        if self.resize is not None:
            size = height_width(self.resize)
        return {
            "image_processor_type": "CLIPImageProcessor",
            "do_convert_rgb": True,
            "do_resize": bool(size),
            **({"size": size} if size else {}),
            "resample": self.resample,
            "do_center_crop": self.crop is not None,
            **({"crop_size": height_width(self.crop)} if self.crop else {}),
            "do_rescale": True,
            "rescale_factor": self.scale,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
        }

    def at_size(self, size: int) -> "Preprocess":
        """The same for square results of another size: edges and crop in proportion.

        Args:
            size: height and width in pixels of every result, which has been square so far.

        >>> Preprocess.square(224).at_size(336).shortest_edge
        336
        """
        if self.output_size is None:
            raise ValueError("the results have no size of their own")
        old = self.output_size[0]

        def scaled(edge: int | None) -> int | None:
            return None if edge is None else round(edge * size / old)

        return replace(
            self,
            shortest_edge=scaled(self.shortest_edge),
            longest_edge=scaled(self.longest_edge),
            resize=self.resize and tuple(round(edge * size / old) for edge in self.resize),
            crop=self.crop and (size, size),
        )

    @property
    def output_size(self) -> tuple[int, int] | None:
        """(height, width) of every result, or None where it depends on the picture."""
        return self.crop or self.resize

    def __call__(self, source: ImageLike) -> np.ndarray:
        """Open, resize and crop: anything `open_image` takes -> uint8 [H, W, 3]."""
        return self.resize_and_crop(open_image(source))

    def resize_and_crop(self, image: Image.Image) -> np.ndarray:
        """Resize and crop an RGB picture -> uint8 [H, W, 3]."""
        if (resized := self._resized(image.height, image.width)) is not None:
            height, width = resized
            image = image.resize((width, height), resample=Image.Resampling(self.resample))
        if self.crop is not None:
            image = _centre_crop(image, self.crop, self.rounded_corner)
        return np.asarray(image)

    def keeps_all(self, image: Image.Image) -> bool:
        """Whether the result shows all of a picture, in its proportions and without a margin.

        >>> clip = Preprocess.square(4)
        >>> clip.keeps_all(Image.new("RGB", (9, 9))), clip.keeps_all(Image.new("RGB", (9, 6)))
        (True, False)
        """
        height, width = self._resized(image.height, image.width) or (image.height, image.width)
        # A rounded edge is no other shape.
        same = abs(width * image.height - height * image.width) <= max(image.size)
        return same and self.crop in (None, (height, width))

    def normalise(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [..., 3] -> float32 [..., 3]; the towers do the same on the device."""
        scaled = pixels.astype(np.float32) * np.float32(self.scale)
        return (scaled - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)

    def _resized(self, height: int, width: int) -> tuple[int, int] | None:
        if self.shortest_edge is None:
            return self.resize
        short, long = min(height, width), max(height, width)
        edge: float = self.shortest_edge
        # With a limit the short edge is rounded, but the long edge comes from its exact value.
        if self.longest_edge is not None and long / short * edge > self.longest_edge:
            edge = self.longest_edge * short / long
        new_short, new_long = round(edge), int(edge * long / short)
        if self.longest_edge is not None and short == new_short:
            return height, width
        return (new_long, new_short) if width <= height else (new_short, new_long)


def _centre_crop(image: Image.Image, size: tuple[int, int], rounded: bool) -> Image.Image:
    """The middle of a picture; a picture too small is padded with black."""
    corner: list[int] = []
    for have, want in ((image.height, size[0]), (image.width, size[1])):
        spare = have - want
        # Of an odd margin the wider half stands before the picture.
        corner.append(round(spare / 2) if rounded and spare > 0 else spare // 2)
    top, left = corner
    return image.crop((left, top, left + size[1], top + size[0]))
