"""Turns at work that takes a thread: the owner never waits behind guests, and guests take turns among each other.

Flow: api, jobs_door -> *Turns.run* (who, work) -> a thread -> back. Guests have all places but one together, so one is
always the owner's; of those who wait the owner goes first, then each guest in turn, however many calls one of them has.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from qcommons.base.errors import Unavailable
from qcommons.node.owner import HOME

__all__ = ["Turns"]

T = TypeVar("T")
WAIT_S = 60.0  # of a guest for its turn: a client asks again, and what nobody waits for any more is not done


class Turns:
    """places: threads, at least two. what: of which work, as messages say it ("reading programs")."""

    def __init__(self, places: int, what: str) -> None:
        self._places, self._what = places, what
        self._threads = ThreadPoolExecutor(places, thread_name_prefix=f"qcommons {what}")
        self._busy = self._busy_guests = 0
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # whose turn is next first

    async def run(self, who: str, work: Callable[[], T]) -> T:
        """What `work` returns, made in a thread when it is the turn of `who`.

        Raises:
            Unavailable: a guest's turn did not come within `WAIT_S`, or the node stops; else whatever `work` raises.
        """
        async with self._turn(who):
            try:
                task = self._threads.submit(work)
            except RuntimeError:
                raise Unavailable("the node is shutting down; try again when it is up", where="node") from None
            return await asyncio.wrap_future(task)

    def close(self) -> None:
        """Nothing begins any more; what has begun is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextlib.asynccontextmanager
    async def _turn(self, who: str) -> AsyncIterator[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(future)
        self._let_in()
        try:
            async with asyncio.timeout(None if who == HOME else WAIT_S):
                await future
        except BaseException as error:
            if future.done() and not future.cancelled():
                self._leave(who)  # it was let in just then
            else:
                self._forget(who, future)
            if isinstance(error, TimeoutError):
                raise Unavailable(f"others are {self._what} for {WAIT_S:g} s; try again", where="node") from None
            raise
        try:
            yield
        finally:
            self._leave(who)

    def _let_in(self) -> None:
        while self._busy < self._places and (who := self._next()) is not None:
            line = self._waiting[who]
            future = line.popleft()
            if line:
                self._waiting.move_to_end(who)
            else:
                del self._waiting[who]
            self._busy += 1
            self._busy_guests += who != HOME
            future.set_result(None)

    def _next(self) -> str | None:
        if HOME in self._waiting:
            return HOME
        return next(iter(self._waiting), None) if self._busy_guests < self._places - 1 else None

    def _leave(self, who: str) -> None:
        self._busy -= 1
        self._busy_guests -= who != HOME
        if who in self._waiting:  # behind those who came while it was at work
            self._waiting.move_to_end(who)
        self._let_in()

    def _forget(self, who: str, future: asyncio.Future[None]) -> None:
        line = self._waiting[who]
        line.remove(future)
        if not line:
            del self._waiting[who]
