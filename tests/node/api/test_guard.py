"""The guard against web pages in the owner's own browser, against other users and against large bodies."""

from __future__ import annotations

import contextlib

import pytest
from tests.node.api.serving import request, served
from tests.node.api.standin import GUEST_TOKEN, TOKEN, StandIn
from tests.node.api.test_app import ask, error
from tests.node.making import eventually

from qcommons.node.api.guard import BODY_BYTES_MAX


@pytest.mark.parametrize("host", ["127.0.0.1:8740", "localhost:8740", "LOCALHOST:8740", "[::1]:8740"])
def test_our_own_names_are_answered(host: str) -> None:
    assert ask(StandIn(), "GET", "/v1/status", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:8740", "127.0.0.1", "127.0.0.1:80", "localhost:8741", "127.0.0.1.evil.example:8740", "", "[::1]",
     "127.0.0.1:8740:8740", "10.0.0.1:8740", "evil@127.0.0.1:8740"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/status", "/openapi.json", "/v1/health"])
def test_dns_rebinding_is_refused_by_the_host_header(host: str, path: str) -> None:
    """A page of evil.example, whose name now resolves to 127.0.0.1, is same-origin for the browser: only Host tells."""
    response = ask(StandIn(), "GET", path, headers={"host": host})
    assert (response.status_code, error(response)["where"]) == (403, "host")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:8741"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ],
)
def test_requests_from_other_sites_are_refused_even_with_a_token(name: str, value: str) -> None:
    for method in ("GET", "POST"):
        response = ask(StandIn(), method, "/v1/resume" if method == "POST" else "/v1/status", headers={name: value})
        assert (response.status_code, error(response)["where"]) == (403, name)


def test_our_own_page_may_ask() -> None:
    own = {"origin": "http://127.0.0.1:8740", "sec-fetch-site": "same-origin"}
    assert ask(StandIn(), "GET", "/v1/status", headers=own).status_code == 200


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Basic qc_owner_token", "Bearer qc_owner", "Bearer " + "x" * 9999]
)
def test_only_a_whole_bearer_token_opens(value: str) -> None:
    response = ask(StandIn(), "GET", "/v1/status", token=None, headers={"authorization": value})
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert "qc_owner" not in response.text


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1.evil.example:{port}", "127.0.0.1:{port}@evil.example", "127.0.0.1:{port}/", "[::ffff:127.0.0.1]:{port}",
     "127.1:{port}", "2130706433:{port}", "0x7f.0.0.1:{port}", "0.0.0.0:{port}", "localhost.:{port}",
     "127.0.0.1:0{port}", "127.0.0.1:+{port}", "127.0.0.1 :{port}", "evil.example:{port}"],
)  # fmt: skip
def test_no_other_way_to_write_this_address_is_our_name(host: str) -> None:
    """Over a socket: whatever the server makes of it."""
    with served() as node:
        port = str(node.port)
        text = f"GET /v1/health HTTP/1.1\r\nhost: {host.replace('{port}', port)}\r\nconnection: close\r\n\r\n"
        assert node.raw(text.encode()).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    "path",
    ["/v1/%73tatus", "/v1%2fstatus", "/v1/status/", "//v1/status", "/v1/./status", "/v1/health/../status",
     "/v1/health/..%2fstatus", "/v1/health;/../status", "/v1/health%00", "/v1/health%ff", "/v1/health#/v1/status",
     "http://evil.example/v1/status", "/V1/STATUS", "/v1/health/"],
)  # fmt: skip
def test_no_way_to_write_a_path_leads_past_the_token_or_the_owner(path: str) -> None:
    with served() as node:
        for token in (None, GUEST_TOKEN):
            said = node.raw(request("GET", path, node.port, "connection: close", token=token))
            assert not said.startswith(b"HTTP/1.1 200") or b'"health":"green"}' in said, said
            assert b"sentence" not in said


def test_a_token_in_the_query_opens_nothing_and_is_not_repeated() -> None:
    """It would stand in logs of proxies and in histories of browsers."""
    for name in ("token", "access_token", "authorization"):
        response = ask(StandIn(), "GET", f"/v1/status?{name}={TOKEN}", token=None)
        assert response.status_code == 401 and TOKEN not in response.text
        response = ask(StandIn(), "GET", f"/v1/status?{name}={TOKEN}")
        assert response.status_code == 400 and TOKEN not in response.text


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PATCH", "PROPFIND", "PURGE"])
def test_other_methods_do_nothing_and_echo_nothing(method: str) -> None:
    with served() as node:
        for token, status in ((None, b"401"), (TOKEN, b"405")):
            extra = ("x-secret: 7913", "connection: close")
            said = node.raw(request(method, "/v1/status", node.port, *extra, token=token))
            assert said.startswith(b"HTTP/1.1 " + status) and b"7913" not in said
            assert b"access-control" not in said.lower()


def test_head_says_what_get_would_without_the_body() -> None:
    with served() as node:
        head = node.raw(request("HEAD", "/v1/status", node.port, "connection: close"))
        full = node.raw(request("GET", "/v1/status", node.port, "connection: close"))
        assert head.endswith(b"\r\n\r\n") and full.startswith(b"HTTP/1.1 200") and head.startswith(b"HTTP/1.1 200")
        events = node.raw(request("HEAD", "/v1/events", node.port, "connection: close"))
        assert events.startswith(b"HTTP/1.1 200") and events.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("wait_s", ["nan", "-nan", "inf", "-inf", "-1", "300.1", "1e400", "", "1,5", "0x1", "true"])
def test_a_wait_that_is_no_time_is_refused(wait_s: str) -> None:
    """Not a number would disorder the event loop's own heap of times."""
    door = StandIn(instant=False)
    response = ask(door, "GET", f"/v1/jobs/job_aaaaaaaaaaaaaaaa?wait_s={wait_s}")
    assert (response.status_code, error(response)["where"]) == (400, "query.wait_s")


def test_headers_given_twice_are_refused() -> None:
    with served() as node:
        said = node.raw(request("GET", "/v1/status", node.port, f"host: 127.0.0.1:{node.port}", "connection: close"))
    assert said.startswith(b"HTTP/1.1 400")


def test_a_body_that_announces_too_much_is_refused_before_it_is_read() -> None:
    with served() as node:
        head = request("POST", "/v1/pause", node.port, f"content-length: {1 << 40}", "content-type: application/json")
        said = node.raw(head)
    assert said.startswith(b"HTTP/1.1 413") and b"1048576 bytes" in said and b"connection: close" in said


def test_a_body_that_grows_beyond_the_limit_is_refused_while_it_comes() -> None:
    """Chunked: nothing is announced."""
    with served() as node:
        head = request("POST", "/v1/pause", node.port, "transfer-encoding: chunked", "content-type: application/json")
        chunk = b"%x\r\n" % (1 << 16) + b" " * (1 << 16) + b"\r\n"
        said = node.raw(head + chunk * (BODY_BYTES_MAX // (1 << 16) + 2) + b"0\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413")


def test_a_submission_may_be_larger_than_other_bodies() -> None:
    response = ask(StandIn(), "POST", "/v1/jobs", json={"programs": [{"qasm": "x" * (2 << 20)}]})
    assert response.status_code == 202


def test_large_uploads_at_once_are_bounded_together() -> None:
    """Four of 60 MiB are on their way and the fifth is told to come later; small requests are served all the while."""
    with served() as node, contextlib.ExitStack() as stack:
        head = request("POST", "/v1/jobs", node.port, f"content-length: {60 << 20}", "content-type: application/json")
        for _ in range(4):
            stack.enter_context(node.connect()).sendall(head + b"{")
        assert eventually(lambda: len(node.server._state.tasks) == 4)
        assert b"too many large uploads" in node.raw(head)
        assert b"200 OK" in node.raw(request("GET", "/v1/status", node.port, "connection: close"))
        stack.close()
        assert eventually(lambda: not node.server._state.tasks)
        assert b"too many" not in node.raw(head)


def test_without_a_token_not_even_the_body_is_read() -> None:
    with served() as node:
        said = node.raw(request("POST", "/v1/jobs", node.port, "content-length: 60000000", token=None))
    assert said.startswith(b"HTTP/1.1 401") and b"connection: close" in said
