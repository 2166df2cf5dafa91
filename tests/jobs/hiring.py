"""What the tests of Hire have in common: three peers, offers of a small and a long work, and questions about them."""

from __future__ import annotations

from typing import Any

from tests.jobs.hired_node import T0, HiredNode, S
from tests.jobs.test_offer import LIMITS, offer

from qcommons.circuits.program import Affine, Op, Program
from qcommons.circuits.wire import encode as program_bytes
from qcommons.engines.records import Counts
from qcommons.jobs.offer import offer_bytes, parts_of, task_of, work_bytes
from qcommons.jobs.records import Item, Piece
from qcommons.jobs.work import (
    COLLECT,
    OFFER,
    PART,
    LeaseRef,
    WantPart,
    read,
    said,
)
from qcommons.mesh.events import Ask, Failed, Got
from qcommons.mesh.records import PeerId

ME, PEER, OTHER = PeerId(b"m" * 32), PeerId(b"p" * 32), PeerId(b"o" * 32)
NOW_S = T0 // S


def lease_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def ref(lease: bytes = bytes(16)) -> bytes:
    return said(LeaseRef(lease))


def part(number: int, lease: bytes = bytes(16), of: Any = "report") -> bytes:
    return said(WantPart(lease, of, number))


def offered(number: int = 0, **changed: Any) -> bytes:
    return offer_bytes(offer(lease=lease_id(number), **changed))


def granted(node: HiredNode, number: int = 0, peer: PeerId = PEER, **changed: Any) -> Any:
    """Offer, and what it was answered."""
    asked = node.came(OFFER, offered(number, **changed), peer)
    node.run_until(node.now_ns + S // 10)
    return node.answers[asked]


def node_collect(node: HiredNode, number: int, peer: PeerId = PEER, protocol: str = COLLECT) -> Any:
    asked = node.came(protocol, ref(lease_id(number)), peer)
    node.run_until(node.now_ns + S // 10)
    return node.answers.get(asked)


NAMES = tuple(letter * 60 for letter in "abc")
LONG = work_bytes(
    Piece(
        id="x.0", programs=(program_bytes(Program(1, (), tuple(
            Op("rx", (0,), (Affine(0.0, ((name, 1.0),)),)) for name in NAMES), NAMES)),),
        wants=(Counts(10),), items=tuple(Item(k, 0, dict.fromkeys(NAMES, 0.1 * k), k) for k in range(10_000)),
        limits=LIMITS,
    )
)  # fmt: skip
PARTS = parts_of(LONG)
LONG_TERMS: dict[str, Any] = {"task": task_of(LONG), "work_bytes": len(LONG), "first": PARTS[0]}


def giving(parts: list[bytes | Failed | None]) -> Any:
    """A submitter that answers with these parts."""

    def answer(peer: PeerId, ask: Ask) -> Got | Failed | None:
        want = read(WantPart, ask.body)
        assert (peer, ask.protocol, want.of) == (PEER, PART, "work")
        one = parts[want.number]
        return Got(one) if isinstance(one, bytes) else one

    return answer
