"""Sync and async clients over real sockets: jobs, waiting, failures, lost connections, events."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.node.api.serving import Served, served
from tests.node.api.standin import GUEST_TOKEN, TOKEN, StandIn, some_job_id
from tests.node.making import BELL, TURN, eventually

from qcommons.base.errors import Unavailable, UsageError
from qcommons.clients.http.async_node import AsyncNode
from qcommons.clients.http.node import Node
from qcommons.jobs.outcomes import Misused
from qcommons.jobs.results import Result, Results
from qcommons.node.api.records import EventView


def test_run_gives_what_an_embedded_run_gives() -> None:
    with served() as server, Node.connect(server.url, TOKEN) as node:
        one = node.run(BELL, shots=1024)
        many = node.run([TURN, TURN], bind={"theta": [0.1, 0.2, 0.3]})
    assert isinstance(one, Result) and isinstance(many, Results)
    assert one.counts == {"11": 3, "00": 2} and one.probabilities["11"] == 0.6
    assert many.shape == (2, 3) and len(many.counts) == 6 and many.status == "done"


def test_a_run_that_is_not_answered_raises_its_error() -> None:
    door = StandIn(outcome=Misused("no such gate", where="bell.qasm:3:1"))
    with served(door) as server, Node.connect(server.url, TOKEN) as node:
        with pytest.raises(UsageError) as caught:
            node.run(BELL)
        batch = node.run([BELL])
    assert caught.value.where == "bell.qasm:3:1"
    assert isinstance(batch, Results) and batch.errors[0].what == "no such gate"


def test_a_job_can_be_waited_for_looked_at_and_cancelled() -> None:
    door = StandIn(instant=False)
    with served(door) as server, Node.connect(server.url, TOKEN) as node:
        job = node.submit(BELL, tags=["demo"])
        assert (job.view().state, job.why().who) == ("running", "nobody")
        with pytest.raises(Unavailable, match=r"has not ended within 0.1 s: running for .* \(a worker has it\)"):
            job.result(timeout=0.1)
        with pytest.raises(Unavailable):
            job.receipt()
        threading.Timer(0.1, lambda: server.run(door.finish(job.id))).start()
        assert isinstance(job.result(timeout=10), Result)
        assert job.receipt(3) == b"\x86\x03"
        second = node.submit(BELL)
        assert second.cancel("enough").cause == "enough"
        assert [view.id for view in node.jobs(tag="demo").jobs] == [job.id] == [node.job(job.id).view().id]
        assert node.jobs(limit=1).more == 1


def test_progress_is_told_until_the_end() -> None:
    door = StandIn(instant=False)
    told: list[tuple[int, int]] = []

    def progress(answered: int, runs: int) -> None:
        told.append((answered, runs))
        (job,) = door.views
        server.run(door.finish(job))

    with served(door) as server, Node.connect(server.url, TOKEN) as node:
        node.run([BELL, BELL], progress=progress)
    assert told == [(0, 2), (2, 2)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_run_cancels_its_job(error: type[BaseException]) -> None:
    """By Ctrl-C, or by a progress callback that fails."""
    door = StandIn(instant=False)

    def progress(answered: int, runs: int) -> None:
        raise error

    with served(door) as server, Node.connect(server.url, TOKEN) as node:
        with pytest.raises(error):
            node.run(BELL, progress=progress)
        assert [view.state for view in door.views.values()] == ["cancelled"]


def test_the_owners_calls() -> None:
    with served() as server, Node.connect(server.url, TOKEN) as node:
        assert node.status().health == "green"
        assert node.pause(60.0, finish=True) and server.door.paused is not None
        assert node.resume() and server.door.paused is None
        node.allow("tag:physics")
        assert node.deny("principal:eve").deny == ("principal:eve",)
        assert node.forget_rules("tag:physics") == node.policy()
        assert node.set_setting("limits.seconds", "5m").origin == "file" == node.settings()[0].origin
        given = node.new_token("bob")
        assert [token.id for token in node.tokens()] == [given.id]
        assert node.revoke_token(given.id) is None and node.tokens() == []
        assert node.logs() == ('{"event":"started"}',) and node.engines() == [] and node.metrics() == "# EOF\n"
        assert node.shut_down(1.0).draining


@pytest.mark.parametrize(("token", "where"), [(GUEST_TOKEN, "token"), ("wrong", "token")])
def test_a_token_without_the_right_is_a_usage_error(token: str, where: str) -> None:
    with served() as server, Node.connect(server.url, token) as node, pytest.raises(UsageError) as caught:
        node.status()
    assert caught.value.where == where


def test_an_unknown_job_is_a_usage_error() -> None:
    with served() as server, Node.connect(server.url, TOKEN) as node, pytest.raises(UsageError) as caught:
        node.job(some_job_id()).result()
    assert caught.value.where == "job"


def test_over_a_unix_socket(tmp_path: Path) -> None:
    with served(uds=tmp_path / "n.sock") as server, Node.connect(server.url, TOKEN) as node:
        assert isinstance(node.run(BELL), Result)


def test_where_nobody_answers_it_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Unavailable, match="qcommons up") as caught:
        Node.connect(f"http://127.0.0.1:{port}", TOKEN)
    assert str(port) in (caught.value.where or "")


def test_something_else_than_a_node_is_named_so() -> None:
    def serve() -> None:
        link, _ = listener.accept()
        with link:
            link.recv(4096)
            link.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(Unavailable, match="no node"):
            Node.connect(f"http://127.0.0.1:{listener.getsockname()[1]}", TOKEN).status()


class LosesAnswers:
    """Between client and node: the first `losses` answers to POST are dropped, with their connection."""

    def __init__(self, port: int, losses: int) -> None:
        self.left = losses
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(link,), daemon=True).start()

    def _one(self, link: socket.socket) -> None:
        own = self.url.rpartition("/")[2].encode()
        with link, socket.create_connection(("127.0.0.1", self._port)) as far:
            while True:
                asked = link.recv(1 << 20)
                if not asked:
                    return
                far.sendall(asked.replace(own, b"127.0.0.1:%d" % self._port))
                if b"POST" in asked[:4] and b"\r\n\r\n" in asked:
                    head, _, body = asked.partition(b"\r\n\r\n")
                    size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                    while len(body) < size:
                        more = link.recv(1 << 20)
                        body += more
                        far.sendall(more)
                time.sleep(0.05)
                said = far.recv(1 << 20)
                if asked.startswith(b"POST") and self.left:
                    self.left -= 1
                    return
                link.sendall(said)

    def close(self) -> None:
        self._listener.close()


def test_a_submission_whose_answer_is_lost_is_sent_again_and_makes_one_job() -> None:
    door = StandIn()
    with served(door) as server:
        between = LosesAnswers(server.port, losses=2)
        with Node.connect(between.url, TOKEN) as node:
            job = node.submit(BELL)
        between.close()
    assert between.left == 0
    assert [job.id] == list(door.views)


def test_a_restart_of_the_node_is_bridged() -> None:
    """The node is away for a moment; what may be asked twice is asked again."""
    door = StandIn()
    first = Served(door)
    with Node.connect(first.url, TOKEN) as node:
        job = node.submit(BELL)
        first.stop()
        later: list[Served] = []
        threading.Timer(0.3, lambda: later.append(Served(door, port=first.port))).start()
        assert isinstance(job.result(timeout=10), Result)
    later[0].stop()


def test_events_go_on_from_their_cursor_over_a_restart() -> None:
    door = StandIn()
    first = Served(door)
    seen: list[int] = []

    def follow() -> None:
        with Node.connect(first.url, TOKEN) as node:
            for event in node.events():
                seen.append(event.seq)
                if event.seq == 5:
                    return

    first.run(door.tell("before"))
    thread = threading.Thread(target=follow)
    thread.start()
    assert eventually(lambda: bool(first.server._state.tasks))
    time.sleep(0.1)
    for _ in range(2):
        first.run(door.tell("e"))
    assert eventually(lambda: seen == [1, 2])
    first.stop()
    second = Served(door, port=first.port)
    for _ in range(3):
        second.run(door.tell("e"))
    thread.join(10)
    second.stop()
    assert seen == [1, 2, 3, 4, 5]


def test_a_cursor_that_is_too_old_raises() -> None:
    door = StandIn()
    door.news += [EventView(seq=i, at_ns=i, kind="e", facts={}) for i in range(9)]
    door.oldest = 7
    with served(door) as server, Node.connect(server.url, TOKEN) as node, pytest.raises(UsageError) as caught:
        next(iter(node.events(3)))
    assert caught.value.where == "since"


def test_async_node_does_the_same() -> None:
    async def story(url: str, door: StandIn, server: Served) -> None:
        async with await AsyncNode.connect(url, TOKEN) as node:
            runs: list[Any] = await asyncio.gather(*[node.run(BELL) for _ in range(8)])
            assert all(run.counts == {"11": 3, "00": 2} for run in runs)
            door.instant = False
            job = await node.submit(BELL)
            with pytest.raises(Unavailable, match="has not ended within"):
                await job.result(timeout=0.05)
            task = asyncio.ensure_future(node.run(BELL))
            while len(door.views) < 10:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert [view.state for view in door.views.values()][-2:] == ["running", "cancelled"]
            async for event in node.events(0):
                if event.seq == 3:
                    break
            assert (await node.status()).health == "green" and (await job.why()).job == job.id

    with served() as server:
        asyncio.run(story(server.url, server.door, server))
    assert server.faults == []


@pytest.mark.parametrize("name", ["node", "async_node"])
def test_importing_the_client_imports_no_transport(name: str) -> None:
    code = f"import sys, qcommons.clients.http.{name}; print('httpx' in sys.modules, 'starlette' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "False False\n"
