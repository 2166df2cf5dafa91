"""A running node, from Python.

Flow: your program -> *Node* -> HTTP -> the node; *Job* is the handle of what was submitted.

    with Node.connect() as node:
        job = node.submit("bell.qasm", shots=4096, tags=["demo"])
        print(job.result(timeout=60))
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcommons.base.clock import deadline_ns, left_s
from qcommons.base.errors import QCommonsError
from qcommons.clients.http import calls
from qcommons.clients.http.archives import check_target, write_archive
from qcommons.clients.http.calls import NotEnded, results_of
from qcommons.clients.http.mesh import Mesh
from qcommons.clients.http.submissions import submission
from qcommons.clients.http.target import find
from qcommons.clients.http.waiting import PROGRESS_S, not_ended, poll_s
from qcommons.engines.registry import EngineRow
from qcommons.jobs.results import Result, Results
from qcommons.node.api.quote_records import Quote
from qcommons.node.api.records import (
    AnsweredRuns,
    EventView,
    JobList,
    JobView,
    PolicyChange,
    PolicyView,
    SettingView,
    Status,
    Submission,
    TokenGiven,
    TokenView,
    Why,
)

if TYPE_CHECKING:
    from qcommons.clients.http.transport import Transport

__all__ = ["Job", "Node"]

Progress = Callable[[int, int], None]


class Node:
    """One node; a context manager, safe to use from several threads. Use `connect`.

    Every method raises the error that the node named: UsageError, Unavailable or Corrupt with `where` and `limit`;
    and Unavailable where no node answers.
    """

    def __init__(self, transport: Transport) -> None:
        self.target = transport.target
        self.send = transport.send
        self.mesh = Mesh(transport.send)
        self._transport = transport

    @classmethod
    def connect(cls, url: str | None = None, token: str | None = None, home: Path | None = None) -> Node:
        """The node at `url` (http://... or unix:PATH), else of QCOMMONS_NODE, else the one that runs in `home`.

        Raises:
            Unavailable: none answers there; says how to start one. UsageError: no address, no token.
        """
        from qcommons.clients.http.transport import Transport

        transport = Transport(find(url, token, home))
        try:
            transport.send(calls.hello(), again=False)
        except BaseException:
            transport.close()
            raise
        return cls(transport)

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    # jobs

    def run(self, program: Any, *, progress: Progress | None = None, **asked: Any) -> Result | Results:
        """`qcommons.run` on this node: the same arguments, the same answer, the same errors."""
        sent = submission(program, **asked)
        if progress is None:
            return self._run_quietly(sent)
        job = Job(self, (self.send(calls.submit(sent))).job)
        try:
            while True:
                view = self.send(calls.job(job.id, PROGRESS_S))
                progress(view.answered, view.runs)
                if view.ended_ns is not None:
                    break
            return job.result()
        except QCommonsError:
            raise
        except BaseException:  # Ctrl-C, cancelled, or the progress callback failed: nothing keeps running
            with contextlib.suppress(Exception):
                job.cancel("interrupted")
            raise

    def _run_quietly(self, sent: Submission) -> Result | Results:
        """One request for most jobs: it is held until the answer is there."""
        try:
            said = self.send(calls.run(sent, poll_s(None)))
            if isinstance(said, AnsweredRuns):
                return results_of(said)
            return Job(self, said.job).result()
        except (KeyboardInterrupt, SystemExit):  # nothing keeps running; the same request finds the job it made
            with contextlib.suppress(Exception):
                Job(self, self.send(calls.submit(sent)).job).cancel("interrupted")
            raise

    def quote(self, program: Any, **asked: Any) -> Quote:
        """What `run` with the same arguments would meet now: plan, price, peers, time, what a liar gets past. Nothing
        is kept or run. Raises as `run` where no plan answers it; where nobody can take it `refused` says why."""
        return self.send(calls.quote(submission(program, **asked)))

    def submit(self, program: Any, **asked: Any) -> Job:
        """The arguments of `run` (without progress), and `tags`, `purpose`, `egress`, `request`. The job is on disk
        when this returns and ends whatever happens to this process."""
        accepted = self.send(calls.submit(submission(program, **asked)))
        return Job(self, accepted.job)

    def job(self, job_id: str) -> Job:
        """The handle of a job by its id; the node is not asked."""
        return Job(self, job_id)

    def jobs(
        self, *, state: str | None = None, tag: str | None = None, limit: int = 100, before: int | None = None
    ) -> JobList:
        """Newest first; `before`: the `more` of the page before."""
        return self.send(calls.jobs(state, tag, limit, before))

    # the node

    def status(self) -> Status:
        return self.send(calls.status())

    def pause(self, for_s: float | None = None, *, finish: bool = False) -> Status:
        """Nothing runs until `resume` or for `for_s`; finish: what runs may end."""
        return self.send(calls.pause(for_s, finish))

    def resume(self) -> Status:
        return self.send(calls.resume())

    def policy(self) -> PolicyView:
        return self.send(calls.policy())

    def allow(self, *rules: str) -> PolicyView:
        """Rules `principal:NAME`, `tag:NAME`, `purpose:NAME` or `*`."""
        return self.send(calls.change_policy(PolicyChange(allow=rules)))

    def deny(self, *rules: str) -> PolicyView:
        return self.send(calls.change_policy(PolicyChange(deny=rules)))

    def forget_rules(self, *rules: str) -> PolicyView:
        """Neither allowed nor denied any more."""
        return self.send(calls.change_policy(PolicyChange(remove=rules)))

    def settings(self) -> list[SettingView]:
        return self.send(calls.settings())

    def set_setting(self, key: str, value: str | None) -> SettingView:
        """value None: back to the default."""
        return self.send(calls.set_setting(key, value))

    def tokens(self) -> list[TokenView]:
        return self.send(calls.tokens())

    def new_token(self, principal: str, for_s: float | None = None) -> TokenGiven:
        return self.send(calls.new_token(principal, for_s))

    def revoke_token(self, token_id: str) -> None:
        self.send(calls.revoke_token(token_id))

    def logs(self, last: int = 100) -> tuple[str, ...]:
        """The newest lines of the log, oldest first; each a JSON object."""
        return self.send(calls.logs(last)).lines

    def engines(self) -> list[EngineRow]:
        return self.send(calls.engines())

    def metrics(self) -> str:
        """OpenMetrics text."""
        return self.send(calls.metrics())

    def shut_down(self, drain_s: float = 30.0) -> Status:
        """Drain, then stop; returns when that has begun."""
        return self.send(calls.shut_down(drain_s))

    def events(self, since: int = -1) -> Iterator[EventView]:
        """Events with seq >= since (-1: from now on), then each as it happens, without end; a broken connection is
        made again from the last one. Raises Unavailable when the node stays away."""
        return self._transport.events(since)


class Job:
    """A job on a node: its handle, which any process may make again from the id."""

    def __init__(self, node: Node, job_id: str) -> None:
        self._node = node
        self.id = job_id

    def __repr__(self) -> str:
        return f"<Job {self.id} at {self._node.target.url}>"

    def view(self) -> JobView:
        """State, cause and timeline, now."""
        return self._node.send(calls.job(self.id))

    def result(self, timeout: float | None = None) -> Result | Results:
        """The answer, once the job has ended; a job always ends, by its deadline at the latest.

        timeout: seconds to wait; None: until it has ended.

        Raises:
            Unavailable: not ended within `timeout` (says state, cause and since when), or the node is gone.
            UsageError, Unavailable, Corrupt: why a single run was not answered, as `run` raises.
        """
        until_ns = None if timeout is None else deadline_ns(time.monotonic_ns(), timeout)
        while True:
            rest_s = None if until_ns is None else left_s(until_ns, time.monotonic_ns())
            try:
                return results_of(self._node.send(calls.result(self.id, poll_s(rest_s))))
            except NotEnded:
                if rest_s is not None and timeout is not None and rest_s <= poll_s(rest_s):
                    raise not_ended(self.view(), timeout, time.time_ns()) from None

    def cancel(self, cause: str = "asked by the caller") -> JobView:
        """An ended job stays as it is."""
        return self._node.send(calls.cancel(self.id, cause))

    def why(self) -> Why:
        return self._node.send(calls.why(self.id))

    def receipt(self, run: int = 0) -> bytes:
        """The signed receipt of one run of the ended job (docs/protocol/receipt.md)."""
        return self._node.send(calls.receipt(self.id, run))

    def archive(self, licence: str = "") -> bytes:
        """The archive of the ended job, a zip (docs/archive.md). licence: a URL or words, for its metadata."""
        return self._node.send(calls.archive(self.id, licence))

    def export(self, path: str | Path | None = None, *, licence: str = "", overwrite: bool = False) -> Path:
        """Write the archive to a file, JOB.crate.zip in this folder if none is named; whole or not at all, 0600.

        Raises:
            UsageError: the file is there and `overwrite` is False, or cannot be written.
        """
        target = check_target(path, self.id, overwrite)
        return write_archive(target, self.archive(licence))
