"""Engine `ray`: runs on a Ray cluster that the owner has (extra `ray`).

Flow: select -> *ray* (in a worker) -> Ray Client -> a worker of the cluster -> the engines there -> Answer. The
address is QCOMMONS_RAY=ray://HOST:10001, of a Ray Client server (`ray start --head --ray-client-server-port=10001`;
docs.ray.io, "Ray Client"). A token of Ray's that this user has is shown (`ray start` asks for it then; docs.ray.io,
"Token authentication"): Ray's own client does so only if RAY_AUTH_MODE=token is set. A driver inside of the cluster is
not used: it maps the whole object store, which no worker's memory limit allows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qcommons.engines.cluster import ClusterEngine, Link

__all__ = ["ENGINE", "RayEngine"]

SCHEME = "ray://"
TRIES = 1  # of 5 s to connect, and 5 s after


class _RayLink:
    """One connection; the server keeps a process for it on the cluster's head."""

    def __init__(self, address: str) -> None:
        _show_token()  # read when Ray is imported
        import ray
        from ray.util import client_connect

        if not ray.is_initialized():
            client_connect.connect(address.removeprefix(SCHEME), connection_retries=TRIES)
        self._ray = ray
        self._calls: dict[Callable[[bytes], bytes], Any] = {}

    def run(self, call: Callable[[bytes], bytes], data: bytes, key: str, within_s: float) -> bytes:
        remote = self._calls.get(call)
        if remote is None:  # max_retries: what is not answered is tried again by the node, which counts
            remote = self._calls[call] = self._ray.remote(num_cpus=1, max_retries=0)(call)
        waiting = remote.remote(data)
        try:
            return bytes(self._ray.get(waiting, timeout=within_s))
        except self._ray.exceptions.GetTimeoutError as late:
            self._ray.cancel(waiting, force=True)
            raise TimeoutError(str(late)) from late


def _show_token() -> None:
    kept = os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
    if os.environ.get("RAY_AUTH_TOKEN") or Path(kept).is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


class RayEngine(ClusterEngine):
    """See `qcommons.engines.engine.Engine`."""

    name = "ray"
    distribution = "ray"
    install = "pip install 'qcommons[ray]', then name the cluster: QCOMMONS_RAY=ray://HOST:10001"
    licence = "Apache-2.0"
    address = "QCOMMONS_RAY"

    def connect(self, address: str) -> Link:
        if not address.startswith(SCHEME):
            raise ConnectionError("this is no address of a Ray Client server; write ray://HOST:10001")
        return _RayLink(address)


ENGINE = RayEngine()
