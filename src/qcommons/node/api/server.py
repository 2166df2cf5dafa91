"""The API's server inside the shell's event loop: sockets in, the app's answers out.

Flow: shell -> *ApiServer* -> Connection -> Api -> door. uvicorn's protocol without its server: no signal handlers,
no loop and no log set-up of its own; those are the shell's.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from pathlib import Path

from uvicorn.config import Config
from uvicorn.server import ServerState

from qcommons.node.api.app import Api
from qcommons.node.api.connections import Bounds, Connection, Crowd
from qcommons.node.api.listening import file_id, listen_tcp, listen_unix, url_of

__all__ = ["ApiServer"]

POLL_S = 0.01


class ApiServer:
    """Listens on `uds` (a path) if given, else on host and port (0: any free one).

    allow_remote: a host other than loopback is meant. bounds: on connections.
    """

    def __init__(
        self,
        app: Api,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        uds: Path | None = None,
        allow_remote: bool = False,
        bounds: Bounds | None = None,
    ) -> None:
        self._app = app
        self._host, self._port, self._uds, self._allow_remote = host, port, uds, allow_remote
        self._state = ServerState()
        self.crowd = Crowd(bounds or Bounds(), self._state)
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._listener: socket.socket | None = None
        self._uds_id: tuple[int, int] | None = None

    async def start(self) -> str:
        """Listen; returns the URL. Raises UsageError and Unavailable as `listening` says."""
        config = Config(
            self._app, http=Connection, ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False,
            proxy_headers=False, server_header=False, timeout_keep_alive=3600,  # the crowd's bounds come first
        )  # fmt: skip
        config.load()
        loop = asyncio.get_running_loop()
        if self._uds is not None:
            self._listener = listen_unix(self._uds)
            self._uds_id = file_id(self._uds)
            url = url_of(self._listener)
            make = functools.partial(Connection, config, self._state, self.crowd, loop)
            self._server = await loop.create_unix_server(make, sock=self._listener)
        else:
            self._listener = listen_tcp(self._host, self._port, allow_remote=self._allow_remote)
            url = url_of(self._listener)
            make = functools.partial(Connection, config, self._state, self.crowd, loop)
            self._server = await loop.create_server(make, sock=self._listener, backlog=1024)
        self._sweeper = asyncio.create_task(self.crowd.keep_sweeping(), name="api-connections")
        return url

    async def stop(self, grace_s: float = 5.0) -> None:
        """Take no more connections, end long answers, let the others end within `grace_s`, then close all."""
        if self._server is None or self._sweeper is None:
            return
        server, self._server = self._server, None
        server.close()
        if self._uds is not None and self._uds_id == file_id(self._uds):  # another node's may be there meanwhile
            self._uds.unlink(missing_ok=True)
        self._app.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._state.connections or self._state.tasks:
                    await asyncio.sleep(POLL_S)
        for connection in list(self._state.connections):
            connection.transport.abort()
        for task in list(self._state.tasks):
            task.cancel()
        self._sweeper.cancel()
        await asyncio.gather(self._sweeper, *self._state.tasks, return_exceptions=True)
