"""What the documentation site is built with, beside MkDocs: pages from code, links, formulas."""

import html
import logging
import os
import re
from pathlib import Path

from colab import NOTEBOOKS, ROOT, repository
from generated_pages import commands_page, notebooks_page, settings_page
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# With --strict a warning stops the build.
_LOG = logging.getLogger("mkdocs.hooks.on_build")
_OUTSIDE = re.compile(r"(!?)\[([^\]]*)\]\(((?:\.\./)+)([^)\s#]+)(#[^)\s]*)?\)")
# Links that open where one reads a checkout -> the page of the site that is made from them.
_MADE = {
    "jaxcbm/experiment/config.py": "reference/settings.md",
    "jaxcbm/commands": "reference/commands.md",
    "notebooks": "notebooks.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)


def on_config(config: MkDocsConfig) -> None:
    """Show the repository where it has an address."""
    config.repo_url = repository()


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that are made from the code."""
    made = {
        "reference/settings.md": settings_page(),
        "reference/commands.md": commands_page(),
        "notebooks.md": notebooks_page(NOTEBOOKS, repository()),
    }
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to files of the repository at the page that is made from them, else at their
    address; without one, name the file."""
    folder = Path(config.docs_dir, page.file.src_uri).parent

    def link(found: re.Match) -> str:
        _, label, up, path, anchor = found.groups()
        target = (folder / up / path).resolve()
        if target.is_relative_to(config.docs_dir):
            return found[0]
        if not target.exists():
            _LOG.warning("%s: %s is not in the repository", page.file.src_uri, path)
        if made := _MADE.get(target.relative_to(ROOT).as_posix()):
            return (
                f"[{label}]({os.path.relpath(Path(config.docs_dir, made), folder)}{anchor or ''})"
            )
        if not (address := repository()):
            return label
        return f"[{label}]({address}/blob/main/{target.relative_to(ROOT)}{anchor or ''})"

    return _OUTSIDE.sub(link, markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn formulas into MathML, which browsers draw without a script; keep deviations whole."""

    def formula(found: re.Match) -> str:
        display = "block" if found[1] == "div" else "inline"
        return convert(html.unescape(found[2]), display=display)

    return _FORMULA.sub(formula, content).replace(" ± ", "&nbsp;±&nbsp;")
