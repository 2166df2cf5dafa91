"""The page `docs/api.md`, from the same rows that the router reads.

Regenerate: `python -m qcommons.node.api.page > docs/api.md`. A test holds page and rows together.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from qcommons.node.api.openapi import openapi, statuses
from qcommons.node.api.problem import STATUSES
from qcommons.node.api.routes import ROUTES, Route

__all__ = ["page"]

HEAD = """\
# The node's API

<!-- Generated: python -m qcommons.node.api.page > docs/api.md -->

A node serves `http://127.0.0.1:8740` (or a unix socket, its file 0600): every client goes through it, yours too. The
same as OpenAPI 3.1: `GET /openapi.json`, or [openapi.json](openapi.json).

```text
curl -H "Authorization: Bearer $(cat TOKEN_FILE)" http://127.0.0.1:8740/v1/status
```

From Python the node of this home, or the one that `QCOMMONS_NODE` and `QCOMMONS_TOKEN` name; `AsyncNode` of
`qcommons.clients.http.async_node` is the same with `await`:

```python
from qcommons.clients.http.node import Node

with Node.connect() as node:
    job = node.submit("bell.qasm", shots=4096, tags=["demo"])  # on disk when this returns
    print(job.result(timeout=60))  # the answer, or an error that says state, cause and since when
```

- **Token**: `Authorization: Bearer ...` on every path but the open ones. The owner's token stands in the file that
  `qcommons up -d` names (0600); others get their own, see `POST /v1/tokens`, and see their own jobs only.
- **Host and Origin**: the node answers to 127.0.0.1, localhost and [::1] with its port, and to no page of another
  origin: requests with a foreign `Host`, `Origin` or `Sec-Fetch-Site` get 403. There is no CORS.
- **Bodies** are JSON, 1 MiB at most (64 MiB for `POST /v1/jobs`, 4 MiB of a guest). A field or parameter that is
  not named here is refused. Names say the unit: `_ns`, `_s`, `_bytes`. A moment is a number of nanoseconds since 1970
  (UTC); planned absences and the papers of peers have seconds since 1970 (`from_s`, `until_s`), as they were signed.
  A body holds 524,288 values at most (a sweep of 100,000 points of five inputs); texts of programs count as one each.
- **Failures** of every kind have the body `{"error": {"who", "what", "where", "limit"}}`: who must act (`caller`,
  `resources`, `peer`, `qcommons`), what is wrong, where, and which limit was passed.
- **Again**: a submission with the same `request` makes one job however often it is sent, so a lost answer costs
  nothing: send it again.
- **Waiting**: `wait_s` (300 at most) holds the answer until the job has ended or the time is over.
- **Connections**: headers must be complete within 10 s and bodies must move; 512 connections at once, and for a
  newcomer the one goes that has been without a request and a token longest. Whoever takes longer than 30 s for the
  next 64 KiB of an answer is dropped; a listener of events goes on from its cursor, or is ended when its token is
  revoked or expires.
- **Answers**: a job may ask for 192 MiB of amplitudes (422 beyond). Of counts nobody knows before: a job whose answers
  outgrow 192 MiB is stopped and fails, with the answers so far. Large answers are sent in pieces, without a
  `content-length`. 256 MiB of answers may be on their way at once, or one larger one; 503 says to read one first.
- **Guests**: each has 64 requests at once, waits included, 8 event streams among them, and one large upload (4 MiB);
  more get 429, which says what to end. All guests together have half of the node, the rest stays for its owner. The
  programs of a guest are read in turn, within 10 s a submission; the answer of a job may take 32 MiB, counted before
  it runs (422 beyond), and 64 MiB of answers may be on their way to one guest. `total`, `more` and the numbers of
  events count what is the guest's own.

| status | meaning |
|---|---|
"""


def page() -> str:
    """The whole page as Markdown."""
    lines = [f"| {status} | {meaning} |" for status, meaning in STATUSES.items()]
    lines += ["", "## Paths", "", "| path | who | |", "|---|---|---|"]
    lines += [f"| `{row.method} {row.path}` | {row.who} | {row.summary} |" for row in ROUTES]
    for row in ROUTES:
        lines += _section(row)
    lines += ["", "## Records"]
    for name, schema in sorted(openapi()["components"]["schemas"].items()):
        lines += _record(name, schema)
    return HEAD + "\n".join(lines) + "\n"


def _section(row: Route) -> Iterator[str]:
    operation = openapi()["paths"][row.path][row.method.lower()]
    yield from ("", f"### {row.method} {row.path}", "", row.summary, "")
    for parameter in operation.get("parameters", ()):
        yield f"- `{parameter['name']}` ({parameter['in']}): {_kind(parameter['schema'])}"
    if "requestBody" in operation:
        yield f"- body: {_kind(operation['requestBody']['content']['application/json']['schema'])}"
    content = operation["responses"][str(row.status)].get("content", {})
    kinds = [f"{_kind(body['schema'])}" if "schema" in body else f"`{media}`" for media, body in content.items()]
    yield f"- answer: {row.status}{', ' if kinds else ''}{' or '.join(kinds)}"
    yield f"- failures: {', '.join(map(str, statuses(row)))}"


def _record(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield from ("", f"### {name}")
    if schema.get("description"):
        yield from ("", " ".join(schema["description"].split()))
    fields = schema.get("properties", {})
    if fields:
        yield from ("", "| field | type |", "|---|---|")
    for field, kind in fields.items():
        needed = "" if field in schema.get("required", ()) else _default(kind)
        yield f"| `{field}` | {_kind(kind)}{needed} |"


def _default(kind: dict[str, Any]) -> str:
    value = kind.get("default")
    return "; optional" if value in (None, "", [], {}) else f"; default `{str(value).lower()}`"


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words, records linked."""
    text = _base(schema)
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    if low is not None or high is not None:
        text += f", {'' if low is None else low} to {'' if high is None else high}"
    if "pattern" in schema:
        text += f", `{schema['pattern'].replace('|', chr(92) + '|')}`"
    words = schema.get("description", "")
    return text + (f": {words}" if words else "")


def _base(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{one}`" if one is not None else "null" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        parts = schema.get("prefixItems")
        items = schema.get("items")
        inside = ", ".join(map(_kind, parts)) if parts else _kind(items) if isinstance(items, dict) else "any"
        return f"[{inside}]" if parts else f"list of {inside}"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"object of {_kind(values)}" if isinstance(values, dict) and values else "object"
    encoded = schema.get("contentEncoding")
    return f"{schema.get('type', 'any')}{f' ({encoded})' if encoded else ''}"


if __name__ == "__main__":
    sys.stdout.write(page())
