"""The OpenAPI document, and that every answer is as it says: a few requests of each kind, in this process.

There is no broker and no worker here, so a 503 is an answer; tests/integration/rest/test_document.py asks a whole
platform, and much more.
"""

from __future__ import annotations

import pytest
from restfuzz import Fuzz, of_app
from restside import Site, routes


@pytest.fixture(scope="module")
def fuzz(site: Site) -> Fuzz:
    site.store.add("r1", state="succeeded", owner="ann")
    (site.folder / "notebooks" / "p.ipynb").write_text(
        '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )
    return Fuzz(
        of_app(site.app, site.keys["ann"]),
        site.keys["ann"],
        {},
        {"run_id": "r1", "name": "p.ipynb"},
        {"base_url": "http://localhost"},
    )


# Those that queue something wait seconds for a broker that is not there; those of plans take schemathesis seconds.
@pytest.mark.parametrize(
    "only", ["GET /", "POST /runs/{run_id}", "POST /tasks/{run_id}", "POST /tasks/transform", "POST /plans/validate"]
)
def test_every_answer_is_documented(only: str, fuzz: Fuzz) -> None:
    fuzz.findings.clear()
    fuzz.run(2, only)
    assert [found for found in fuzz.findings if ": 503\n" not in found] == []


def test_every_operation_tells_what_it_is(site: Site) -> None:
    found = site.client().get("/openapi.json").json()
    assert found["security"] == [{"bearer": []}, {"basic": []}]
    for path, methods in found["paths"].items():
        for operation in methods.values():
            assert operation["description"] and operation["tags"], path
            assert {"401", "403", "429"} <= set(operation["responses"]) or path == "/health"
            assert (operation.get("security") == []) == (path == "/health")
    assert found["components"]["schemas"]["PipelineRequest"]["properties"]["pipeline_config"] == {
        "$ref": "#/components/schemas/Plan"
    }
    assert len(routes(site.app)) > len(found["paths"])
