"""The documentation site builds without a warning, and needs nothing from elsewhere."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("mkdocs")
pytest.importorskip("latex2mathml")

import on_build

ROOT = Path(__file__).parents[2]
FETCHED = re.compile(r'<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="?(?:https?:)?//[^>]*>')


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", f"--site-dir={folder}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_pages_are_whole_and_fetch_nothing(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        # A canonical address is a statement, and is not fetched.
        assert not [tag for tag in FETCHED.findall(text) if "canonical" not in tag], page
        assert "arithmatex" not in text and "--8<--" not in text, page
    assert "<math" in (site / "ideas.html").read_text(encoding="utf-8")
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert {"ideas.html", "reference/settings.html", "reference/python.html"} <= found


@pytest.mark.slow
def test_search_works_from_files_and_a_phone_scrolls_in_one_direction(site):
    playwright = pytest.importorskip("playwright.sync_api")
    if not (chromium := shutil.which("chromium")):
        pytest.skip("no chromium")
    asked, wrong = [], []
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        for name in ("results", "report/report", "reference/settings", "ideas"):
            page.goto(f"{site.as_uri()}/{name}.html")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        page.set_viewport_size({"width": 1440, "height": 900})
        page.goto(f"{site.as_uri()}/index.html")
        page.keyboard.press("/")
        page.keyboard.type("duality gap")
        page.wait_for_selector(".md-search-result__item", timeout=20_000)
        assert "gap" in page.inner_text(".md-search-result__list").lower()
        browser.close()
    assert not wrong and not [url for url in asked if url.startswith("http")]


@pytest.mark.parametrize(
    "address, expected",
    [
        ("", "See the configs and [the words](glossary.md)."),
        (
            "https://github.com/someone/jaxcbm",
            "See [the configs](https://github.com/someone/jaxcbm/blob/main/configs) and "
            "[the words](glossary.md).",
        ),
    ],
)
def test_links_into_the_repository_go_to_its_address(monkeypatch, address, expected):
    monkeypatch.setattr(on_build, "repository", lambda: address)
    page = SimpleNamespace(file=SimpleNamespace(src_uri="index.md"))
    config = SimpleNamespace(docs_dir=str(ROOT / "docs"))
    said = "See [the configs](../configs) and [the words](glossary.md)."
    assert on_build.on_page_markdown(said, page, config, None) == expected


def test_links_to_what_a_page_is_made_from_go_to_that_page():
    page = SimpleNamespace(file=SimpleNamespace(src_uri="howto/pictures.md"))
    config = SimpleNamespace(docs_dir=str(ROOT / "docs"))
    said = "[A](../../jaxcbm/commands), [b](../../CONTRIBUTING.md#style)"
    expected = "[A](../reference/commands.md), [b](../contributing.md#style)"
    assert on_build.on_page_markdown(said, page, config, None) == expected
    assert all((ROOT / source).exists() for source in on_build._MADE)
