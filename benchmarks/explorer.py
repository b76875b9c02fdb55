"""What the explorer's page weighs, and how long a person waits for it, in Chromium.

python -m benchmarks.explorer --workdir=runs/quickstart --workdir=runs/fashion_mnist
python -m benchmarks.explorer --render                              # only the page, from the result

Needs the extra `browser` and Chromium. A filter is timed from the choice in a list, a correction
from the move of a slider, both until the browser has drawn what follows.
"""

import argparse
import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe, idle_machine
from benchmarks.report import table
from jaxcbm.atomic import write_json, write_text
from jaxcbm.errors import UserError
from jaxcbm.experiment.explore import explore
from jaxcbm.extras import import_extra

ROOT = Path(__file__).parents[1]
PAGE, RESULT = ROOT / "docs" / "explorer.md", ROOT / "docs" / "results" / "explorer.json"
_PLACE = re.compile(r"(<!-- figures: explorer -->\n).*?(<!-- end of figures -->)", re.S)
_OPENED = 7
# Runs in the page before anything of it: when the first tile with its picture is there.
_FIRST = """
new MutationObserver((_, observer) => {
  const image = document.querySelector(".tile img");
  if (!image) return;
  observer.disconnect();
  image.decode().then(() => requestAnimationFrame(() => setTimeout(() => {
    window.first = performance.now();
  })));
}).observe(document, { childList: true, subtree: true });
"""
# From a change to when it is drawn, in milliseconds, for each of some values.
_TIMES = """
async ([selector, kind, values]) => {
  const times = [];
  for (const value of values) {
    const control = document.querySelector(selector);
    const start = performance.now();
    control.value = value;
    control.dispatchEvent(new Event(kind, { bubbles: true }));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    times.push(performance.now() - start);
    await new Promise((done) => setTimeout(done, 30));
  }
  return times;
}
"""


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """The browser."""
    api = import_extra("playwright.sync_api", "jaxcbm[browser]", "benchmarks.explorer")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        raise UserError(f"benchmarks.explorer needs one of {', '.join(names)}")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path)
        yield browser
        browser.close()


def measure(browser: Any, file: Path) -> dict[str, Any]:
    """Bytes, milliseconds and memory of one page."""
    first = []
    for _ in range(_OPENED):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script(_FIRST)
        page.goto(file.as_uri())
        first.append(page.wait_for_function("() => window.first").json_value())
        if len(first) < _OPENED:
            page.close()
    classes = page.locator("label", has_text="Predicted class").locator("option").count() - 1
    select = "form label:has(option[value='0']) select"
    chosen = [str(k % classes) if k % 3 else "" for k in range(60)]
    filters = page.evaluate(_TIMES, [select, "change", chosen])
    page.evaluate("location.hash = '#/picture/3'")
    slider = page.locator(".sliders input").first
    low, high = (float(slider.get_attribute(end)) for end in ("min", "max"))
    moves = np.random.default_rng(0).uniform(low, high, 100).tolist()
    corrections = page.evaluate(_TIMES, [".sliders input", "input", moves])
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    heap = page.evaluate("performance.memory.usedJSHeapSize")
    text = file.read_text("utf-8").partition('id="explorer-payload">')[2]
    payload = json.loads(text.partition("</script>")[0])
    page.close()
    model = payload["models"][0]
    return {
        "pictures": len(payload["names"]),
        "classes": len(payload["classes"]),
        "concepts": len(model["phrases"]),
        "bytes": file.stat().st_size,
        "thumbnail_bytes": sum(map(len, payload["thumbnails"])),
        "activation_bytes": len(model["activations"]["levels"]["data"]),
        "first_view_ms": _spread(first),
        "filter_ms": _spread(filters),
        "correction_ms": _spread(corrections),
        "heap_bytes": int(heap),
    }


def _spread(times: list[float]) -> dict[str, float]:
    return {"median": float(np.median(times)), "p95": float(np.quantile(times, 0.95))}


def render(found: dict[str, Any]) -> str:
    """The figures, as Markdown."""
    rows = [
        ("pictures", lambda r: f"{r['pictures']:,}"),
        ("classes, concepts", lambda r: f"{r['classes']}, {r['concepts']}"),
        ("file, MB", lambda r: f"{r['bytes'] / 1e6:.1f}"),
        ("of it pictures, MB", lambda r: f"{r['thumbnail_bytes'] / 1e6:.1f}"),
        ("of it activations, MB", lambda r: f"{r['activation_bytes'] / 1e6:.1f}"),
        ("time to the first view, ms", lambda r: _said(r["first_view_ms"])),
        ("a filter, ms", lambda r: _said(r["filter_ms"])),
        ("a correction, ms", lambda r: _said(r["correction_ms"])),
        ("memory of the script, MB", lambda r: f"{r['heap_bytes'] / 1e6:.0f}"),
    ]
    names = list(found["pages"])
    lines = [[what, *(say(found["pages"][name]) for name in names)] for what, say in rows]
    where = f"{found['machine']['cpu']}, {found['browser']}"
    load = f"load average {found['load']['before']:.1f} before"
    return f"{table(['', *names], lines)}\n\nMedian (95th percentile); {where}; {load}.\n"


def _said(spread: dict[str, float]) -> str:
    return f"{spread['median']:.0f} ({spread['p95']:.0f})"


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, action="append", default=[])
    parser.add_argument("--force", action="store_true", help="measure on a busy machine too")
    parser.add_argument("--render", action="store_true", help="only the page")
    args = parser.parse_args()
    if not args.render:
        with tempfile.TemporaryDirectory() as folder:
            files = {each.name: Path(folder) / f"{each.name}.html" for each in args.workdir}
            for each in args.workdir:
                explore(each, files[each.name], maps=0)
            with chromium() as browser:
                with idle_machine("explorer", force=args.force) as load:
                    pages = {name: measure(browser, file) for name, file in files.items()}
                parts = {"machine": describe(), "browser": f"Chromium {browser.version}"}
        write_json(RESULT, {**parts, "load": asdict(load), "pages": pages})
    text = render(json.loads(RESULT.read_text("utf-8")))
    page = PAGE.read_text("utf-8")
    write_text(PAGE, _PLACE.sub(lambda place: f"{place[1]}{text}{place[2]}", page))


if __name__ == "__main__":
    main()
