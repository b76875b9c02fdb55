"""The explorer in somebody else's page, and its assets as their source builds them."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from jaxcbm.explore.page import script, stylesheet

SOURCE = Path(__file__).parents[2] / "explorer"
ASSETS = Path(__file__).parents[2] / "jaxcbm" / "explore" / "assets"


def test_a_page_of_ones_own_mounts_it_twice_and_hears_of_corrections(page, explorer, tmp_path):
    """As a widget does: without the address following, and with a callback."""
    text = explorer.read_text(encoding="utf-8")
    payload = text.split('id="explorer-payload">')[1].split("</script>")[0]
    own = tmp_path / "own.html"
    own.write_text(
        f"<!doctype html><title>own</title><style>{stylesheet()}</style><div></div><div></div>"
        f'<script type="application/json">{payload}</script>',
        encoding="utf-8",
    )
    page.goto(own.as_uri())
    page.evaluate(
        """async (source) => {
          const { mount } = await import(`data:text/javascript;base64,${source}`);
          const text = document.querySelector("[type='application/json']").textContent;
          window.heard = [];
          const onCorrections = (corrected) => window.heard.push(corrected);
          for (const place of document.querySelectorAll("div"))
            window.unmount = mount(place, JSON.parse(text), { onCorrections });
        }""",
        base64.b64encode(script().encode()).decode(),
    )
    one, other = page.locator(".explorer").nth(0), page.locator(".explorer").nth(1)
    one.locator(".tile").first.click()
    assert one.locator(".sliders").count() == 1 and other.locator(".tile").count() > 0
    assert "#" not in page.url
    one.locator("[placeholder='40 concepts']").fill("orange")
    one.locator(".switch [aria-pressed=false]").click()
    (heard,) = page.evaluate("window.heard")
    assert list(heard["corrections"]) == ["an orange bill"]
    assert heard["model"] == "first" and heard["picture"].endswith("000.png")
    page.evaluate("window.unmount()")
    assert page.locator(".explorer").count() == 1


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to build with")
@pytest.mark.skipif(not (SOURCE / "node_modules").exists(), reason="npm ci --prefix explorer")
def test_the_assets_are_what_their_source_builds(tmp_path):
    subprocess.run(["npm", "run", "build", "--", str(tmp_path)], cwd=SOURCE, check=True)
    for name in ("explorer.js", "explorer.css"):
        built, kept = (tmp_path / name).read_bytes(), (ASSETS / name).read_bytes()
        assert built == kept, f"{name} is stale: npm ci && npm run build in explorer/"


def test_the_lock_file_names_no_registry_and_the_bundle_its_licences():
    lock = json.loads((SOURCE / "package-lock.json").read_text(encoding="utf-8"))
    wanted = json.loads((SOURCE / "package.json").read_text(encoding="utf-8"))
    named = {
        each.get("resolved", "https://registry.npmjs.org/") for each in lock["packages"].values()
    }
    assert all(address.startswith("https://registry.npmjs.org/") for address in named)
    for name, version in wanted["dependencies"].items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
        assert f"{name} {version}" in script()
    assert script().count("The MIT License") >= 2
