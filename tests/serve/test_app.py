"""There are the routes that are documented, and browsers and logs come to no harm."""

import dataclasses
import json
import logging

from served import PICTURE, PNG, ask, get, post, raw, requests_of, served

from jaxcbm.explore.page import script
from jaxcbm.serve.answers import PredictedBatch


def test_of_other_routes_and_methods_there_are_none(service):
    for path in ("/v1/predictions", "/v1/../etc/passwd", "/%2e%2e/etc/passwd", "/static/x", "/v2"):
        found = get(service, path)
        assert found.status_code == 404 and set(found.json()) == {"error"}, path
    assert get(service, "/v1/predict").status_code == 405
    assert ask(service, lambda client: client.delete("/")).status_code == 405
    assert requests_of(service, "GET", "other", 404) == 5
    assert requests_of(service, "other", "/", 405) == 1


def test_a_fault_is_a_line_for_the_client_and_a_traceback_for_the_log(service, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("secret\nfake line")

    monkeypatch.setattr(PredictedBatch, "answer", broken)
    found = post(service, **raw(1))
    assert (found.status_code, found.json()) == (500, {"error": "a fault of the server"})
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "RuntimeError: secret\\nfake line" in logged and "\nfake line" not in logged


def test_the_log_is_a_line_a_request_whatever_clients_write(service, caplog):
    caplog.set_level(logging.INFO)
    get(service, "/%0d%0aGET%20/forged%20200/%1b[31m%e2%80%a8" + "x" * 5000)
    post(service, content=PICTURE, headers=PNG, params={"name": "a\nforged"})
    lines = [record.getMessage() for record in caplog.records if "ms" in record.getMessage()]
    assert len(lines) == 2 and all(line.isascii() and line.isprintable() for line in lines)
    assert "forged" not in lines[1] and all(len(line) < 200 for line in lines)


def test_headers_keep_browsers_from_harm(service):
    front, docs, data = (get(service, path) for path in ("/", "/docs", "/readyz"))
    for found in (front, docs, data):
        assert found.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in found.headers["content-security-policy"]
        assert not [name for name in found.headers if name.startswith("access-control")]
    for page in (front, docs):
        policy = page.headers["content-security-policy"]
        scripts = policy.partition("script-src ")[2].partition(";")[0]
        assert "unsafe" not in scripts and "http" not in policy
        own = page.text.replace(script(), "")
        assert "http://" not in own and "https://" not in own
    assert front.headers["content-security-policy"].count("'sha256-") == 1


def test_only_hosts_that_it_goes_by_and_no_pages_of_others(service):
    def status(host: str) -> int:
        return get(service, "/", headers={"host": host}).status_code

    for host in ("localhost", "LOCALHOST:8000"):
        assert status(host) == 200
    for host in ("evil.example", "localhost.evil.example:8000", "", "localhost:8000:1", "[::1"):
        assert status(host) == 421
    anywhere = ask(service, lambda client: client.get("/", headers={"host": "x"}), hosts=())
    assert anywhere.status_code == 200


def test_names_of_classes_are_text_in_the_page(model):
    named = dataclasses.replace(model, classes=("<script>alert(1)</script>", "b", "c"))
    with served(named) as service:
        text = get(service, "/").text
    assert "<script>alert" not in text and "&lt;script&gt;" in text


def test_the_document_describes_what_is_sent(service):
    described = get(service, "/openapi.json").json()
    paths = {(method, path) for path, each in described["paths"].items() for method in each}
    assert paths == {
        ("post", "/v1/predict"),
        ("post", "/v1/explore"),
        ("post", "/v1/intervene"),
        *(("get", path) for path in ("/v1/model", "/healthz", "/readyz", "/metrics", "/")),
        *(("get", path) for path in ("/openapi.json", "/docs")),
    }
    schemas = described["components"]["schemas"]
    answer = post(
        service,
        **raw(1),
    ).json()["images"][0]
    assert set(answer) == set(schemas["Answer"]["properties"])
    assert set(answer["reasons"][0]) == set(schemas["Reason"]["properties"])
    assert set(get(service, "/v1/model").json()) == set(schemas["ModelFacts"]["properties"])
    references = set(json.dumps(described).split("#/components/schemas/")[1:])
    assert {each.partition('"')[0] for each in references} == set(schemas)
    docs = get(service, "/docs").text
    assert all(path in docs for _, path in paths) and all(name in docs for name in schemas)
