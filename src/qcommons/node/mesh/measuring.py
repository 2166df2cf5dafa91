"""Measuring a peer: echoes one after the other, and a blob that it fetches from here.

Flow: door -> *Measuring* -> driver (Ask, "echo/1" and "measure-blob/1") -> peer; a peer's request to fetch ->
*Measuring* -> BlobWanted -> Answer. Who is asked to fetch does one at a time, of at most 64 MiB, deletes it after, and
says how long it took.

    measure-blob/1   body: blob id, 32 bytes; answer: nanoseconds, u64 big-endian
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from qcommons.base.errors import Unavailable
from qcommons.base.units import s_to_ns
from qcommons.mesh.events import Answer, Ask, Asked, BlobCame, BlobWanted, Failed, Got
from qcommons.mesh.records import PeerId
from qcommons.node.api.mesh_records import BLOB_BYTES_MAX, MeasureAsked, Measured
from qcommons.node.mesh.blob_files import BlobFiles
from qcommons.node.mesh.driver import Driver

__all__ = ["PROTOCOL", "Measuring"]

PROTOCOL = "measure-blob/1"
ECHO_S = 5.0  # of one echo
BLOB_S = 50.0
BLOB_ID_BYTES = 32
PAUSE_S = 1.0  # between two fetches for others: what this node gives away for measurements is bounded


class Measuring:
    """Of one node. entropy: so many fresh random bytes, so that no blob is there already."""

    def __init__(self, driver: Driver, blobs: BlobFiles, entropy: Callable[[int], bytes]) -> None:
        self._driver, self._blobs, self._entropy = driver, blobs, entropy
        self._fetching = False
        self._fetched_ns = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def measure(self, peer: PeerId, node: str, asked: MeasureAsked) -> Measured:
        """Raises Unavailable where no echo came back at all, or the blob was not fetched."""
        body = self._entropy(asked.size_bytes)
        times_ns: list[int] = []
        failed, cause = 0, ""
        within_ns = s_to_ns(ECHO_S)
        for _ in range(asked.requests):
            start_ns = time.perf_counter_ns()
            answer = await self._driver.ask(lambda ticket: Ask(ticket, peer, "echo/1", body, within_ns), ECHO_S)
            took_ns = time.perf_counter_ns() - start_ns
            if isinstance(answer, Got) and answer.body == body:
                times_ns.append(took_ns)
                continue
            failed += 1
            cause = answer.what if isinstance(answer, Failed) else "another echo came back than was sent"
            if not times_ns and failed >= 3:
                break
        if not times_ns:
            raise Unavailable(f"no echo came back: {cause}", where=node)
        times_ns.sort()
        blob_s = await self._blob(peer, node, asked.blob_bytes) if asked.blob_bytes else None
        return Measured(
            node=node, requests=len(times_ns), failed=failed, cause=cause, p50_s=quantile_s(times_ns, 0.5),
            p99_s=quantile_s(times_ns, 0.99), least_s=times_ns[0] / 1e9, blob_bytes=asked.blob_bytes, blob_s=blob_s,
        )  # fmt: skip

    async def _blob(self, peer: PeerId, node: str, size_bytes: int) -> float:
        """Seconds that the peer needed to fetch a blob of this size from here."""
        blob = await self._blobs.add(self._entropy(size_bytes))
        try:
            answer = await self._ask(peer, PROTOCOL, blob, BLOB_S)
        finally:
            await self._blobs.remove(blob)
        if isinstance(answer, Got) and len(answer.body) == 8:
            return int.from_bytes(answer.body, "big") / 1e9
        what = answer.what if isinstance(answer, Failed) else "an answer that is none"
        raise Unavailable(f"the peer did not fetch the blob: {what}", where=node)

    async def _ask(self, peer: PeerId, protocol: str, body: bytes, within_s: float) -> Any:
        within_ns = s_to_ns(within_s)
        return await self._driver.ask(lambda ticket: Ask(ticket, peer, protocol, body, within_ns), within_s)

    # for others

    def asked(self, message: Any) -> None:
        """Of the door "measure-blob/1"."""
        if isinstance(message, Asked):
            task = asyncio.get_running_loop().create_task(self._fetch(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _fetch(self, asked: Asked) -> None:
        now_ns = time.monotonic_ns()
        if len(asked.body) != BLOB_ID_BYTES:
            self._refuse(asked, "usage", f"a blob id has {BLOB_ID_BYTES} bytes")
            return
        if self._fetching or now_ns - self._fetched_ns < s_to_ns(PAUSE_S):
            self._refuse(asked, "unavailable", "another blob is being measured; try again in a second")
            return
        self._fetching = True
        wanted = asked.body
        if await self._blobs.holds(wanted):  # it would be deleted after, and is nobody's to measure with
            self._fetching = False
            self._refuse(asked, "usage", "this blob is here already")
            return
        self._blobs.cap(wanted, BLOB_BYTES_MAX)
        try:
            start_ns = time.perf_counter_ns()
            came = await self._driver.ask(
                lambda ticket: BlobWanted(ticket, wanted, (asked.peer,), s_to_ns(BLOB_S)), BLOB_S
            )
            took_ns = time.perf_counter_ns() - start_ns
            await self._blobs.remove(wanted)
        finally:
            self._blobs.cap(wanted, None)
            self._fetching, self._fetched_ns = False, time.monotonic_ns()
        if isinstance(came, BlobCame):
            self._driver.deliver(Answer(asked.peer, asked.id, took_ns.to_bytes(8, "big")))
        else:
            self._refuse(asked, "unavailable", came.what if isinstance(came, Failed) else "the blob did not come")

    def _refuse(self, asked: Asked, who: str, what: str) -> None:
        self._driver.deliver(Answer(asked.peer, asked.id, failed=Failed(who, what)))


def quantile_s(sorted_ns: list[int], share: float) -> float:
    """The nearest rank (no interpolation), in seconds."""
    place = min(len(sorted_ns) - 1, max(0, -(-len(sorted_ns) * round(share * 1000) // 1000) - 1))
    return sorted_ns[place] / 1e9
