"""Routes over the ASGI transport of httpx: what is answered, and how failures are told."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator
from tests.node.api.mesh_standin import PEER
from tests.node.api.serving import drain, request, served
from tests.node.api.standin import GUEST_TOKEN, TOKEN, StandIn, some_job_id
from tests.node.making import BELL, QASM

from qcommons.base.errors import Corrupt, Unavailable
from qcommons.jobs.outcomes import Cancelled
from qcommons.jobs.schema import schema_text
from qcommons.node.api.app import Api
from qcommons.node.api.records import AnsweredRuns
from qcommons.node.api.routes import ROUTES
from qcommons.node.card import card_of

HOST = "http://127.0.0.1:8740"
BELL_JOB = {"programs": [{"qasm": "OPENQASM 3.0;"}]}
VALIDATOR = Draft202012Validator(msgspec.json.decode(schema_text()))


def ask(
    door: StandIn, method: str, path: str, *, token: str | None = TOKEN, faults: list[Any] | None = None, **more: Any
) -> httpx.Response:
    async def one() -> httpx.Response:
        app = Api(door, on_fault=lambda *fault: (faults if faults is not None else []).append(fault))
        headers = {"authorization": f"Bearer {token}"} if token else {}
        headers |= more.pop("headers", {})
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST) as http:
            return await http.request(method, path, headers=headers, **more)

    return asyncio.run(one())


def error(response: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = response.json()["error"]
    assert set(found) == {"who", "what", "where", "limit", "tried"}
    return found


def submitted(door: StandIn, **fields: Any) -> str:
    response = ask(door, "POST", "/v1/jobs", json=BELL_JOB | fields)
    assert response.status_code == 202, response.text
    job: str = response.json()["job"]
    return job


# jobs


def test_a_submission_is_accepted_and_its_result_is_the_json_of_a_run() -> None:
    door = StandIn()
    job = submitted(door)
    body = ask(door, "GET", f"/v1/jobs/{job}/result").json()
    VALIDATOR.validate(body)
    assert (body["status"], body["counts"]) == ("done", {"11": 3, "00": 2})


def test_a_batch_answers_as_a_batch_of_its_grid() -> None:
    door = StandIn()
    programs = [{"qasm": QASM}, {"qasm": QASM}]
    job = submitted(door, programs=programs, batch=True, points=[{"t": 0.1}, {"t": 0.2}, {"t": 3}], shape=[3])
    body = ask(door, "GET", f"/v1/jobs/{job}/result").json()
    VALIDATOR.validate(body)
    assert (body["shape"], len(body["results"])) == ([2, 3], 6)


def test_typed_clients_get_msgpack() -> None:
    door = StandIn()
    job = submitted(door)
    response = ask(door, "GET", f"/v1/jobs/{job}/result", headers={"accept": "application/msgpack"})
    assert response.headers["content-type"] == "application/msgpack"
    answered = msgspec.msgpack.decode(response.content, type=AnsweredRuns)
    assert answered.single and answered.runs[0].counts == {"11": 3, "00": 2}


def test_a_job_that_has_not_ended_has_no_result_and_says_state_cause_and_since() -> None:
    door = StandIn(instant=False)
    response = ask(door, "GET", f"/v1/jobs/{submitted(door)}/result?wait_s=0.05")
    assert response.status_code == 409
    assert error(response)["who"] == "resources"
    assert "running for" in error(response)["what"] and "a worker has it" in error(response)["what"]


def test_a_cancelled_job_has_a_result_that_says_so() -> None:
    door = StandIn(outcome=Cancelled("asked by the caller"))
    body = ask(door, "GET", f"/v1/jobs/{submitted(door)}/result").json()
    VALIDATOR.validate(body)
    assert body["status"] == "cancelled"


def test_wait_s_holds_the_answer_until_the_job_has_ended() -> None:
    async def story() -> tuple[httpx.Response, float]:
        door = StandIn(instant=False)
        transport = httpx.ASGITransport(Api(door))
        async with httpx.AsyncClient(
            transport=transport, base_url=HOST, headers={"authorization": f"Bearer {TOKEN}"}
        ) as http:
            job = (await http.post("/v1/jobs", json=BELL_JOB)).json()["job"]
            begun = asyncio.get_running_loop().time()
            asyncio.get_running_loop().call_later(0.1, lambda: asyncio.ensure_future(door.finish(job)))
            response = await http.get(f"/v1/jobs/{job}?wait_s=20")
            return response, asyncio.get_running_loop().time() - begun

    response, seconds = asyncio.run(story())
    assert response.json()["state"] == "done" and 0.1 <= seconds < 5


def test_the_same_request_makes_one_job() -> None:
    door = StandIn()
    first = submitted(door, request="mine")
    again = ask(door, "POST", "/v1/jobs", json=BELL_JOB | {"request": "mine"}).json()
    assert again == {"job": first, "state": "done", "again": True} and len(door.submissions) == 1


def test_canonical_bytes_travel_in_base64() -> None:
    door = StandIn()
    card = card_of(BELL)
    submitted(door, programs=[{"wire": base64.b64encode(card.wire).decode()}])
    assert door.submissions[0].programs[0].wire == card.wire


def test_jobs_come_in_pages_newest_first() -> None:
    door = StandIn()
    made = [submitted(door, tags=["a"]) for _ in range(5)]
    first = ask(door, "GET", "/v1/jobs?limit=2&tag=a&state=done").json()
    second = ask(door, "GET", f"/v1/jobs?limit=4&before={first['more']}").json()
    assert [view["id"] for view in first["jobs"] + second["jobs"]] == made[::-1]
    assert second["more"] is None


@pytest.mark.parametrize(("path", "kind"), [("receipt", "application/cbor"), ("why", "application/json")])
def test_parts_of_a_job(path: str, kind: str) -> None:
    door = StandIn()
    response = ask(door, "GET", f"/v1/jobs/{submitted(door)}/{path}")
    assert (response.status_code, response.headers["content-type"]) == (200, kind)


def test_cancel_needs_no_body() -> None:
    door = StandIn(instant=False)
    view = ask(door, "POST", f"/v1/jobs/{submitted(door)}/cancel").json()
    assert (view["state"], view["cause"]) == ("cancelled", "asked by the caller")


# bad input


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "body"),
        ({"programs": []}, "$.programs"),
        ({"programs": [{"qasm": 1}]}, "$.programs[0].qasm"),
        ({"programs": [{"qasm": "x", "path": "/etc/passwd"}]}, "$.programs[0]"),
        (BELL_JOB | {"shotz": 5}, "body"),
        (BELL_JOB | {"shots": "5"}, "$.shots"),
        (BELL_JOB | {"shots": 0}, "shots"),
        (BELL_JOB | {"seed": -1}, "$.seed"),
        (BELL_JOB | {"tags": ["no spaces"]}, "$.tags[0]"),
        (BELL_JOB | {"points": [{"t": "x"}]}, "$.points[0][...]"),
        (BELL_JOB | {"egress": "moon"}, "$.egress"),
        (BELL_JOB | {"deadline_s": -1}, "deadline_s"),
        ({"programs": [{"wire": "AAAA"}]}, "programs[0].wire"),
    ],
)
def test_a_bad_submission_names_the_field_and_makes_no_job(body: Any, where: str) -> None:
    door = StandIn()
    response = ask(door, "POST", "/v1/jobs", json=body)
    assert response.status_code == 400
    assert error(response)["who"] == "caller" and (error(response)["where"] or "").startswith(where)
    assert door.submissions == []


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{", b"\xff\xfe", b'{"programs": [{"qasm": "\\ud800"}]}', b"[" * 5_000_000,
             b'{"programs":' + b"[" * 900_000, b'{"a":' * 200_000]
)  # fmt: skip
def test_a_body_that_is_no_json_of_this_kind_is_refused_however_deep(body: bytes) -> None:
    response = ask(StandIn(), "POST", "/v1/jobs", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400 and error(response)["who"] == "caller"


@pytest.mark.parametrize(
    ("query", "where"),
    [("limit=0", "query.limit"), ("limit=x", "query.limit"), ("limit=1&limit=2", "query"), ("since=1", "query"),
     ("state=gone", "query.state"), ("before=-1", "query.before")],
)  # fmt: skip
def test_parameters_are_strict(query: str, where: str) -> None:
    response = ask(StandIn(), "GET", f"/v1/jobs?{query}")
    assert (response.status_code, error(response)["where"]) == (400, where)


@pytest.mark.parametrize("wait", ["nan", "inf", "-1", "301", "1e999"])
def test_waits_are_bounded(wait: str) -> None:
    assert ask(StandIn(), "GET", f"/v1/jobs/{some_job_id()}?wait_s={wait}").status_code == 400


def test_other_content_types_are_refused() -> None:
    response = ask(StandIn(), "POST", "/v1/jobs", content=b"{}", headers={"content-type": "text/plain"})
    assert (response.status_code, error(response)["where"]) == (415, "content-type")


# failures


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/v1/jobs/{some_job_id()}"),
        ("GET", "/v1/jobs/..%2f..%2fetc"),
        ("GET", "/v1/nothing"),
        ("GET", "/"),
        ("GET", "/v1/status/"),
        ("DELETE", "/v1/tokens/none"),
        ("PUT", "/v1/settings/none"),
    ],
)
def test_what_is_not_there_is_404(method: str, path: str) -> None:
    response = ask(StandIn(), method, path, json={"value": "1"} if method == "PUT" else None)
    assert response.status_code == 404 and error(response)["who"] == "caller"


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "OPTIONS", "PUT", "TRACE"])
def test_other_methods_are_405_and_name_the_allowed_ones(method: str) -> None:
    response = ask(StandIn(), method, "/v1/jobs")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, POST")
    assert error(response)["where"] == "method"


def test_refused_with_numbers_is_422_and_unavailable_503_with_retry_after() -> None:
    refused, full = Unavailable("24 qubits at most", where="limits.qubits", limit="24"), Unavailable("queue full")
    refused.exit_code = 3
    door = StandIn()
    door.faults["submit"] = refused
    first = ask(door, "POST", "/v1/jobs", json=BELL_JOB)
    door.faults["submit"] = full
    second = ask(door, "POST", "/v1/jobs", json=BELL_JOB)
    assert (first.status_code, error(first)["limit"]) == (422, "24")
    assert (second.status_code, error(second)["who"]) == (503, "resources") and int(second.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("fault", "token", "told"),
    [
        (ValueError("secret /home/ada"), TOKEN, False),
        (Corrupt("the store is damaged"), TOKEN, True),
        (Corrupt("the store is damaged"), GUEST_TOKEN, False),
    ],
)
def test_our_own_fault_is_500_with_an_id_and_tells_its_reason_to_the_owner_only(
    fault: Exception, token: str, told: bool
) -> None:
    door = StandIn()
    door.faults["submit"] = fault
    logged: list[Any] = []
    response = ask(door, "POST", "/v1/jobs", token=token, json=BELL_JOB, faults=logged)
    assert response.status_code == 500 and error(response)["who"] == "qcommons"
    assert [(fault_id, cause) for fault_id, cause in logged] == [(error(response)["where"], fault)]
    assert (str(fault) in response.text) is told


def test_every_answer_has_the_security_headers_and_none_has_cors() -> None:
    for path, token in (("/v1/status", TOKEN), ("/v1/status", None), ("/nowhere", TOKEN), ("/openapi.json", None)):
        headers = ask(StandIn(), "GET", path, token=token).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert not [name for name in headers if name.startswith("access-control")]


# who may


@pytest.mark.parametrize("row", ROUTES, ids=lambda row: f"{row.method} {row.path}")
def test_each_route_asks_for_its_right(row: Any) -> None:
    """The events stream is asked with HEAD, which ends at once."""
    path = row.path.format(job=some_job_id(), token="none", key="limits.seconds", peer=PEER, resource="work")
    method = "HEAD" if row.path == "/v1/events" else row.method
    codes = {
        token: ask(StandIn(), method, path, token=token, json={} if row.body else None).status_code
        for token in (None, "wrong", GUEST_TOKEN, TOKEN)
    }
    open_, owner = row.who == "open", row.who == "owner"
    assert (codes[None] == 401) is (codes["wrong"] == 401) is not open_
    assert (codes[GUEST_TOKEN] == 403) is owner
    assert codes[TOKEN] not in (401, 403)


def test_others_see_their_own_jobs_only() -> None:
    door = StandIn()
    job = submitted(door)
    assert ask(door, "GET", f"/v1/jobs/{job}", token=GUEST_TOKEN).status_code == 404
    assert ask(door, "GET", "/v1/jobs", token=GUEST_TOKEN).json()["jobs"] == []


# the node


def test_health_is_open_and_503_where_red() -> None:
    door = StandIn()
    assert ask(door, "GET", "/v1/health", token=None).json() == {"health": "green"}
    door.health = "red"
    assert ask(door, "GET", "/v1/health", token=None).status_code == 503


def test_pause_policy_settings_tokens_and_shut_down_reach_the_door() -> None:
    door = StandIn()
    assert ask(door, "POST", "/v1/pause", json={"for_s": 60, "finish": True}).status_code == 200
    assert door.paused is not None and (door.paused.for_s, door.paused.finish) == (60, True)
    assert ask(door, "POST", "/v1/resume").status_code == 200 and door.paused is None
    policy = ask(door, "POST", "/v1/policy", json={"deny": ["tag:mining"]}).json()
    assert policy == {"allow": [], "deny": ["tag:mining"]} == ask(door, "GET", "/v1/policy").json()
    assert ask(door, "PUT", "/v1/settings/limits.seconds", json={"value": "5m"}).json()["origin"] == "file"
    assert ask(door, "PUT", "/v1/settings/limits.seconds", json={}).status_code == 400
    assert ask(door, "PUT", "/v1/settings/limits.seconds", json={"value": "banana"}).status_code == 400
    given = ask(door, "POST", "/v1/tokens", json={"principal": "bob"})
    assert given.status_code == 201 and "token" not in ask(door, "GET", "/v1/tokens").json()[0]
    assert ask(door, "DELETE", f"/v1/tokens/{given.json()['id']}").status_code == 204
    assert ask(door, "POST", "/v1/shutdown").status_code == 202 and door.draining


def test_metrics_are_openmetrics() -> None:
    response = ask(StandIn(), "GET", "/metrics")
    kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert (response.headers["content-type"], response.text) == (kind, "# EOF\n")


def test_head_answers_like_get_without_a_body() -> None:
    response = ask(StandIn(), "HEAD", "/v1/status")
    assert response.status_code == 200 and response.headers["content-type"] == "application/json"


def test_a_body_of_millions_of_small_values_is_refused_without_being_decoded() -> None:
    """Decoding holds the interpreter: the cap of a list is told after the list is made."""
    raw = b'{"programs":[{"qasm":"OPENQASM 3.0; qubit q;"}],"points":[' + b"{}," * 1_000_000 + b"{}]}"
    with served() as node, pytest.MonkeyPatch.context() as patch:
        patch.setattr(msgspec.json, "decode", lambda *_, **__: pytest.fail("decoded"))
        link = node.connect()
        extra = ("content-type: application/json", f"content-length: {len(raw)}")
        link.sendall(request("POST", "/v1/jobs", node.port, *extra, token=GUEST_TOKEN) + raw)
        said = drain(link, 3.0)
        link.close()
    assert said.startswith(b"HTTP/1.1 400 ") and b"more than 524288 values" in said
