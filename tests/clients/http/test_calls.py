"""Answers as the client reads them, without a transport: errors by class, events with their cursor, addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from qcommons.base.errors import Corrupt, PeerError, QCommonsError, Unavailable, UsageError
from qcommons.clients.http import calls
from qcommons.clients.http.sse import EventReader
from qcommons.clients.http.target import LOCK_FILE, TOKEN_FILE, find
from qcommons.jobs.outcomes import ErrorInfo
from qcommons.node.api.records import EventView, Failure, PolicyView
from qcommons.node.lock import HomeLock


def failure(who: str, **more: Any) -> bytes:
    return msgspec.json.encode(Failure(ErrorInfo(who, "what", **more)))


# failures


@pytest.mark.parametrize(
    ("status", "who", "kind", "exit_code"),
    [
        (400, "caller", UsageError, 2),
        (401, "caller", UsageError, 2),
        (404, "caller", UsageError, 2),
        (409, "resources", calls.NotEnded, 4),
        (422, "resources", Unavailable, 3),
        (503, "resources", Unavailable, 4),
        (400, "peer", PeerError, 5),
        (500, "qcommons", Corrupt, 5),
        (500, "somebody new", Corrupt, 5),
    ],
)
def test_a_failure_is_the_error_that_the_node_named(
    status: int, who: str, kind: type[QCommonsError], exit_code: int
) -> None:
    with pytest.raises(kind) as caught:
        calls.policy().take(status, failure(who, where="here", limit="5 qubits"))
    error = caught.value
    assert (error.what, error.where, error.limit, error.exit_code) == ("what", "here", "5 qubits", exit_code)


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (502, b"<html>"), (200, b"{}"), (204, b""), (301, b"")])
def test_what_is_no_node_is_named_so(status: int, body: bytes) -> None:
    with pytest.raises(Unavailable, match="no node"):
        calls.policy().take(status, body)


def test_an_answer_is_its_struct() -> None:
    assert calls.policy().take(200, b'{"allow":["*"],"deny":[]}') == PolicyView(("*",), ())


def test_names_are_quoted_in_paths() -> None:
    assert calls.set_setting("../jobs?x=1", None).path == "/v1/settings/..%2Fjobs%3Fx%3D1"


def test_only_what_does_no_harm_twice_is_sent_again() -> None:
    from qcommons.clients.http.submissions import submission

    anonymous = msgspec.structs.replace(submission("OPENQASM 3.0;"), request=None)
    assert calls.submit(submission("OPENQASM 3.0;")).again and not calls.submit(anonymous).again
    assert not calls.new_token("bob", None).again and calls.cancel("j", "c").again


# events


def lines(reader: EventReader, text: str) -> list[EventView]:
    found = [reader.take(line) for line in text.split("\n")]
    return [event for event in found if event is not None]


def view(seq: int) -> str:
    event = EventView(seq=seq, at_ns=1, kind="e", facts={})
    return f"id: {seq}\nevent: e\ndata: {msgspec.json.encode(event).decode()}\n\n"


def test_events_move_the_cursor() -> None:
    reader = EventReader()
    assert lines(reader, "retry: 1000\nid: 41\n\n") == [] and reader.since == 42
    assert [event.seq for event in lines(reader, view(42) + ":\n\n" + view(43))] == [42, 43]
    assert reader.since == 44


def test_half_an_event_does_not_move_the_cursor() -> None:
    """The connection broke inside an event: it is asked for again."""
    reader = EventReader(7)
    lines(reader, view(7)[:-2].replace("\n\n", "\n"))
    reader.restart()
    assert reader.since == 7
    assert [event.seq for event in lines(reader, view(7))] == [7]


def test_a_stream_that_ends_with_a_failure_raises_it() -> None:
    text = f"event: failure\ndata: {failure('caller', where='since').decode()}\n\n"
    with pytest.raises(UsageError) as caught:
        lines(EventReader(), text)
    assert caught.value.where == "since"


@pytest.mark.parametrize("text", ["id: x\n\n", "data: {}\n\n", "event: failure\ndata: x\n\n"])
def test_a_stream_of_something_else_is_named_so(text: str) -> None:
    with pytest.raises(Unavailable, match="no node"):
        lines(EventReader(), text)


# which node


def test_without_a_node_it_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="qcommons up"):
        find(home=tmp_path, environ={})


def test_the_home_knows_its_node_while_it_runs(tmp_path: Path) -> None:
    (tmp_path / TOKEN_FILE).write_text("qc_secret\n")
    with HomeLock(tmp_path / LOCK_FILE) as lock:
        with pytest.raises(Unavailable, match="does not serve yet"):
            find(home=tmp_path, environ={})
        lock.publish("http://127.0.0.1:8740")
        target = find(home=tmp_path, environ={})
    assert (target.url, target.token) == ("http://127.0.0.1:8740", "qc_secret")
    assert "qc_secret" not in repr(target)
    with pytest.raises(Unavailable, match="no node runs here"):
        find(home=tmp_path, environ={})


def test_the_homes_token_goes_to_the_homes_node_only(tmp_path: Path) -> None:
    (tmp_path / TOKEN_FILE).write_text("qc_secret")
    with HomeLock(tmp_path / LOCK_FILE) as lock:
        lock.publish("http://127.0.0.1:8740")
        assert find("http://127.0.0.1:8740/", home=tmp_path, environ={}).token == "qc_secret"
        assert find("http://evil.example", home=tmp_path, environ={}).token == ""
        assert find(home=tmp_path, environ={"QCOMMONS_NODE": "http://127.0.0.1:9"}).token == ""


def test_arguments_win_over_the_environment(tmp_path: Path) -> None:
    environ = {"QCOMMONS_NODE": "http://a:1", "QCOMMONS_TOKEN": "t1"}
    assert find(home=tmp_path, environ=environ) == find("http://a:1", "t1", tmp_path, {})
    assert find("unix:/run/n.sock", "t2", tmp_path, environ).token == "t2"


@pytest.mark.parametrize(("url", "token"), [("127.0.0.1:8740", "t"), ("ftp://x", "t"), ("http://x", "two words")])
def test_what_is_no_address_or_token(url: str, token: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        find(url, token, tmp_path, {})
