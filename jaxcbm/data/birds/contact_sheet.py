"""A page of painted birds, to look at and for the documentation.

python -m jaxcbm.data.birds.contact_sheet --output birds.png
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from jaxcbm.atomic import atomic_file
from jaxcbm.data.birds.drawing import draw_bird
from jaxcbm.data.birds.scene import sample_scene
from jaxcbm.data.birds.species import all_species
from jaxcbm.errors import UserError


def contact_sheet(rows: int, columns: int, *, size: int = 64, seed: int = 0) -> Image.Image:
    """Typical birds of the species in alphabetical order, each in a scene of its own.

    Args:
        rows: of pictures.
        columns: of pictures; after the last species the first comes again.
        size: of each picture, in pixels.
        seed: of the scenes.

    Returns:
        An RGB picture, size * columns wide and size * rows high.

    >>> contact_sheet(2, 3, size=32).size
    (96, 64)
    """
    species = all_species()
    tiles = [
        draw_bird(
            species[i % len(species)].values, sample_scene(np.random.default_rng([seed, i])), size
        )
        for i in range(rows * columns)
    ]
    grid_RxCxSxSx3 = np.stack(tiles).reshape(rows, columns, size, size, 3)
    page = grid_RxCxSxSx3.transpose(0, 2, 1, 3, 4).reshape(rows * size, columns * size, 3)
    return Image.fromarray(page)


def main(arguments: list[str] | None = None) -> None:
    """Parse, paint and write."""
    parser = argparse.ArgumentParser(
        prog="python -m jaxcbm.data.birds.contact_sheet", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--output", type=Path, required=True, help="the PNG file to write")
    parser.add_argument("--rows", type=int, default=6, help="of pictures (default: 6)")
    parser.add_argument("--columns", type=int, default=8, help="of pictures (default: 8)")
    parser.add_argument("--size", type=int, default=96, help="of a picture in pixels (default: 96)")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes (default: 0)")
    options = parser.parse_args(arguments)
    page = contact_sheet(options.rows, options.columns, size=options.size, seed=options.seed)
    try:
        with atomic_file(options.output) as temporary:
            page.save(temporary, format="PNG", optimize=True)
    except UserError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
