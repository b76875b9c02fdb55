"""`jaxcbm explain`: pictures beside their signed contributions."""

import argparse
from typing import Any

from jaxcbm.commands.command import add_command, add_inference, add_model, count, output_file


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "explain",
        run,
        "draw pictures beside the concepts that decided their classes",
        "jaxcbm explain --workdir=runs/quickstart --images=bird.png --output=why.html",
    )
    more = "; given several times, each explains the same picture"
    add_model(parser, more, action="append")
    parser.add_argument(
        "--images",
        required=True,
        help="a picture; a folder or a glob makes a gallery of up to 500, as .png the first",
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
        "--true", help="the picture's class (default: its folder, if it has the name of a class)"
    )
    parser.add_argument(
        "--maps", action="store_true", help="show where the concepts are (takes longer)"
    )
    add_inference(parser, "float32", "32 a device, as far as there are so many")


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """Explain, write the page or the picture, and say the class."""
    from jaxcbm.experiment.explain import explain

    names = ("target", "against", "maps", "true", "batch_size")
    how: dict[str, Any] = {name: getattr(args, name) for name in names}
    how["dtype"] = args.dtype or "float32"
    found = explain(args.workdir, args.images, args.output, args.top, **how)
    if len(args.workdir) > 1:
        print(f"{'; '.join(each.verdict for each in found)}: {args.output}")
        return
    if len(found) > 1:
        print(f"{len(found)} pictures explained: {args.output}")
        return
    explanation = found[0]
    print(f"{explanation.target} ({explanation.probability:.0%}): {args.output}")
    if (contrast := explanation.contrast) is not None:
        parts = (str(c) for c in contrast.contributions[:5])
        print(f"rather than {contrast.other} ({contrast.probability:.0%}): {', '.join(parts)}")
    if explanation.smallest_change is not None:
        print(f"it would be {explanation.smallest_change}")
