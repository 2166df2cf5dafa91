"""What the holders of tokens may have under way at once, so that no guest keeps out the owner or another guest.

Flow: Guard -> *Shares.taken* -> handler -> given back. The owner has no row here: what guests cannot reach is the
owner's. One principal has one share, however many tokens and connections it has.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Literal, NamedTuple

from qcommons.base.errors import Unavailable, UsageError
from qcommons.jobs.outcomes import ErrorInfo
from qcommons.node.api.door import OWNER
from qcommons.node.api.problem import RETRY_AFTER_S, HttpFailure

__all__ = ["GUEST_BODY_BYTES_MAX", "SHARES", "SUBMISSION_BYTES_MAX", "Share", "Shares", "What"]

SUBMISSION_BYTES_MAX = 64 << 20  # four programs of the largest text allowed, or a sweep of 100,000 points
# Decoding holds the interpreter, and the cap on a list is told after it is built: 64 MiB of "{}," took 10 s and 1.6 GB
GUEST_BODY_BYTES_MAX = 4 << 20
What = Literal["requests", "streams", "upload_bytes", "answer_bytes"]


class Share(NamedTuple):
    """each: most of one guest. all: most of all guests together. name, remedy: as messages say them. whole: most of
    everybody, the owner too; None: the owner's is not counted."""

    each: int
    all: int
    name: str
    remedy: str
    whole: int | None = None


SHARES: dict[What, Share] = {
    # a connection each; all: half of `connections.Bounds.connections_max`, the rest stays for the owner
    "requests": Share(64, 256, "requests at once (those that wait for a job count)", "let one end"),
    # a stream that begins in the past makes the node read and decode its events: 8 take their turn in milliseconds
    "streams": Share(8, 64, "event streams at once", "close one"),
    # of bodies over `guard.BODY_BYTES_MAX`; all: within `guard.UPLOADS_BYTES_MAX`
    "upload_bytes": Share(GUEST_BODY_BYTES_MAX, 8 * GUEST_BODY_BYTES_MAX, "bytes of large uploads at once",
                          "let one end, or send the programs one after the other"),
    # of answers that are being sent, as they lie on disk. each: the largest job of a guest (`answered`) with its
    # programs; whole: one of the owner's largest
    "answer_bytes": Share(64 << 20, 128 << 20, "bytes of answers on their way", "read one to its end, or close it",
                          whole=256 << 20),
}  # fmt: skip


class Shares:
    """What is under way, by guest."""

    def __init__(self) -> None:
        self._held: Counter[tuple[str, What]] = Counter()  # by guest
        self._all: Counter[What] = Counter()  # of guests
        self._whole: Counter[What] = Counter()  # of everybody, where that is bounded

    @contextlib.contextmanager
    def taken(self, who: str | None, amounts: dict[What, int]) -> Iterator[None]:
        """Holds these for `who` (None: nobody; counted as little as the owner) until the block ends.

        Raises:
            HttpFailure: 429 where this guest has its share already, 503 where the guests together, or all, have theirs.
        """
        guest = who not in (None, OWNER)
        asked = {
            what: amount for what, amount in amounts.items() if amount and (guest or SHARES[what].whole is not None)
        }
        for what, amount in asked.items():
            self._check_whole(what, amount)
            if guest:
                self._check(who or "", what, amount)
        self._add(who or "", asked, 1)
        try:
            yield
        finally:
            self._add(who or "", asked, -1)

    def _add(self, who: str, asked: dict[What, int], sign: int) -> None:
        for what, amount in asked.items():
            self._whole[what] += sign * amount
            if who in ("", OWNER):
                continue
            self._all[what] += sign * amount
            self._held[who, what] += sign * amount
            if not self._held[who, what]:
                del self._held[who, what]

    def _check_whole(self, what: What, amount: int) -> None:
        share = SHARES[what]
        held = self._whole[what]
        if share.whole is not None and held and held + amount > share.whole:  # one alone may be as large as it is
            said = f"{held} {share.name} already; {share.remedy}, then try again"
            again = [(b"retry-after", str(RETRY_AFTER_S).encode())]
            raise HttpFailure(503, ErrorInfo(Unavailable.who, said, "answer", f"{share.whole} {share.name}"), again)

    def _check(self, who: str, what: What, amount: int) -> None:
        share = SHARES[what]
        again = [(b"retry-after", str(RETRY_AFTER_S).encode())]
        limit = f"{share.each} {share.name}"
        if self._held[who, what] + amount > share.each:
            said = f"{who!r} has {self._held[who, what]} {share.name} already; {share.remedy}, then try again"
            raise HttpFailure(429, ErrorInfo(UsageError.who, said, "token", limit), again)
        if self._all[what] + amount > share.all:
            limit = f"{share.all} {share.name} of all guests"
            said = f"the guests of this node have {self._all[what]} {share.name}, the rest is its owner's; try again"
            raise HttpFailure(503, ErrorInfo(Unavailable.who, said, "token", limit), again)
