"""`jaxcbm explain`: one picture beside its signed contributions."""

import argparse
from pathlib import Path
from typing import Any

from jaxcbm.commands.command import add_command, add_workdir, count, output_file


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "explain",
        run,
        "draw one picture beside the concepts that decided its class",
        "jaxcbm explain --workdir=runs/quickstart --images=bird.png --output=why.html",
    )
    add_workdir(parser, "a finished run, or a model")
    parser.add_argument(
        "--images", required=True, help="the picture: of a folder or a glob, the first"
    )
    parser.add_argument(
        "--output", required=True, type=output_file(".png", ".html"), help=".png or .html"
    )
    parser.add_argument(
        *("-k", "--top"), type=count(1), default=10, help="contributions to show (default: 10)"
    )
    parser.add_argument("--target", help="the class to explain (default: the predicted one)")
    parser.add_argument(
        "--against", help="the class to tell it from (default: the runner-up, or the predicted one)"
    )
    parser.add_argument(
        "--maps", action="store_true", help="show where the concepts are (takes longer)"
    )


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """Explain, write the page or the picture, and say the class."""
    from jaxcbm.atomic import atomic_file
    from jaxcbm.data.image_source import FileImages, UnreadableImage
    from jaxcbm.errors import UserError
    from jaxcbm.experiment.predict import find_images
    from jaxcbm.model.model import load_model

    file = find_images(args.images)[0]
    try:
        picture = FileImages((file,), root=Path()).load(0)
    except UnreadableImage as error:
        raise UserError(f"{file}: {error}") from error
    shown = {"k": args.top, "target": args.target, "against": args.against, "maps": args.maps}
    explanation = load_model(args.workdir).explain(picture, **shown)
    with atomic_file(args.output) as temporary:
        explanation.save(temporary)
    print(f"{explanation.target} ({explanation.probability:.0%}): {args.output}")
    if (contrast := explanation.contrast) is not None:
        parts = (f"{c.label} {c.value:+.2f}" for c in contrast.contributions[:5])
        print(f"rather than {contrast.other} ({contrast.probability:.0%}): {', '.join(parts)}")
    if explanation.smallest_change is not None:
        print(f"it would be {explanation.smallest_change}")
