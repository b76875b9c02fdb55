"""Pictures in array_record files: a record is a picture's file, or an Example that has one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxcbm.data.image_source import SequenceImages, as_utf8
from jaxcbm.encoders.image.file import UnreadableImage
from jaxcbm.errors import UserError
from jaxcbm.extras import import_extra
from jaxcbm.lines import first_line
from jaxcbm.storage import is_remote

# The first byte of a tf.train.Example; no kind of picture that is read begins with it.
_EXAMPLE = b"\n"
_FEATURES = ("image", "image/encoded", "jpg", "png", "webp")


def open_array_records(paths: Sequence[Path]) -> SequenceImages:
    """The pictures of some array_record files, one file after the other.

    Args:
        paths: of this machine.

    Raises:
        UserError: one of them is remote or is no such file, or the package for it is missing.
    """
    if remote := [path for path in paths if is_remote(path)]:
        raise UserError(f"{remote[0]}: array_record files are read from local disks; copy it here")
    place = as_utf8(paths[0] if len(paths) == 1 else paths[0].parent)
    reader = import_extra("array_record.python.array_record_data_source", "array_record", place)
    try:
        records = reader.ArrayRecordDataSource([str(path) for path in paths])
    # The reader is in C++, and raises what its status says.
    except Exception as error:
        said = f"{place}: cannot be read as array_record ({first_line(error)})"
        raise UserError(said) from error
    return SequenceImages(_Encoded(records), prefix=place)


@dataclass(frozen=True, eq=False)
class _Encoded:
    """Records as the files of pictures.

    Attributes:
        records: bytes at each position.
    """

    records: Any

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> bytes:
        record = self.records[index]
        return _picture_of(record) if record.startswith(_EXAMPLE) else record


def _picture_of(example: bytes) -> bytes:
    from tensorflow_datasets.proto import tf_example_generated_pb2

    message: Any = tf_example_generated_pb2
    features = message.Example.FromString(example).features.feature
    for name in _FEATURES:
        if name in features and features[name].bytes_list.value:
            return features[name].bytes_list.value[0]
    raise UnreadableImage(f"an Example without a picture in {', '.join(_FEATURES)}")
