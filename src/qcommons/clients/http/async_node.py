"""A running node, from Python with asyncio: `node.Node` with `await`.

Flow: your program -> *AsyncNode* -> HTTP -> the node; *AsyncJob* is the handle of what was submitted.

    async with await AsyncNode.connect() as node:
        job = await node.submit("bell.qasm", shots=4096, tags=["demo"])
        print(await job.result(timeout=60))
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcommons.base.clock import deadline_ns, left_s
from qcommons.base.errors import QCommonsError
from qcommons.clients.http import calls
from qcommons.clients.http.archives import check_target, write_archive
from qcommons.clients.http.calls import NotEnded, results_of
from qcommons.clients.http.mesh import AsyncMesh
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
    from qcommons.clients.http.transport import AsyncTransport

__all__ = ["AsyncJob", "AsyncNode"]

Progress = Callable[[int, int], None]


class AsyncNode:
    """One node; an async context manager, for one event loop. Use `connect`.

    Every method raises the error that the node named: UsageError, Unavailable or Corrupt with `where` and `limit`;
    and Unavailable where no node answers.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self.target = transport.target
        self.send = transport.send
        self.mesh = AsyncMesh(transport.send)
        self._transport = transport

    @classmethod
    async def connect(cls, url: str | None = None, token: str | None = None, home: Path | None = None) -> AsyncNode:
        """The node at `url` (http://... or unix:PATH), else of QCOMMONS_NODE, else the one that runs in `home`.

        Raises:
            Unavailable: none answers there; says how to start one. UsageError: no address, no token.
        """
        from qcommons.clients.http.transport import AsyncTransport

        transport = AsyncTransport(find(url, token, home))
        try:
            await transport.send(calls.hello(), again=False)
        except BaseException:
            await transport.close()
            raise
        return cls(transport)

    async def __aenter__(self) -> AsyncNode:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._transport.close()

    # jobs

    async def run(self, program: Any, *, progress: Progress | None = None, **asked: Any) -> Result | Results:
        """`qcommons.run` on this node: the same arguments, the same answer, the same errors."""
        sent = submission(program, **asked)
        if progress is None:
            return await self._run_quietly(sent)
        job = AsyncJob(self, (await self.send(calls.submit(sent))).job)
        try:
            while True:
                view = await self.send(calls.job(job.id, PROGRESS_S))
                progress(view.answered, view.runs)
                if view.ended_ns is not None:
                    break
            return await job.result()
        except QCommonsError:
            raise
        except BaseException:  # Ctrl-C, cancelled, or the progress callback failed: nothing keeps running
            with contextlib.suppress(Exception):
                await job.cancel("interrupted")
            raise

    async def _run_quietly(self, sent: Submission) -> Result | Results:
        """One request for most jobs: it is held until the answer is there."""
        try:
            said = await self.send(calls.run(sent, poll_s(None)))
            if isinstance(said, AnsweredRuns):
                return results_of(said)
            return await AsyncJob(self, said.job).result()
        except QCommonsError:
            raise
        except BaseException:  # Ctrl-C, cancelled: nothing keeps running; the same request finds the job it made
            with contextlib.suppress(Exception):
                await AsyncJob(self, (await self.send(calls.submit(sent))).job).cancel("interrupted")
            raise

    async def quote(self, program: Any, **asked: Any) -> Quote:
        """What `run` with the same arguments would meet now: plan, price, peers, time, what a liar gets past. Nothing
        is kept or run. Raises as `run` where no plan answers it; where nobody can take it `refused` says why."""
        return await self.send(calls.quote(submission(program, **asked)))

    async def submit(self, program: Any, **asked: Any) -> AsyncJob:
        """The arguments of `run` (without progress), and `tags`, `purpose`, `egress`, `request`. The job is on disk
        when this returns and ends whatever happens to this process."""
        accepted = await self.send(calls.submit(submission(program, **asked)))
        return AsyncJob(self, accepted.job)

    def job(self, job_id: str) -> AsyncJob:
        """The handle of a job by its id; the node is not asked."""
        return AsyncJob(self, job_id)

    async def jobs(
        self, *, state: str | None = None, tag: str | None = None, limit: int = 100, before: int | None = None
    ) -> JobList:
        """Newest first; `before`: the `more` of the page before."""
        return await self.send(calls.jobs(state, tag, limit, before))

    # the node

    async def status(self) -> Status:
        return await self.send(calls.status())

    async def pause(self, for_s: float | None = None, *, finish: bool = False) -> Status:
        """Nothing runs until `resume` or for `for_s`; finish: what runs may end."""
        return await self.send(calls.pause(for_s, finish))

    async def resume(self) -> Status:
        return await self.send(calls.resume())

    async def policy(self) -> PolicyView:
        return await self.send(calls.policy())

    async def allow(self, *rules: str) -> PolicyView:
        """Rules `principal:NAME`, `tag:NAME`, `purpose:NAME` or `*`."""
        return await self.send(calls.change_policy(PolicyChange(allow=rules)))

    async def deny(self, *rules: str) -> PolicyView:
        return await self.send(calls.change_policy(PolicyChange(deny=rules)))

    async def forget_rules(self, *rules: str) -> PolicyView:
        """Neither allowed nor denied any more."""
        return await self.send(calls.change_policy(PolicyChange(remove=rules)))

    async def settings(self) -> list[SettingView]:
        return await self.send(calls.settings())

    async def set_setting(self, key: str, value: str | None) -> SettingView:
        """value None: back to the default."""
        return await self.send(calls.set_setting(key, value))

    async def tokens(self) -> list[TokenView]:
        return await self.send(calls.tokens())

    async def new_token(self, principal: str, for_s: float | None = None) -> TokenGiven:
        return await self.send(calls.new_token(principal, for_s))

    async def revoke_token(self, token_id: str) -> None:
        await self.send(calls.revoke_token(token_id))

    async def logs(self, last: int = 100) -> tuple[str, ...]:
        """The newest lines of the log, oldest first; each a JSON object."""
        return (await self.send(calls.logs(last))).lines

    async def engines(self) -> list[EngineRow]:
        return await self.send(calls.engines())

    async def metrics(self) -> str:
        """OpenMetrics text."""
        return await self.send(calls.metrics())

    async def shut_down(self, drain_s: float = 30.0) -> Status:
        """Drain, then stop; returns when that has begun."""
        return await self.send(calls.shut_down(drain_s))

    def events(self, since: int = -1) -> AsyncIterator[EventView]:
        """Events with seq >= since (-1: from now on), then each as it happens, without end; a broken connection is
        made again from the last one. Raises Unavailable when the node stays away."""
        return self._transport.events(since)


class AsyncJob:
    """A job on a node: its handle, which any process may make again from the id."""

    def __init__(self, node: AsyncNode, job_id: str) -> None:
        self._node = node
        self.id = job_id

    def __repr__(self) -> str:
        return f"<AsyncJob {self.id} at {self._node.target.url}>"

    async def view(self) -> JobView:
        """State, cause and timeline, now."""
        return await self._node.send(calls.job(self.id))

    async def result(self, timeout: float | None = None) -> Result | Results:
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
                return results_of(await self._node.send(calls.result(self.id, poll_s(rest_s))))
            except NotEnded:
                if rest_s is not None and timeout is not None and rest_s <= poll_s(rest_s):
                    raise not_ended(await self.view(), timeout, time.time_ns()) from None

    async def cancel(self, cause: str = "asked by the caller") -> JobView:
        """An ended job stays as it is."""
        return await self._node.send(calls.cancel(self.id, cause))

    async def why(self) -> Why:
        return await self._node.send(calls.why(self.id))

    async def receipt(self, run: int = 0) -> bytes:
        """The signed receipt of one run of the ended job (docs/protocol/receipt.md)."""
        return await self._node.send(calls.receipt(self.id, run))

    async def archive(self, licence: str = "") -> bytes:
        """The archive of the ended job, a zip (docs/archive.md). licence: a URL or words, for its metadata."""
        return await self._node.send(calls.archive(self.id, licence))

    async def export(self, path: str | Path | None = None, *, licence: str = "", overwrite: bool = False) -> Path:
        """Write the archive to a file, JOB.crate.zip in this folder if none is named; whole or not at all, 0600.

        Raises:
            UsageError: the file is there and `overwrite` is False, or cannot be written.
        """
        target = check_target(path, self.id, overwrite)
        return write_archive(target, await self.archive(licence))
