"""The page in an exported folder: what lies there and how to load it."""

from jaxcbm.encoders.image import file
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.model.export.program import ExportedProgram
from jaxcbm.pages import render


def readme(
    program: ExportedProgram,
    preprocess: Preprocess,
    encoder_name: str,
    *,
    with_encoder: bool,
    with_onnx: bool,
) -> str:
    """The whole page, in Markdown.

    Its Python opens what `open_image` does, within the same limits, and resizes and crops as
    `Preprocess` does.
    """
    return render(
        "export.md",
        platforms=", ".join(program.platforms),
        mib=sum(array.nbytes for array in program.weights.values()) / 2**20,
        size=program.image_size,
        how=preprocess,
        limits=file,
        dtype=program.dtype,
        encoder=encoder_name,
        with_encoder=with_encoder,
        with_onnx=with_onnx,
    )
