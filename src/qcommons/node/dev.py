"""Homes of development nodes: one folder, one seed, settings for loopback, keys that come from the seed.

Flow: `qcommons dev up` -> *DevFolder* -> homes -> daemons. A home made here holds the file `development.json`, and a
node with such a home listens on loopback alone: whoever knows the seed has its key. The key file is sealed by the
machine key, without stretching, so that a start takes milliseconds.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shlex
import shutil
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec

from qcommons.base.errors import Unavailable, UsageError
from qcommons.base.typed import described
from qcommons.node.process import WORKER_COMMAND
from qcommons.pqc.keyfile import load_or_create

__all__ = ["MARK_FILE", "DevFolder", "check_loopback", "is_dev", "worker_command"]

MARK_FILE = "development.json"
FOLDER_FILE = "folder.json"
LOOPBACK = "127.0.0.1"
LYING_WORKER = "qcommons.world.lying_worker"


class Folder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one folder of development nodes has in common. ports: of the mesh, by node."""

    seed: str
    network: str
    ports: tuple[int, ...]


class Mark(msgspec.Struct, frozen=True):
    """What `MARK_FILE` says. liar: the row of the zoo by which the node's workers lie, "" for an honest node."""

    folder: str
    node: int
    liar: str = ""


def is_dev(home: Path) -> bool:
    """Whether a home holds a development key."""
    return (home / MARK_FILE).exists()


def worker_command(home: Path) -> tuple[str, ...]:
    """How the node of this home starts its workers: as any, unless it is a development node that was told to lie."""
    if not is_dev(home):
        return WORKER_COMMAND
    liar = msgspec.json.decode((home / MARK_FILE).read_bytes(), type=described(Mark)).liar
    return (*WORKER_COMMAND[:-1], LYING_WORKER, liar) if liar else WORKER_COMMAND


def check_loopback(home: Path, listen: str) -> None:
    """Raises UsageError where a development node would listen to others than this machine."""
    if is_dev(home) and listen not in ("loopback", LOOPBACK, "::1"):
        what = f"its key comes from a seed, so it may not listen on {listen!r}; make a home of its own for a real node"
        raise UsageError(what, where="mesh.listen", limit="loopback")


class DevFolder:
    """One folder; nothing is made before `make`."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def network(self) -> str:
        return self._read().network

    def homes(self) -> list[Path]:
        """Homes that are there, in the order of their numbers."""
        if not (self.path / FOLDER_FILE).exists():
            return []
        return [self._home(place) for place in range(len(self._read().ports)) if self._home(place).exists()]

    def make(self, count: int, *, seed: str | None, workers: int, liars: Mapping[int, str] | None = None) -> list[Path]:
        """Homes of the first `count` nodes; those that are there stay. liars: row of the zoo by node, from 0, from its
        next start on; "" makes it honest again.

        Raises:
            UsageError: they were made from another seed. Unavailable: the folder cannot be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = self._agree(count, seed)
            homes = [self._home(place) for place in range(count)]
            for place, home in enumerate(homes):
                if not is_dev(home):
                    self._make_home(folder, place, home, workers)
                if place in (liars or {}):
                    self._mark(place, home, (liars or {})[place])
        except OSError as error:
            raise Unavailable(f"cannot make the homes: {error.strerror}", where=str(self.path)) from None
        return homes

    def remove(self) -> None:
        """Delete what `make` made; anything else in the folder stays."""
        for home in self.homes():
            shutil.rmtree(home)
        (self.path / FOLDER_FILE).unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def _agree(self, count: int, seed: str | None) -> Folder:
        """The folder's facts, with a port for each node: the one of before, a free one where there is none."""
        path = self.path / FOLDER_FILE
        if path.exists():
            known = self._read()
            if seed is not None and seed != known.seed:
                down = f"qcommons dev down --remove --folder {shlex.quote(str(self.path))}"
                what = f"the nodes here have another seed; stop and delete them first: {down}"
                raise UsageError(what, where="--seed")
        else:
            text = secrets.token_hex(16) if seed is None else seed
            network = "dev-" + hashlib.sha3_256(b"network" + text.encode()).hexdigest()[:8]
            known = Folder(text, network, ())
        missing = count - len(known.ports)
        if missing > 0:
            known = msgspec.structs.replace(known, ports=(*known.ports, *free_ports(missing)))
        _write(path, msgspec.json.encode(known))
        return known

    def _make_home(self, folder: Folder, place: int, home: Path, workers: int) -> None:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        load_or_create(home / "keys", None, _Stream(f"{folder.seed}/{place}"))
        bootstrap = "" if place == 0 else f"{LOOPBACK}:{folder.ports[0]}"
        settings = (
            f"# a development node: its key comes from a seed\n"
            f"[api]\nport = 0\n\n[limits]\nworkers = {workers}\n\n"
            f'[mesh]\nnetwork = "{folder.network}"\nlisten = "loopback"\nport = {folder.ports[place]}\n'
            f'bootstrap = "{bootstrap}"\n\n[share]\nenabled = true\n'
        )
        _write(home / "config.toml", settings.encode())
        self._mark(place, home)  # last: it is whole

    def _mark(self, place: int, home: Path, liar: str = "") -> None:
        _write(home / MARK_FILE, msgspec.json.encode(Mark(str(self.path), place, liar)))

    def _home(self, place: int) -> Path:
        return self.path / f"node-{place + 1}"

    def _read(self) -> Folder:
        path = self.path / FOLDER_FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=described(Folder))
        except FileNotFoundError:
            raise UsageError(
                "there are no development nodes here; make some: qcommons dev up", where=str(path)
            ) from None
        except msgspec.DecodeError as error:
            what = f"this file is damaged ({error}); delete the folder and make it anew"
            raise UsageError(what, where=str(path)) from None


class _Stream:
    """Bytes that depend on the name alone (SHAKE256, FIPS 202), in place of fresh ones."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._drawn = 0

    def __call__(self, size: int) -> bytes:
        self._drawn += 1
        head = b"qcommons/development-key.1\0" + self._drawn.to_bytes(4, "big")
        return hashlib.shake_256(head + self._name).digest(size)


def free_ports(count: int) -> tuple[int, ...]:
    """Ports of loopback that nobody listens on now, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return tuple(one.getsockname()[1] for one in sockets)


def _write(path: Path, data: bytes) -> None:
    """Readable by its owner alone: the seed is as good as the keys."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)
