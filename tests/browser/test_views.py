"""Clicks, keys, drags and sizes of the explorer's page in Chromium."""

import re

import numpy as np
import pytest


def open_at(page, explorer, route="pictures"):
    page.goto(f"{explorer.as_uri()}#/{route}")
    page.wait_for_selector("h1")


def count(page) -> int:
    """How many pictures the gallery says it has."""
    return int(re.match(r"[\d,]+", page.inner_text(".count"))[0].replace(",", ""))


def tiles(page) -> list[str]:
    """Names of the pictures that are drawn, from the first."""
    return page.eval_on_selector_all(".tile", "all => all.map(tile => tile.title)")


def test_filters_are_numpys_and_links_restore_them(page, explorer, first):
    _, model, shown, labels = first
    open_at(page, explorer)
    assert count(page) == 300 == len(labels)
    page.select_option("label:has-text('Outcome') select", "wrong")
    wrong = shown.label_ids != labels
    assert 0 < count(page) == wrong.sum() < 300
    page.select_option("label:has-text('Predicted class') select", label=model.classes[1])
    assert count(page) == (wrong & (shown.label_ids == 1)).sum() > 0
    page.click("text=Clear")
    page.fill("label:has-text('Concept') input", "no tail")
    there = model.calibration.is_present(shown.concept_activations)[:, 1]
    assert count(page) == there.sum()
    is_what = page.locator("label.field", has_text=re.compile("^is")).locator("select")
    is_what.select_option("absent")
    assert count(page) == (~there).sum()
    page.reload()
    page.wait_for_selector(".count")
    assert count(page) == (~there).sum()
    page.fill("label:has-text('Concept') input", model.concepts.phrases[0])
    is_what.select_option("")
    there = model.calibration.is_present(shown.concept_activations)[:, 0]
    page.reload()
    page.wait_for_selector(".count")
    assert count(page) == there.sum()
    page.click("text=Clear")
    page.locator("label", has_text="Familiarity").locator("select").select_option("no")
    assert count(page) == (shown.familiarity <= 0.05).sum() > 0


def test_a_wrong_prediction_reads_the_same_in_the_gallery_and_on_its_class(page, explorer, first):
    _, model, shown, labels = first
    picture = int(np.flatnonzero(shown.label_ids != labels)[0])
    said, true = (model.classes[k] for k in (shown.label_ids[picture], labels[picture]))
    open_at(page, explorer, "pictures?outcome=wrong")
    lines = page.locator(".tile").first.locator("b, span.wrong").all_text_contents()
    first_line, second_line = lines
    assert re.fullmatch(rf"says {re.escape(said)} (over |under )?\d+.%", first_line)
    assert second_line == f"✗ is {true}"
    open_at(page, explorer, f"class/{labels[picture]}")
    captions = page.locator(".strip").nth(1).locator("span").all_inner_texts()
    assert any(
        caption.endswith(f" %, {second_line}".replace(" %", "\u00a0%")) for caption in captions
    )
    assert all(re.fullmatch(r"says .+ \d+.%, (✓ right|✗ is .+)", caption) for caption in captions)


def test_a_tile_cuts_the_name_of_a_class_and_never_its_probability(page, explorer):
    open_at(page, explorer, "pictures")
    tile = page.locator(".tile").first
    tile.evaluate("e => { e.parentElement.style.width = '90px' }")
    name, share = tile.locator("b > span").all()
    assert name.evaluate("e => e.scrollWidth > e.clientWidth")
    assert share.evaluate("e => e.scrollWidth <= e.clientWidth")
    inside, outside = share.bounding_box(), tile.bounding_box()
    assert inside["x"] + inside["width"] <= outside["x"] + outside["width"]


def test_a_model_of_few_validation_images_says_that_it_cannot_tell(page, unsure):
    open_at(page, unsure)
    assert page.locator("label", has_text="Familiarity").count() == 0
    assert page.locator(".tile .strange").count() == 0
    open_at(page, unsure, "picture/4")
    assert "too few validation images to tell whether" in page.inner_text(".look .warning")
    assert "“class bias and all others”: where the class starts from" in page.inner_text(".why")
    open_at(page, unsure, "model")
    assert "unlike all train images" not in page.inner_text(".facts")


def test_sorted_by_margin_and_searched(page, explorer, first):
    _, _, shown, _ = first
    open_at(page, explorer, "pictures?sort=close")
    top2 = np.sort(shown.class_logits, axis=1)[:, -2:]
    order = np.argsort(top2[:, 1] - top2[:, 0])
    names = tiles(page)
    assert [int(name[-7:-4]) for name in names[:5]] == order[:5].tolist()
    page.fill("[type=search]", "/042.png")
    assert count(page) == 1 and tiles(page)[0].endswith("042.png")
    page.fill("[type=search]", "nothing like it")
    assert "No picture" in page.inner_text("main")


def test_only_what_is_seen_is_drawn_and_keys_reach_the_rest(page, explorer):
    open_at(page, explorer)
    assert 10 < len(tiles(page)) < 120
    page.focus(".tile")
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.title").endswith("299.png")
    assert page.evaluate("scrollY") > 0 and len(tiles(page)) < 120
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.title").endswith("298.png")
    page.keyboard.press("Enter")
    page.wait_for_selector(".sliders")
    assert page.inner_text("h1").endswith("298.png")
    page.go_back()
    page.wait_for_selector(".tile")
    page.wait_for_function("() => document.activeElement.title.endsWith('298.png')")
    assert page.evaluate("document.activeElement.getBoundingClientRect().bottom <= innerHeight")


def test_a_slider_moves_by_mouse_and_by_key_and_is_undone(page, explorer, first):
    _, _, shown, _ = first
    picture = int(np.argmin(np.abs(np.diff(np.sort(shown.class_logits, axis=1)[:, -2:])[:, 0])))
    open_at(page, explorer, f"picture/{picture}")
    data = ".why .shares data"

    def values() -> list[float]:
        return page.eval_on_selector_all(data, "all => all.map(x => Number(x.value))")

    before, slider = values(), page.locator(".sliders input").first
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 4, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    dragged = values()
    assert dragged != before and "set=" in page.url
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert values() not in (before, dragged)
    page.keyboard.press("Control+z")
    assert values() == dragged
    page.keyboard.press("Control+z")
    assert values() == before and "set=" not in page.url
    page.keyboard.press("Control+Shift+z")
    assert values() == dragged
    page.click("text=Reset")
    assert values() == before


def test_the_smallest_change_flips_the_class_when_it_is_made(page, explorer, first):
    _, model, shown, _ = first
    open_at(page, explorer, "picture/11")
    other = page.inner_text(".smallest b")
    assert page.inner_text(".verdict .said") == model.classes[shown.label_ids[11]] != other
    page.click("text=Make this change")
    assert page.inner_text(".verdict .said") == other
    assert "without them" in page.inner_text(".verdict")
    page.locator(".sliders .changed .back").first.click()
    assert page.inner_text(".verdict .said") == model.classes[shown.label_ids[11]]


def test_switches_say_what_is_there(page, explorer, first):
    _, model, shown, _ = first
    open_at(page, explorer, "picture/20")
    page.fill("[placeholder='40 concepts']", "orange")
    row = page.locator(".sliders li")
    assert row.count() == 1
    there = bool(model.calibration.is_present(shown.concept_activations)[20, 2])
    pressed = row.locator("[aria-pressed=true]")
    assert pressed.inner_text().startswith("present" if there else "absent")
    row.locator("[aria-pressed=false]").click()
    assert pressed.inner_text().startswith("absent" if there else "present")


def test_a_map_is_shown_where_there_is_one(page, explorer):
    open_at(page, explorer, "picture/2")
    page.select_option(".look select", label="part 0")
    assert page.get_attribute("canvas", "aria-label") == "Where it finds: part 0"
    open_at(page, explorer, "picture/3")
    assert "No concept maps of this picture" in page.inner_text(".look")


def test_classes_concepts_and_the_model_lead_to_each_other(page, explorer, first):
    _, model, shown, labels = first
    open_at(page, explorer)
    page.click("nav >> text=Classes")
    page.click(f"table >> text={model.classes[2]}")
    assert page.evaluate("document.activeElement.tagName") == "H1"
    assert page.inner_text("h1") == model.classes[2] in page.title()
    recall = (shown.label_ids == labels)[labels == 2].mean()
    assert f"{100 * recall:.1f}" in page.inner_text(".facts")
    assert page.locator(".bars").first.locator("tr").count() == np.count_nonzero(model.head[2])
    page.locator(".bars a").first.click()
    strongest = int(np.argmax(np.abs(model.head[2])))
    assert page.inner_text("h1") == model.concepts.phrases[strongest]
    readers = page.locator(".bars").locator("tr").count()
    assert readers == np.count_nonzero(model.head[:, strongest])
    page.click("nav >> text=Model")
    page.locator(".data").first.locator("tbody tr").first.locator("td a").last.click()
    assert 0 < count(page) < 300


def test_two_models_and_where_they_differ(page, explorer, first):
    open_at(page, explorer, "compare")
    differ = int(re.search(r"they differ on\s+(\d+)", page.inner_text(".facts"))[1])
    page.click(".facts dd:last-child a >> nth=-1")
    assert count(page) == differ
    page.locator(".tile").first.click()
    assert page.inner_text(".other h2").startswith("second says")
    here = page.inner_text(".verdict .said")
    page.click("text=Look at it by this model")
    assert page.inner_text(".other h2").startswith("first says")
    assert here in page.inner_text(".other h2")


def test_a_model_that_knows_nothing_of_itself_is_shown_all_the_same(page, bare):
    for route in ("pictures", "picture/4", "classes", "class/1", "concepts", "concept/3", "model"):
        open_at(page, bare, route)
        assert "NaN" not in page.inner_text("main") and "undefined" not in page.inner_text("main")
    open_at(page, bare, "picture/4")
    assert page.locator(".smallest, .switch [aria-pressed]").count() == 0
    before = page.inner_text(".why .shares")
    page.locator(".sliders input").first.press("Home")
    assert page.inner_text(".why .shares") != before


def test_text_from_data_is_text(page, explorer):
    for route in ("pictures", "picture/4", "class/4", "concept/0", "concepts", "model", "compare"):
        open_at(page, explorer, route)
        assert page.locator("main b:text-is('evil'), main img[src='x']").count() == 0
    open_at(page, explorer, "class/4")
    assert page.inner_text("h1") == "</script><b>evil</b>"


def test_the_policy_refuses_whatever_is_not_the_page(browser, explorer):
    page = browser.new_page()
    page.goto(explorer.as_uri())
    page.wait_for_selector("h1")
    refused = page.evaluate(
        """async () => {
          const refused = [];
          const note = (event) => refused.push(event.effectiveDirective);
          document.addEventListener("securitypolicyviolation", note);
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          const style = document.createElement("style");
          style.textContent = "body { color: red }";
          document.body.append(style);
          new Image().src = "http://localhost:9/x.png";
          await fetch("http://localhost:9/").catch(() => null);
          await new Promise((done) => setTimeout(done, 50));
          return [...refused.sort(), Boolean(window.ran)];
        }"""
    )
    assert refused == ["connect-src", "img-src", "script-src-elem", "style-src-elem", False]
    page.close()


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_no_view_is_wider_than_the_window(page, explorer, width):
    page.set_viewport_size({"width": width, "height": 844})
    for route in ("pictures", "picture/4", "class/1", "concept/3", "classes", "model", "compare"):
        open_at(page, explorer, route)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, route
    page.set_viewport_size({"width": 2 * width, "height": 600})
    open_at(page, explorer)
    assert page.evaluate("document.querySelector('.grid').clientWidth") > width / 2


def test_colours_follow_the_system_and_the_choice(page, explorer):
    page.emulate_media(color_scheme="dark")
    open_at(page, explorer)
    ground = "getComputedStyle(document.querySelector('.explorer')).backgroundColor"
    dark = page.evaluate(ground)
    page.select_option("header select >> nth=-1", "light")
    light = page.evaluate(ground)
    assert dark != light == "rgb(255, 255, 255)"
    page.select_option("header select >> nth=-1", "")
    assert page.evaluate(ground) == dark
