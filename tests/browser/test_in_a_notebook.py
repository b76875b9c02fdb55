"""The widget's module in a browser, with a model of anywidget's in place of the kernel."""

import base64
import json

import pytest
from served import picture_bytes, small_model

# What anywidget hands to `render`: traits, of which changes are sent once they are saved.
MOUNT = """async ([source, traits]) => {
  const { default: widget } = await import(`data:text/javascript;base64,${source}`);
  window.sent = {};
  let changed = {};
  const model = {
    get: (name) => traits[name],
    set: (name, value) => { traits[name] = changed[name] = value; },
    save_changes: () => { Object.assign(window.sent, changed); changed = {}; },
  };
  window.hotkeys = 0;
  document.addEventListener("keydown", () => window.hotkeys++);
  window.close = widget.render({ model, el: document.querySelector("#cell") });
}"""
NOTEBOOK = """<!doctype html><title>notebook</title>
<style>h1, a, table, button { color: rgb(200, 0, 0); font: 31px serif; margin: 40px }</style>
<body data-jp-theme-light="true" style="color: black"><h1>notebook</h1><a href="#">link</a>
<div id="cell"></div>"""
LOOKS = """[...document.querySelectorAll("h1, a, body")].map((each) => {
  const { color, font, margin, backgroundColor } = getComputedStyle(each);
  return [color, font, margin, backgroundColor].join();
})"""


@pytest.fixture(scope="module")
def model(picture_folder, tiny_encoder_folder):
    return small_model(picture_folder, tiny_encoder_folder)


def test_corrections_come_back_and_their_classes_are_those_of_python(page, model, tmp_path):
    widget = model.explore([picture_bytes(seed) for seed in (1, 2)])
    file = tmp_path / "notebook.html"
    file.write_text(NOTEBOOK, encoding="utf-8")
    page.goto(file.as_uri())
    before = page.evaluate(LOOKS)
    traits = {"payload": widget.payload, "stylesheet": widget.stylesheet}
    traits |= {"corrections": {}, "carry": {}}
    source = base64.b64encode(widget._esm.encode()).decode()
    page.evaluate(MOUNT, [source, traits])
    page.locator(".tile").nth(1).click()
    # A cell is narrower than its window, and nothing sticks out.
    for width in (380, 700, 880):
        page.locator("#cell").evaluate("(x, width) => { x.style.width = `${width}px` }", width)
        wide = page.locator("#cell > div").evaluate("x => [x.scrollWidth, x.clientWidth]")
        assert wide[0] <= wide[1], f"{width} pixels: {wide}"
    slider = page.locator(".sliders input[type=range]").first
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("Object.keys(window.sent.corrections ?? {}).length === 1")
    page.locator(".sliders .switch button[aria-pressed=false]").last.click()
    page.wait_for_function("Object.keys(window.sent.corrections['picture 2'] ?? {}).length === 2")
    widget.set_state(json.loads(page.evaluate("JSON.stringify(window.sent)")))
    assert len(widget.corrections["picture 2"]) == 2 and widget.carry == {"picture 2": False}
    rows = page.eval_on_selector_all(
        ".why .shares tr",
        "rows => rows.map(row => [row.querySelector('a').textContent, "
        "Number(row.querySelector('data').value)])",
    )
    wanted_K = widget.corrected("picture 2").class_probabilities[0]
    assert dict(rows) == pytest.approx(dict(zip(model.classes, wanted_K, strict=True)), abs=1e-5)
    # The notebook is as it was: its style, its address, its keys; and it restyles nothing here.
    assert page.evaluate(LOOKS) == before and "#" not in page.url
    assert page.evaluate("window.hotkeys") == 0
    assert page.locator("#cell > div").get_attribute("data-lm-suppress-shortcuts") == "true"
    heading = page.locator("#cell h1")
    assert "serif" not in heading.evaluate("x => getComputedStyle(x).font").replace(
        "sans-serif", ""
    )
    page.locator(".sliders").click(position={"x": 1, "y": 1})
    slider.focus()
    page.keyboard.press("Control+z")
    page.wait_for_function("Object.keys(window.sent.corrections['picture 2'] ?? {}).length === 1")
    page.evaluate("window.close()")
    assert page.locator("#cell > *").count() == 0


def test_it_is_as_light_or_dark_as_the_notebook(page, model, tmp_path):
    widget = model.explore(picture_bytes(1))
    file = tmp_path / "notebook.html"
    file.write_text(NOTEBOOK, encoding="utf-8")
    page.goto(file.as_uri())
    traits = {"payload": widget.payload, "stylesheet": widget.stylesheet}
    page.evaluate(MOUNT, [base64.b64encode(widget._esm.encode()).decode(), traits])
    page.wait_for_selector(".explorer[data-theme=light]")
    page.evaluate(
        "document.body.dataset.jpThemeLight = 'false'; document.body.style.color = 'white'"
    )
    page.wait_for_selector(".explorer[data-theme=dark]")
    page.locator(".explorer header select").last.select_option("light")
    page.wait_for_selector(".explorer[data-theme=light]")
