"""Prepare a dataset of TFDS once, as array_record, which is then read without TensorFlow.

    pip install 'jaxcbm[tf]'
    python -m jaxcbm.data.sources.prepare_tfds --name=cifar100 --data-dir=DIR

Most builders of TFDS need TensorFlow for this one step. A prepared folder can be copied: what
reads it (`jaxcbm train`, with config.data.tfds_data_dir=DIR) needs neither TensorFlow nor network.
"""

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcbm.data.sources.class_names import base_name
from jaxcbm.errors import UserError
from jaxcbm.lines import first_line

# Their builders read files through TensorFlow; CUB's decode masks with OpenCV besides.
_NEEDS = {
    "cifar10": ("tensorflow",),
    "cifar100": ("tensorflow",),
    "caltech_birds2011": ("tensorflow", "cv2"),
    "imagenet2012": ("tensorflow",),
}
_INSTALL = {"tensorflow": "'jaxcbm[tf]'", "cv2": "opencv-python-headless"}
_BY_HAND = {
    "imagenet2012": (
        "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, from image-net.org after registration"
    )
}


def prepare(name: str, data_dir: Path | None = None, manual_dir: Path | None = None) -> Any:
    """Download a dataset and write it as array_record; one that is there already is left alone.

    Args:
        name: as TFDS calls it, such as "cifar100" or "places365_small".
        data_dir: where to write; TFDS's own folder unless given.
        manual_dir: where the files lie that TFDS may not download for you (ImageNet's archives).

    Returns:
        The builder, prepared.

    Raises:
        UserError: an unknown dataset, a package or a file that is missing, no network, or a folder
            that holds the dataset in another format.
    """
    import tensorflow_datasets as tfds

    missing = [package for package in _NEEDS.get(base_name(name), ()) if not _installed(package)]
    if missing:
        packages = " ".join(_INSTALL[package] for package in missing)
        raise UserError(f"preparing {name} needs {', '.join(missing)}: pip install {packages}")
    if base_name(name) in _BY_HAND and manual_dir is None:
        raise UserError(
            f"{name} must be downloaded by hand: give --manual-dir=FOLDER with "
            + _BY_HAND[base_name(name)]
        )
    if manual_dir is not None and not manual_dir.is_dir():
        raise UserError(f"no such folder: {manual_dir} (--manual-dir)")
    where = None if data_dir is None else str(data_dir)
    try:
        builder = tfds.builder(name, data_dir=where, file_format="array_record")
    except tfds.core.DatasetNotFoundError as error:
        raise UserError(f"unknown dataset {name!r}: TFDS has none of that name") from error
    except ValueError as error:
        raise UserError(f"cannot prepare {name!r}: {first_line(error)}") from error
    download = tfds.download.DownloadConfig(
        manual_dir=None if manual_dir is None else str(manual_dir)
    )
    try:
        builder.download_and_prepare(download_config=download)
    except ImportError as error:
        raise UserError(
            f"preparing {name} needs a package that is not here ({first_line(error)}): "
            "pip install 'jaxcbm[tf]', or the one that is named"
        ) from error
    # The network, the archives and the disk fail in as many ways as there are libraries between.
    except (AssertionError, OSError, tfds.download.DownloadError) as error:
        raise UserError(f"cannot prepare {name!r}: {first_line(error)}") from error
    return builder


def describe(builder: Any) -> str:
    """What was prepared, and how to read it, in a few lines."""
    splits = ", ".join(
        f"{split} {info.num_examples:,}" for split, info in sorted(builder.info.splits.items())
    )
    root = Path(builder.data_dir).parents[len(Path(builder.info.full_name).parts) - 1]
    return (
        f"{builder.info.full_name}: {splits} images, {builder.info.dataset_size}, as "
        f"{builder.info.file_format.value} in {builder.data_dir}\n"
        f"read it with --config.data.tfds_name={builder.info.full_name.split('/')[0]} "
        f"--config.data.tfds_data_dir={root}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 on success, 2 on a mistake the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m jaxcbm.data.sources.prepare_tfds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--name", required=True, help="the dataset, as TFDS calls it")
    parser.add_argument("--data-dir", type=Path, help="where to write (default: TFDS's own folder)")
    parser.add_argument("--manual-dir", type=Path, help="archives that were downloaded by hand")
    args = parser.parse_args(argv)
    try:
        print(describe(prepare(args.name, args.data_dir, args.manual_dir)))
    except UserError as error:
        print(f"prepare_tfds: error: {error}", file=sys.stderr)
        return 2
    return 0


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


if __name__ == "__main__":
    sys.exit(main())
