"""Real node processes for tests: started on loopback with a home of their own, killed at will."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

BELL = 'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q; bit[2] c; h q[0]; cx q[0], q[1]; c = measure q;'
SLOW = (  # some seconds of dense work: 22 qubits, entangled all over
    'OPENQASM 3.0; include "stdgates.inc"; qubit[22] q; bit[22] c;'
    + "".join(
        f"ry({0.3 + 0.01 * (layer + qubit)}) q[{qubit}]; cx q[{qubit}], q[{(qubit + 1 + layer) % 22}];"
        for layer in range(20)
        for qubit in range(22)
    )
    + "c = measure q;"
)
READY_S = 30.0


class NotReady(Exception):
    """The daemon said why it does not start."""

    def __init__(self, said: dict[str, Any], code: int) -> None:
        super().__init__(str(said))
        self.error = said.get("error", {})
        self.code = code


class Daemon:
    """One node process. `ready` is what it said when it served."""

    def __init__(
        self,
        home: Path,
        options: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        self._wrapper = wrapper
        self.home = home
        self._options = {"port": 0, **(options or {})}
        self.env = {**os.environ, "QCOMMONS_HOME": str(home), "QCOMMONS_WORKERS": "2", **(env or {})}
        self.process: subprocess.Popen[bytes]
        self.ready: dict[str, Any] = {}
        self.start()

    def start(self) -> None:
        reader, writer = os.pipe()
        words = ["-m", "qcommons.node.daemon", "--ready-fd", str(writer), "--options", json.dumps(self._options)]
        self.process = subprocess.Popen([*self._wrapper, sys.executable, *words], pass_fds=[writer], env=self.env)
        os.close(writer)
        said = b""
        until = time.monotonic() + READY_S
        while not said.endswith(b"\n"):
            if not select.select([reader], [], [], max(0.0, until - time.monotonic()))[0]:
                break
            part = os.read(reader, 65536)
            if not part:
                break
            said += part
        os.close(reader)
        message = json.loads(said) if said else {}
        if "url" not in message:
            raise NotReady(message, self.process.wait(READY_S))
        self.ready = message

    def client(self, **fields: Any) -> httpx.Client:
        token = (self.home / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.ready["url"], headers=headers, timeout=30.0, **fields)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(READY_S)

    def stop(self) -> int:
        """SIGTERM and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(READY_S)

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


def submission(qasm: str = BELL, **fields: Any) -> dict[str, Any]:
    return {"programs": [{"qasm": qasm, "name": "bell"}], "shots": 100, "seed": 1, **fields}
