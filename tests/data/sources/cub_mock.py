"""CUB-200-2011 in small: its folder as the archive leaves it, and caltech_birds2011 as prepared."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

CERTAINTIES = ("not visible", "guessing", "probably", "definitely")


class Photograph(NamedTuple):
    """One photograph.

    Attributes:
        species: "001.Black_footed_Albatross".
        number: of it among those of its species.
        train: whether it is for training.
        picture: what it shows.
    """

    species: str
    number: int
    train: bool
    picture: Image.Image

    @property
    def file(self) -> str:
        return f"{self.species}/{self.species[4:]}_{self.number:04d}_{self.number}.jpg"


def write_folder(
    root: Path,
    photographs: Sequence[Photograph],
    attributes: Sequence[str],
    answers: Sequence[tuple[int, int, int, int]],
) -> Path:
    """CUB_200_2011 in `root`, with attributes.txt beside it.

    Answers are image, attribute, present and certainty; numbers begin with 1.
    """
    folder = root / "CUB_200_2011"
    (folder / "attributes").mkdir(parents=True)
    species = sorted({photograph.species for photograph in photographs})

    def numbered(path: Path, lines: Sequence[object]) -> None:
        path.write_text("".join(f"{n} {line}\n" for n, line in enumerate(lines, start=1)))

    numbered(root / "attributes.txt", attributes)
    numbered(folder / "images.txt", [photograph.file for photograph in photographs])
    numbered(folder / "classes.txt", species)
    numbered(folder / "image_class_labels.txt", [1 + species.index(p.species) for p in photographs])
    numbered(folder / "train_test_split.txt", [int(p.train) for p in photographs])
    numbered(folder / "attributes/certainties.txt", CERTAINTIES)
    lines = ["{} {} {} {} 3.25".format(*answer) for answer in answers]
    lines[4] = lines[4].replace(" 3.25", " 0 7.1")  # as in image 2275 of the published file
    (folder / "attributes/image_attribute_labels.txt").write_text("\n".join(lines) + "\n")
    return folder


def prepare(root: Path, photographs: Sequence[Photograph]) -> str:
    """The features of caltech_birds2011 that matter here, without its downloads.

    Returns:
        The name that TFDS loads it by.
    """
    species = sorted({photograph.species for photograph in photographs})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets as tfds

        with tfds.core.registered.skip_registration():

            class JaxcbmCub(tfds.core.GeneratorBasedBuilder):
                VERSION = tfds.core.Version("1.0.0")

                def _info(self):
                    features = {
                        "image": tfds.features.Image(encoding_format="png"),
                        "image/filename": tfds.features.Text(),
                        "label": tfds.features.ClassLabel(num_classes=len(species)),
                        "label_name": tfds.features.Text(),
                    }
                    return tfds.core.DatasetInfo(
                        builder=self, features=tfds.features.FeaturesDict(features)
                    )

                def _split_generators(self, download_manager):
                    return {"train": self._some(True), "test": self._some(False)}

                def _some(self, train):
                    for index, photograph in enumerate(photographs):
                        if photograph.train == train:
                            buffer = io.BytesIO()
                            photograph.picture.save(buffer, "PNG")
                            buffer.seek(0)
                            yield (
                                index,
                                {
                                    "image": buffer,
                                    "image/filename": f"CUB_200_2011/images/{photograph.file}",
                                    "label": species.index(photograph.species),
                                    "label_name": photograph.species[4:].lower(),
                                },
                            )

                def _generate_examples(self):
                    raise NotImplementedError

        JaxcbmCub(data_dir=root, file_format="array_record").download_and_prepare()
    return "jaxcbm_cub"
