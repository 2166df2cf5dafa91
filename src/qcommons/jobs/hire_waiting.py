"""Questions of peers that are held open: each is answered once, by what it waits for or before its time is over.

Flow: Hire -> *Waiting.hold* ... *take* (what it waited for is there), *due* (its time is over), *withdrawn* -> Hire.
The exchange bounds how many a peer may have open (64, and 512 in all: `mesh/exchange.py`); here they are bounded by
lease.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import msgspec

from qcommons.base.effects import Effect, Send, WakeAt
from qcommons.base.units import NS_PER_S
from qcommons.jobs.work import Message, said
from qcommons.jobs.work_events import HIRED, MESH, ToMesh
from qcommons.mesh.events import Answer, Asked, Failed
from qcommons.mesh.records import PeerId
from qcommons.mesh.timers import Deadlines

__all__ = ["EARLY_NS_MAX", "Question", "Waiting", "answer", "answer_by_ns", "wakes"]

# The asker's own timer began when its question left, so an answer must leave a round trip before `until_ns`: the
# longest that is usual on earth and through a relay, or a quarter of the span where that is short.
EARLY_NS_MAX = NS_PER_S
EARLY_PART = 4


class Question(msgspec.Struct, frozen=True):
    """One `Asked` without its body. number: of the part, where it asks for one."""

    peer: PeerId
    id: int
    lease: bytes
    protocol: str
    number: int = 0


def answer(question: Question, told: Message | Failed | bytes) -> Effect:
    """What goes out to whoever asked, and to nobody else."""
    peer = question.peer
    if isinstance(told, Failed):
        return Send(MESH, ToMesh(Answer(peer, question.id, failed=told), HIRED, peer))
    body = said(told) if isinstance(told, Message) else told
    return Send(MESH, ToMesh(Answer(peer, question.id, body), HIRED, peer))


def answer_by_ns(until_ns: int, now_ns: int) -> int:
    """When a question that came now must be answered at the latest."""
    return until_ns - min(EARLY_NS_MAX, max(0, until_ns - now_ns) // EARLY_PART)


def wakes(effects: Iterable[object]) -> list[Effect]:
    """What `Deadlines` answers, as the jobs' room types it."""
    return [one for one in effects if isinstance(one, WakeAt)]


class Waiting:
    """State: the questions that are held, by id (which is this node's own) and by lease in the order in which they
    came."""

    def __init__(self, token: Hashable) -> None:
        self._held: dict[int, Question] = {}
        self._of: dict[bytes, dict[int, None]] = {}
        self._due: Deadlines[int] = Deadlines(token, self._held.__contains__)

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, asked: Asked, question: Question, now_ns: int) -> list[Effect]:
        self._held[question.id] = question
        self._of.setdefault(question.lease, {})[question.id] = None
        return wakes(self._due.add(answer_by_ns(asked.until_ns, now_ns), question.id))

    def of(self, lease: bytes, protocol: str) -> list[Question]:
        """Those of a lease and protocol, oldest first."""
        return [one for id in self._of.get(lease, ()) if (one := self._held[id]).protocol == protocol]

    def take(self, lease: bytes, *protocols: str) -> list[Question]:
        """Those of a lease (of these protocols, where some are named), which are held no longer."""
        found = [self._held[id] for id in self._of.get(lease, ())]
        return [self._drop(one) for one in found if not protocols or one.protocol in protocols]

    def withdrawn(self, peer: PeerId, id: int) -> Question | None:
        """Whoever asked no longer waits; None where it is not held."""
        one = self._held.get(id)
        return self._drop(one) if one is not None and one.peer == peer else None

    def due(self, now_ns: int) -> tuple[list[Question], list[Effect]]:
        """Those that must be answered now, held no longer, and the wake-up for the next."""
        found = [self._drop(self._held[id]) for id in self._due.due(now_ns)]
        return found, wakes(self._due.again())

    def _drop(self, question: Question) -> Question:
        del self._held[question.id]
        ids = self._of[question.lease]
        del ids[question.id]
        if not ids:
            del self._of[question.lease]
        return question
