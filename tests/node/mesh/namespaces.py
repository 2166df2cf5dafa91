"""A LAN of its own for a test: network namespaces joined by a bridge, in a user namespace that needs no rights.

Flow: test -> *Lan* -> `unshare`, `ip` -> machines 1, 2, ... each with an address in 192.168.77.0/24 and a cable that
can be pulled. Nothing of it is seen outside, and all of it ends with the process.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType

PREFIX = "192.168.77"
PORT = 8741
SETUP = """
set -e
mount -t tmpfs none /run
ip link set lo up
ip link add br0 type bridge
ip link set br0 up
for place in $(seq {count}); do
  ip netns add m$place
  ip link add v$place type veth peer name eth0 netns m$place
  ip link set v$place master br0 up
  ip -n m$place addr add {prefix}.$place/24 dev eth0
  ip -n m$place link set eth0 up
  ip -n m$place link set lo up
done
set +e
"""
COMMAND = ["unshare", "--user", "--map-root-user", "--net", "--mount", "bash", "--norc"]
MARK = "__said"


def why_not() -> str | None:
    """Why this machine cannot; None where it can."""
    missing = [name for name in ("unshare", "ip", "bash", "mount") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    script = SETUP.format(count=2, prefix=PREFIX)
    tried = subprocess.run(COMMAND, input=script + "echo fine\n", capture_output=True, text=True, timeout=20)
    return None if "fine" in tried.stdout else f"no network namespaces here: {tried.stderr.strip()[-200:]}"


class Lan:
    """count: machines, numbered from 1; each has a home in `folder`."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self._shell = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.run(SETUP.format(count=count, prefix=PREFIX))

    def run(self, script: str) -> str:
        """What it said; fails with that where its last command did."""
        assert self._shell.stdin is not None and self._shell.stdout is not None
        self._shell.stdin.write(f"{script}\necho {MARK} $?\n")
        self._shell.stdin.flush()
        lines: list[str] = []
        for line in self._shell.stdout:
            if MARK in line:
                before, _, code = line.partition(MARK)
                said = "".join(lines) + before
                assert code.strip() == "0", said
                return said
            lines.append(line)
        raise AssertionError("".join(lines))

    def qcommons(self, place: int, *words: str) -> str:
        """A command on a machine; what it said on standard output."""
        settings = {
            "QCOMMONS_HOME": str(self.folder / f"{place}"), "QCOMMONS_MESH_LISTEN": "lan",
            "QCOMMONS_MESH_PORT": str(PORT), "QCOMMONS_WORKERS": "1", "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        }  # fmt: skip
        given = " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())
        command = f"{shlex.quote(sys.executable)} -m qcommons.clients.cli.main {' '.join(map(shlex.quote, words))}"
        return self.run(f"ip netns exec m{place} env -i {given} {command} 2>{self.folder}/errors </dev/null")

    def pull(self, place: int) -> None:
        """The cable of a machine."""
        self.run(f"ip link set v{place} down")

    def plug(self, place: int) -> None:
        self.run(f"ip link set v{place} up")

    def firewall(self, place: int) -> None:
        """Whoever dials this machine hears nothing, as behind a NAT or a firewall that drops; it dials as before. A
        rule for what its port answers does it, since filters of packets are not in every kernel."""
        self.run(f"ip -n m{place} rule add ipproto tcp sport {PORT} blackhole")

    def __enter__(self) -> Lan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for place in range(1, self.count + 1):
            with contextlib.suppress(AssertionError):  # it was not up
                self.qcommons(place, "down", "--now")
        assert self._shell.stdin is not None
        self._shell.communicate(timeout=20)
