"""The listener: the wanted port, else the last one, else a free one; addresses are told when they change."""

from __future__ import annotations

import asyncio
import socket

import pytest

from qcommons.base.errors import UsageError
from qcommons.node.mesh import listener as module
from qcommons.node.mesh.listener import Listener
from qcommons.node.mesh.pipes import SocketPipe, Totals


class Heard:
    def __init__(self) -> None:
        self.addresses: list[tuple[str, ...]] = []
        self.notes: list[str] = []

    def listener(self, listen: str, port: int) -> Listener:
        return Listener(
            listen, port, lambda: SocketPipe(Totals(), lambda pipe: pipe.abort()), on_change=self.addresses.append,
            on_note=lambda name, **facts: self.notes.append(name),
        )  # fmt: skip


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_taken_port_is_replaced_by_a_free_one_and_said() -> None:
    async def scene() -> None:
        heard = Heard()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            wanted = taken.getsockname()[1]
            one = heard.listener("loopback", wanted)
            await one.start()
        assert one.port not in (0, wanted) and one.moved_from == wanted and heard.notes == ["mesh_port_taken"]
        assert heard.addresses == [(f"tcp/127.0.0.1:{one.port}",)] and one.listening == (f"127.0.0.1:{one.port}",)
        await one.close()

    asyncio.run(scene())


def test_any_port_means_the_one_of_last_time_where_it_is_free() -> None:
    async def scene() -> None:
        last = free_port()
        one = Heard().listener("loopback", 0)
        await one.start(last)
        assert one.port == last and one.moved_from is None
        two = Heard().listener("loopback", 0)
        await two.start(last)
        assert two.port not in (0, last)
        await asyncio.gather(one.close(), two.close())

    asyncio.run(scene())


def test_an_address_that_this_machine_has_not_is_the_owners_mistake() -> None:
    async def scene() -> None:
        with pytest.raises(UsageError) as caught:
            await Heard().listener("192.0.2.1", 0).start()  # RFC 5737: nobody's
        assert caught.value.where == "mesh.listen"

    asyncio.run(scene())


def test_a_network_that_comes_and_goes_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    own: list[str] = []
    monkeypatch.setattr(module, "own_addresses", lambda: list(own))
    monkeypatch.setattr(module, "to_listen_on", lambda listen, addresses: list(addresses))
    monkeypatch.setattr(module, "LOOK_S", 0.02)

    async def scene() -> None:
        heard = Heard()
        one = heard.listener("lan", 0)
        await one.start()
        assert heard.addresses == [()] and one.listening == ()
        own.append("127.0.0.1")
        await asyncio.sleep(0.1)
        assert heard.addresses[-1] == (f"tcp/127.0.0.1:{one.port}",)
        own.clear()
        await asyncio.sleep(0.1)
        assert heard.addresses[-1] == () and len(heard.addresses) == 3
        await one.close()

    asyncio.run(scene())
