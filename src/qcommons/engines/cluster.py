"""Cluster: tasks of this node, run by the workers of a cluster that its owner has (Ray, Dask).

Flow: engine `ray` or `dask`, in a worker -> *ask_bytes* -> the cluster -> *there* -> the engines of that machine ->
bytes -> *answer_of* -> Answer. What travels to the cluster and back is bytes of ours; the client of the cluster wraps
them as it does (both use cloudpickle), so a cluster is as trusted as the owner's own machines and is never a peer's.

Such an engine is there where its library is installed and an address is given. It is used where it is named, and
without being named only where PREFER names it; then it goes before the engines of this machine, which follow where the
cluster does not answer. An answer names the engine and the method that ran on the cluster, with the seed of the task:
who computes it again with these finds the same numbers.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Protocol

import msgspec

from qcommons.base.clock import seconds_text
from qcommons.base.errors import Unavailable, UsageError
from qcommons.base.typed import described
from qcommons.base.version import package_version
from qcommons.circuits import wire
from qcommons.circuits.features import Features
from qcommons.circuits.noise import CHANNELS, Noise
from qcommons.circuits.program import Caps
from qcommons.engines.climb import Climber
from qcommons.engines.engine import Engine, version_of
from qcommons.engines.records import Answer, CapExceeded, Cost, Limits, Method, Task, Unsuited, Want
from qcommons.engines.registry import load_engines
from qcommons.engines.select import select

__all__ = ["METHOD", "PREFER", "ClusterEngine", "Link", "answer_of", "ask_bytes", "is_cluster", "there"]

PREFER = "QCOMMONS_CLUSTER"  # "ray" or "dask": goes before the engines of this machine
METHOD = Method(
    name="cluster",
    help="on the owner's cluster, by the engine that suits",
    wants=frozenset({"counts", "expectations", "amplitudes", "statevector"}),
    noise=frozenset(CHANNELS),
    dynamic=True,
    cost_hint="as the best engine there, and the way there",
)
GRACE_S = 5.0  # beyond a run's own seconds: the way there and a worker that must start
DOWN_S = 30.0  # a cluster that could not be reached is not tried again before
ANSWER_BYTES_MAX = 1 << 30
OWN_CAPS = Caps(1 << 30, 1 << 31, 1 << 31, 1 << 31, 1 << 31)  # this node has checked the program; as for its workers


class _Asked(msgspec.Struct, frozen=True):
    """What a worker of the cluster gets. version: of qcommons, for records change with it."""

    version: str
    program: bytes
    want: Want
    seed: int
    limits: Limits
    noise: Noise | None


class _Gave(msgspec.Struct, frozen=True, tag=True):
    answer: Answer


class _Failed(msgspec.Struct, frozen=True, tag=True):
    """kind: "usage", "cap" or "version"."""

    kind: str
    what: str


class Link(Protocol):
    """A connection to a cluster."""

    def run(self, call: Callable[[bytes], bytes], data: bytes, key: str, within_s: float) -> bytes:
        """`call(data)` on one of its workers, with one thread. Raises TimeoutError, or what the library raises."""
        ...


def is_cluster(engine: Engine) -> bool:
    """Whether an engine runs its tasks elsewhere, so that nobody gets it without asking for it."""
    return isinstance(engine, ClusterEngine)


class ClusterEngine:
    """See `qcommons.engines.engine.Engine`. A subclass says which cluster, and how it is reached.

    address: environment variable with the address. connect: address -> link, within about ten seconds; raises
    ConnectionError, or what its library raises.
    """

    name: str
    distribution: str
    install: str
    licence: str
    address: str
    methods = (METHOD,)
    constants: Mapping[str, float] = {"task_s": 0.01}  # there and back, without the run (docs/engines/clusters.md)

    def __init__(self) -> None:
        self._link: Link | None = None
        self._down_until_s = 0.0

    def connect(self, address: str) -> Link:
        raise NotImplementedError

    @property
    def use(self) -> str:
        """As `select` asks it: chosen only by name, unless the owner wants it before the others."""
        return "first" if os.environ.get(PREFER) == self.name else "named"

    def installed(self) -> str | None:
        """None also where no address is given: there is no such cluster then."""
        return version_of(self.distribution) if os.environ.get(self.address) else None

    def cost(self, method: str, features: Features, want: Want, constants: Mapping[str, float]) -> Cost | Unsuited:
        """Of the engine that this machine would take, and the way there and back."""
        ladder = select(features, want, _engines(), {}, Limits(1 << 62, 1e12))
        if not ladder.rungs:
            return Unsuited(f"no engine fits: {'; '.join(ladder.refused[:2])}")
        cost = next((rung.cost for rung in ladder.rungs if rung.cost.certain), ladder.rungs[0].cost)
        seconds = cost.seconds + constants.get("task_s", self.constants["task_s"])
        return msgspec.structs.replace(cost, seconds=seconds, certain=True)  # the caps are held to there

    def run(self, task: Task) -> Answer:
        """Raises, beside what every engine raises: Unavailable where no cluster answers; CapExceeded where this one
        goes before the others, which then follow."""
        if task.method != METHOD.name:
            raise UsageError(f"{self.name} has the method {METHOD.name}, not {task.method[:40]!r}", where="method")
        asked = ask_bytes(task)
        try:
            data = self._linked().run(there, asked, f"qcommons-{uuid.uuid4().hex}", task.limits.seconds + GRACE_S)
        except TimeoutError as late:
            took = seconds_text(task.limits.seconds)
            raise CapExceeded(f"the cluster of {self.name} gave no answer within {took}") from late
        except (Unavailable, CapExceeded):  # as `_linked` says it
            raise
        except Exception as error:  # the library, or the cluster: no fault of the task's
            self._link = None
            raise self._missing(f"{type(error).__name__}: {error}") from error
        return answer_of(data, self.name)

    def probes(self) -> tuple[tuple[str, Task, float], ...]:
        return ()

    def _linked(self) -> Link:
        if self._link is None:
            if _now_s() < self._down_until_s:
                raise self._missing(f"it did not answer less than {DOWN_S:g} s ago")
            address = os.environ.get(self.address, "")
            try:
                self._link = self.connect(address)
            except Exception as error:
                self._down_until_s = _now_s() + DOWN_S
                raise self._missing(f"{type(error).__name__}: {error}") from error
        return self._link

    def _missing(self, why: str) -> Exception:
        what = f"no cluster of {self.name} at {os.environ.get(self.address, '')[:100]} ({self.address}): {why[:300]}"
        if self.use == "first":
            return CapExceeded(what)
        return Unavailable(f"{what}; start it, or name no engine to run here", where=f"engine {self.name}")


def ask_bytes(task: Task) -> bytes:
    """What a worker of the cluster is sent."""
    program = wire.encode(task.program)
    asked = _Asked(package_version(), program, task.want, task.seed, task.limits, task.noise)
    return msgspec.msgpack.encode(asked)


def there(data: bytes) -> bytes:
    """On a worker of the cluster: run it with the engines of that machine."""
    asked = msgspec.msgpack.decode(data, type=described(_Asked))
    if asked.version != package_version():
        what = f"qcommons {package_version()} runs on the cluster; this node has {asked.version}: install the same"
        return msgspec.msgpack.encode(_Failed("version", what))
    climber = Climber(_engines(), {}, asked.limits, lambda: round(_now_s() * 1e9))
    try:
        answer = climber.run(wire.decode(asked.program, OWN_CAPS), asked.want, asked.noise, asked.seed)
    except UsageError as error:
        return msgspec.msgpack.encode(_Failed("usage", error.what))
    except Unavailable as error:  # nothing fits: by its kind, or by the limits
        return msgspec.msgpack.encode(_Failed("usage" if error.limit is None else "cap", error.what))
    return msgspec.msgpack.encode(_Gave(answer))


def answer_of(data: bytes, name: str) -> Answer:
    """What `there` says.

    Raises:
        UsageError, CapExceeded: as the engine there. Unavailable: another version is installed there, or what came is
            no answer.
    """
    try:
        if len(data) > ANSWER_BYTES_MAX:
            raise msgspec.DecodeError(f"{len(data)} bytes; allowed {ANSWER_BYTES_MAX}")
        said = msgspec.msgpack.decode(data, type=described(_Gave | _Failed))
    except (msgspec.MsgspecError, TypeError) as error:
        raise Unavailable(f"what the cluster of {name} answers is no answer: {error}", where=name) from None
    if isinstance(said, _Gave):
        return said.answer
    if said.kind == "version":
        raise Unavailable(said.what, where=f"engine {name}")
    raise UsageError(said.what) if said.kind == "usage" else CapExceeded(said.what)


@lru_cache(maxsize=1)
def _engines() -> dict[str, Engine]:
    """Those that run on the machine itself."""
    return {name: engine for name, engine in load_engines().items() if not is_cluster(engine)}


def _now_s() -> float:
    """Real time since some moment; a hundredth of a second is fine enough for limits."""
    return os.times().elapsed
