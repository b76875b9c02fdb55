"""What an accessibility engine finds: nothing serious, in light and dark, at three widths."""

from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[2] / "explorer" / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
VIEWS = ("pictures", "picture/2", "classes", "class/1", "concepts", "concept/3", "model", "compare")


def violations(page, explorer, views) -> list[str]:
    found = []
    page.goto(explorer.as_uri())
    # Not as an element of the page, whose policy would refuse it.
    page.evaluate(ENGINE.read_text(encoding="utf-8"))
    for view in views:
        page.evaluate("view => { location.hash = `#/${view}` }", view)
        page.wait_for_selector(f"[data-view={view.partition('/')[0]}] h1")
        result = page.evaluate(f"axe.run(document, {{runOnly: {TAGS}}})")
        assert result["passes"]
        found += [
            f"{view}: {each['id']} ({each['impact']}): {node['html'][:120]}"
            for each in result["violations"]
            for node in each["nodes"][:2]
        ]
    return found


@pytest.mark.skipif(not ENGINE.exists(), reason="no axe-core: npm ci --prefix explorer")
@pytest.mark.parametrize("width", [390, 820, 1440])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_engine_finds_nothing(page, explorer, width, colours):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=colours)
    found = violations(page, explorer, VIEWS)
    assert not found, "\n".join(found)


def test_everything_has_a_name_and_can_be_reached_by_tab(page, explorer):
    """Without the engine: what Tab reaches on a picture, in the order of the page, and its name."""
    page.goto(f"{explorer.as_uri()}#/picture/2")
    page.wait_for_selector("h1")
    page.locator("body").press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.tagName") == "H1"
    places = []
    for _ in range(40):
        page.keyboard.press("Tab")
        places.append(
            page.evaluate(
                """() => {
                  const one = document.activeElement;
                  const label = one.labels?.[0]?.textContent;
                  const name = one.getAttribute("aria-label") ?? label ?? one.textContent;
                  const focusable = "a, button:enabled, select, input, [tabindex]";
                  const at = [...document.querySelectorAll(focusable)].indexOf(one);
                  return [name.trim(), at];
                }"""
            )
        )
    assert all(name for name, _ in places)
    order = [at for _, at in places]
    assert order == sorted(order) and len(set(order)) == 40
