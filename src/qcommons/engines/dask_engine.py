"""Engine `dask`: runs on a Dask cluster that the owner has (extra `dask`).

Flow: select -> *dask* (in a worker) -> distributed.Client -> a worker of the cluster -> the engines there -> Answer.
The address is QCOMMONS_DASK=tcp://HOST:8786 (or tls://), of a scheduler (distributed.dask.org). Whoever reaches a
scheduler can run anything on its workers: keep it in a private network, or use tls://.
"""

from __future__ import annotations

from collections.abc import Callable

from qcommons.engines.cluster import ClusterEngine, Link

__all__ = ["ENGINE", "DaskEngine"]

SCHEMES = ("tcp://", "tls://")
CONNECT_S = 5.0


class _DaskLink:
    """One connection, with a thread of its own for the library's loop."""

    def __init__(self, address: str) -> None:
        from distributed import Client

        self._client = Client(address, timeout=CONNECT_S, set_as_default=False, name="qcommons")

    def run(self, call: Callable[[bytes], bytes], data: bytes, key: str, within_s: float) -> bytes:
        # retries: what is not answered is tried again by the node, which counts
        waiting = self._client.submit(call, data, key=key, pure=False, retries=0)
        try:
            return bytes(waiting.result(timeout=within_s))
        except TimeoutError:
            waiting.cancel(force=True)
            raise


class DaskEngine(ClusterEngine):
    """See `qcommons.engines.engine.Engine`."""

    name = "dask"
    distribution = "distributed"
    install = "pip install 'qcommons[dask]', then name the cluster: QCOMMONS_DASK=tcp://HOST:8786"
    licence = "BSD-3-Clause"
    address = "QCOMMONS_DASK"

    def connect(self, address: str) -> Link:
        if not address.startswith(SCHEMES):
            raise ConnectionError("this is no address of a Dask scheduler; write tcp://HOST:8786")
        return _DaskLink(address)


ENGINE = DaskEngine()
