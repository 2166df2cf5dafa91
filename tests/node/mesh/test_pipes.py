"""Pipes: what a hostile end does to a socket stays in the pipe."""

from __future__ import annotations

import asyncio
from typing import Any

from qcommons.node.mesh.pipes import SocketPipe, Totals


class Reset(asyncio.Transport):
    """A socket that the other end has just reset: shutdown(2) says ENOTCONN."""

    aborted = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def write_eof(self) -> None:
        raise OSError(107, "Transport endpoint is not connected")

    def abort(self) -> None:
        self.aborted = True


def test_a_goodbye_to_who_has_reset_the_connection_ends_it_and_nothing_else() -> None:
    """It happens inside the carrying out of the core's effects: an error there would stop the whole mesh."""

    async def scene() -> Reset:
        pipe, transport = SocketPipe(Totals()), Reset()
        pipe.connection_made(transport)
        pipe.close(linger=True)
        return transport

    assert asyncio.run(scene()).aborted
