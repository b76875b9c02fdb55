"""`jaxcbm explain`: one picture beside its signed contributions."""

from pathlib import Path

from jaxcbm.atomic import atomic_file
from jaxcbm.commands.predict import find_images
from jaxcbm.data.image_source import FileImages, UnreadableImage
from jaxcbm.errors import UserError
from jaxcbm.model.explanation import Explanation
from jaxcbm.model.model import load_model


def run(
    workdir: Path, image: str, output: Path, k: int = 10, target: str | None = None
) -> Explanation:
    """Explain one picture and write the explanation as .png or .html."""
    if output.suffix not in (".png", ".html"):
        raise UserError(f"--output={output}: the extension must be .png or .html")
    file = find_images(image)[0]
    try:
        picture = FileImages((file,), root=Path()).load(0)
    except UnreadableImage as error:
        raise UserError(f"{file}: {error}") from error
    explanation = load_model(workdir).explain(picture, k=k, target=target)
    with atomic_file(output) as temporary:
        aside = temporary.with_name(f".{output.stem}.aside{output.suffix}")
        explanation.save(aside)
        aside.replace(temporary)
    return explanation
