"""The description of the API is made from its rows, is OpenAPI 3.1, and tells the truth (schemathesis)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.node.api.serving import served
from tests.node.api.standin import TOKEN, StandIn

from qcommons.node.api.openapi import openapi, openapi_text
from qcommons.node.api.page import page
from qcommons.node.api.routes import ROUTES

DOCS = Path(__file__).parents[3] / "docs"


def test_the_files_are_current() -> None:
    assert (DOCS / "openapi.json").read_text() == openapi_text()
    assert (DOCS / "api.md").read_text() == page()


def test_every_route_is_described_and_every_schema_is_one() -> None:
    described = {(method.upper(), path) for path, methods in openapi()["paths"].items() for method in methods}
    assert described == {(row.method, row.path) for row in ROUTES}
    for schema in openapi()["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere() -> None:
    known = openapi()["components"]["schemas"]

    def check(tree: Any) -> None:
        if isinstance(tree, dict):
            if "$ref" in tree:
                assert tree["$ref"].removeprefix("#/components/schemas/") in known
            for value in tree.values():
                check(value)
        elif isinstance(tree, list):
            for value in tree:
                check(value)

    check(openapi())


@pytest.mark.filterwarnings("ignore")  # of the tool
def test_schemathesis_finds_no_server_error_and_no_answer_that_is_not_described() -> None:
    """Requests made from the description, good and bad, over a socket. The events stream never ends: left out."""
    import hypothesis
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    door = StandIn()
    checks = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
    tried = 0
    with served(door) as node:
        schema = schemathesis.openapi.from_dict(openapi()).exclude(path="/v1/events")
        for found in schema.get_all_operations():
            operation = found.ok()

            @hypothesis.given(case=operation.as_strategy())
            @hypothesis.settings(
                max_examples=8, deadline=None, database=None, derandomize=True,
                suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate],
            )  # fmt: skip
            def story(case: Any) -> None:
                nonlocal tried
                if case.query:
                    case.query.pop("wait_s", None)
                tried += 1
                headers = {"authorization": f"Bearer {TOKEN}", "host": f"127.0.0.1:{node.port}"}
                case.call_and_validate(base_url=node.url, headers=headers, checks=checks)

            story()
    assert tried > 100
    assert node.faults == []
