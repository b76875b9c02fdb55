"""The picture and the animation of the explorer in README and docs/explorer.md.

python -m benchmarks.explorer_pictures --workdir=runs/quickstart

Needs the extra `browser` and Chromium.
"""

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.explorer import ROOT, chromium
from jaxcbm.atomic import atomic_file
from jaxcbm.errors import UserError
from jaxcbm.experiment.explore import explore

FOLDER = ROOT / "docs" / "pictures"
# Of a frame of the animation.
_SIZE = (800, 500)


def animation(browser: Any, file: Path, output: Path) -> None:
    """Filter, open a picture, and drag a slider until the class flips, as a GIF."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
    page.goto(file.as_uri())
    frames: list[Image.Image] = []
    durations: list[int] = []

    def shoot(milliseconds: int, wait: int = 250) -> None:
        page.wait_for_timeout(wait)
        with Image.open(io.BytesIO(page.screenshot())) as shown:
            frames.append(shown.convert("RGB").resize(_SIZE, Image.Resampling.LANCZOS))
        durations.append(milliseconds)

    page.wait_for_selector(".tile img")
    shoot(1400)
    page.locator("label", has_text="Outcome").locator("select").select_option("wrong")
    shoot(1200)
    page.locator("label", has_text="Sort by").locator("select").select_option("close")
    shoot(1200)
    phrase, there = _open_what_one_concept_mends(page)
    shoot(1800)
    page.fill(".correct [type=search]", phrase)
    shoot(1200)
    slider = page.locator(".sliders input").first
    box = slider.bounding_box()
    low, high = (float(slider.get_attribute(name)) for name in ("min", "max"))
    start = (float(slider.input_value()) - low) / (high - low)
    end, middle = float(there), box["y"] + box["height"] / 2
    # The thumb is 16 pixels wide.
    places = [
        box["x"] + 8 + (box["width"] - 16) * (start + (end - start) * i / 8) for i in range(9)
    ]
    page.mouse.move(places[0], middle)
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(place, middle)
        shoot(160, wait=120)
    page.mouse.up()
    shoot(2600)
    page.close()
    # One palette for all: what does not change is then the same from frame to frame.
    shown = Image.new("RGB", (_SIZE[0], 3 * _SIZE[1]))
    for i, frame in enumerate((frames[0], frames[3], frames[-1])):
        shown.paste(frame, (0, i * _SIZE[1]))
    palette = shown.quantize(256, dither=Image.Dither.NONE)
    images = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    with atomic_file(output) as temporary:
        how = {"append_images": images[1:], "duration": durations, "loop": 0, "optimize": True}
        images[0].save(temporary, save_all=True, **how)


def _open_what_one_concept_mends(page: Any) -> tuple[str, bool]:
    """Open a picture that one concept set right makes right: which one, and whether it is there."""
    for n in range(100):
        page.locator(".tile").nth(n).click()
        page.wait_for_selector(".sliders")
        wanted = page.locator(".smallest li")
        flips_to = page.inner_text(".smallest b")
        if wanted.count() == 1 and f"True class: {flips_to}" in page.inner_text(".look"):
            said = wanted.inner_text().rpartition(" (")[0]
            phrase, there = said.removeprefix("no "), not said.startswith("no ")
            row = page.locator(".sliders li", has_text=phrase).first
            if f"annotations: {'' if there else 'not '}there" in row.inner_text():
                return phrase, there
        page.go_back()
        page.wait_for_selector(".tile")
    raise UserError("no picture that one concept would make right")


def still(browser: Any, file: Path, output: Path) -> None:
    """One picture with a concept map, its reasons and sliders, as a PNG."""
    page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="light")
    page.goto(f"{file.as_uri()}#/pictures?maps=yes")
    page.locator(".tile").last.click()
    page.locator(".look select").select_option(index=1)
    page.wait_for_timeout(300)
    with Image.open(io.BytesIO(page.screenshot())) as shown, atomic_file(output) as temporary:
        shown.convert("RGB").quantize(192).save(temporary, optimize=True)
    page.close()


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        file = Path(folder) / "explorer.html"
        explore(args.workdir, file, maps=4)
        animation(browser, file, FOLDER / "explorer.gif")
        still(browser, file, FOLDER / "explorer.png")


if __name__ == "__main__":
    main()
