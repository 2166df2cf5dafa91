"""The reference of the mesh's round trips: an echo over the same post-quantum TLS with nothing else around it.

`python -m bench.bare_echo` listens and prints its port; `round_trips` measures from another process.
"""

from __future__ import annotations

import asyncio
import time

from qcommons.mesh.session import Established, Plain, Session, ToPipe
from qcommons.mesh.tls import TlsContext
from qcommons.pqc.identity import NodeKey

__all__ = ["round_trips"]


BUFFER = memoryview(bytearray(64 << 10))  # reads into a buffer of its own: asyncio's allocation costs 50 us a read


class Echo(asyncio.BufferedProtocol):
    """One end of a session on a socket. size_bytes: of an echo, for who asks."""

    def __init__(self, context: TlsContext, size_bytes: int | None = None) -> None:
        self.session = Session(context, size_bytes is None)
        self.stands = asyncio.get_running_loop().create_future()
        self.came: asyncio.Future[None] | None = None
        self.size_bytes, self.left_bytes = size_bytes, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._carry_out(self.session.begin())

    def get_buffer(self, sizehint: int) -> memoryview:
        return BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self._carry_out(self.session.receive(bytes(BUFFER[:nbytes])))

    def _carry_out(self, answers: list[object]) -> None:
        for answer in answers:
            if isinstance(answer, ToPipe):
                self.transport.write(answer.data)
            elif isinstance(answer, Established):
                self.stands.set_result(None)
            elif isinstance(answer, Plain):
                if self.size_bytes is None:
                    self._carry_out(list(self.session.send(answer.data)))
                    continue
                self.left_bytes -= len(answer.data)
                if self.left_bytes == 0 and self.came is not None:
                    self.came.set_result(None)

    async def echo(self, data: bytes) -> None:
        self.came, self.left_bytes = asyncio.get_running_loop().create_future(), len(data)
        self._carry_out(list(self.session.send(data)))
        await self.came


async def _measure(port: int, requests: int, size_bytes: int) -> list[float]:
    loop = asyncio.get_running_loop()
    context = TlsContext(NodeKey(bytes([2]) * 32))
    _, one = await loop.create_connection(lambda: Echo(context, size_bytes), "127.0.0.1", port)
    await one.stands
    body, times = bytes(size_bytes), []
    for _ in range(requests):
        start = time.perf_counter()
        await one.echo(body)
        times.append(time.perf_counter() - start)
    one.transport.close()
    return sorted(times)


def round_trips(port: int, requests: int, size_bytes: int) -> list[float]:
    """Seconds of each, sorted."""
    return asyncio.run(_measure(port, requests, size_bytes))


async def _serve() -> None:
    context = TlsContext(NodeKey(bytes([1]) * 32))
    server = await asyncio.get_running_loop().create_server(lambda: Echo(context), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
