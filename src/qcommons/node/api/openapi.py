"""OpenAPI 3.1 of the API, made from the rows of `routes` and the structs they name.

Flow: ROUTES -> *openapi* -> GET /openapi.json, docs/openapi.json. Regenerate the file with
`python -m qcommons.node.api.openapi > docs/openapi.json`; a test keeps the two equal.
"""

from __future__ import annotations

import functools
import re
import sys
from typing import Any

import msgspec

from qcommons.jobs.asks import RESOURCES
from qcommons.node.api.problem import STATUSES
from qcommons.node.api.records import Failure
from qcommons.node.api.routes import ROUTES, Route

__all__ = ["openapi", "openapi_text", "statuses"]

Tree = dict[str, Any]
REF = "#/components/schemas/{name}"
JSON = "application/json"
IN_PATH: dict[str, Tree] = {
    "job": {"type": "string", "pattern": "^job_[a-z2-7]{16}$"},
    "token": {"type": "string", "description": "the token's id, not the token"},
    "key": {"type": "string", "description": "section.name, as `qcommons config show` lists it"},
    "peer": {"type": "string", "pattern": "^qn1[a-z0-9]{58}$", "description": "a node id"},
    "resource": {"type": "string", "enum": list(RESOURCES)},
}


def statuses(row: Route) -> tuple[int, ...]:
    """Of the failures a route may answer with."""
    found = {400, 500, 503, *row.errors}
    found |= {401, 429} if row.who != "open" else set()
    found |= {403} if row.who == "owner" else set()
    found |= {404} if "{" in row.path else set()
    found |= {413, 415} if row.body is not None else set()
    return tuple(sorted(found))


@functools.cache
def openapi() -> Tree:
    """The whole description as plain data."""
    kinds = _kinds()
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REF)
    schema = dict(zip(kinds, schemas, strict=True))
    paths: Tree = {}
    for row in ROUTES:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, schema, components)
    for query in {row.query for row in ROUTES}:
        components.pop(query.__name__, None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Quantum Commons node",
            "version": "1",
            "description": "The API of one Q-node. Times are nanoseconds since 1970 (UTC). Qubits are emulated.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:8740"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _kinds() -> list[Any]:
    found: list[Any] = [Failure]
    for row in ROUTES:
        found += [kind for kind in (row.query, row.body, *_answers(row)) if kind is not None]
    return list(dict.fromkeys(found))


def _answers(row: Route) -> tuple[Any, ...]:
    return row.answer if isinstance(row.answer, tuple) else (row.answer,)


def _operation(row: Route, schema: dict[Any, Tree], components: Tree) -> Tree:
    operation: Tree = {"operationId": row.handler.__name__.strip("_"), "summary": row.summary}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": IN_PATH[name]}
        for name in re.findall(r"{(\w+)}", row.path)
    ]
    for name, field in components[row.query.__name__].get("properties", {}).items():
        parameters.append({"name": name, "in": "query", "schema": field})
    if parameters:
        operation["parameters"] = parameters
    if row.body is not None:
        needed = bool(components[row.body.__name__].get("required"))
        operation["requestBody"] = {"required": needed, "content": {JSON: {"schema": schema[row.body]}}}
    answers: Tree = {str(row.status): _success(row, schema)}
    for status in statuses(row):
        answers[str(status)] = {"description": STATUSES[status], "content": {JSON: {"schema": schema[Failure]}}}
    operation["responses"] = answers
    if row.who == "open":
        operation["security"] = []
    return operation


def _success(row: Route, schema: dict[Any, Tree]) -> Tree:
    shapes = [schema[kind] for kind in _answers(row) if kind is not None]
    media = row.media or ((JSON,) if shapes else ())
    if not media:
        return {"description": row.summary}
    body: Tree = {"schema": shapes[0] if len(shapes) == 1 else {"anyOf": shapes}} if shapes else {}
    return {"description": row.summary, "content": {kind: body if kind == JSON else {} for kind in media}}


@functools.cache
def openapi_text() -> str:
    """The same as JSON, indented, with a line end."""
    return msgspec.json.format(msgspec.json.encode(openapi()), indent=1).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(openapi_text())
