"""The page of a server in a browser: pictures go up, the explorer opens on them."""

import base64

import pytest
from served import listening, picture_bytes, served, small_model

NAMES = ("<b>a & b</b>.png", "other.png")


@pytest.fixture(scope="module")
def model(picture_folder, tiny_encoder_folder):
    return small_model(picture_folder, tiny_encoder_folder)


def file(name: str, content: bytes) -> dict:
    return {"name": name, "mimeType": "image/png", "buffer": content}


def test_uploaded_pictures_are_explored_with_the_classes_of_predict(watched, model):
    contents = [picture_bytes(seed) for seed in (1, 2)]
    wanted = model.predict(contents)
    with served(model) as service, listening(service) as port:
        address = f"http://127.0.0.1:{port}/"
        with watched(address) as page:
            page.goto(address)
            files = [file(name, each) for name, each in zip(NAMES, contents, strict=True)]
            page.set_input_files("input[type=file]", [*files, file("bad.png", b"?")])
            page.wait_for_selector(".tile")
            assert page.inner_text("[role=alert]").startswith("bad.png: ")
            assert page.locator(".tile").count() == 2
            for row, name in enumerate(NAMES):
                page.evaluate("row => { location.hash = `#/picture/${row}` }", row)
                page.wait_for_function(
                    "name => document.querySelector('#explorer h1')?.textContent === name", arg=name
                )
                assert page.inner_text(".verdict .said") == wanted.labels[row]
            # Other pictures take their place, and the address names none of those before.
            page.evaluate(
                """text => {
                  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
                  const dataTransfer = new DataTransfer();
                  dataTransfer.items.add(new File([bytes], "third.png"));
                  document.body.dispatchEvent(
                    new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
                }""",
                base64.b64encode(picture_bytes(3)).decode(),
            )
            page.wait_for_function("() => document.querySelectorAll('.tile').length === 1")
            assert "third.png" in page.inner_html(".grid") and "#" not in page.url
            assert page.inner_text("[role=alert]") == ""
