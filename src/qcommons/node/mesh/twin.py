"""Twin: does another node sign with this node's key? Two homes with one key contradict each other before everybody.

Flow: a record of this node that it did not sign (note `mesh_own_record_seen`) -> *Twin* -> a trouble in `status`. Pure.

`seq` of a record is the time it was made, in milliseconds (`mesh/own.py`). One record that this node does not know may
be its own, of a disk that was lost or a clock that was set back: then it was made before this node started, or is seen
once, since the node goes beyond it. A twin goes beyond it again, each time it hears of the other.
"""

from __future__ import annotations

from qcommons.base.clock import duration_text
from qcommons.base.units import NS_PER_S
from qcommons.node.api.records import Trouble

__all__ = ["Twin"]

APART_NS = 2 * NS_PER_S  # what several peers tell at once is one sighting: records are renewed once a second at most
SEEN_TIMES = 2
QUIET_NS = 300 * NS_PER_S  # so long after the last sighting the other has stopped
SKEW_NS = 60 * NS_PER_S  # a record further in the future than this is of a clock, not of a twin


class Twin:
    """Of the node that started at `started_ns` (ns since 1970)."""

    def __init__(self, started_ns: int) -> None:
        self.started_ns = started_ns
        self._first_ns = self._last_ns = self._seq = self._times = 0

    def seen(self, seq: int, now_ns: int) -> None:
        """A record of this node with this `seq` came, later than any that it signed."""
        made_ns = seq * 1_000_000
        if seq <= self._seq or made_ns <= self.started_ns or made_ns > now_ns + SKEW_NS:
            return
        self._seq = seq
        if now_ns - self._last_ns > QUIET_NS:
            self._first_ns, self._times = now_ns, 0
        if self._times == 0 or now_ns - self._last_ns >= APART_NS:
            self._times += 1
            self._last_ns = now_ns

    def trouble(self, now_ns: int) -> Trouble | None:
        """Red while there is a twin."""
        if self._times < SEEN_TIMES or now_ns - self._last_ns > QUIET_NS:
            return None
        ago = duration_text(max(0, now_ns - self._last_ns))
        cause = (
            f"records of this node arrive that it did not sign, the last one {ago} ago: a second node runs with a copy "
            "of its key, and peers believe now one, now the other"
        )
        action = (
            "stop the other one (a restored key, a copied home): qcommons down there. If you know of none, your key "
            "was copied: qcommons down, then qcommons keys rotate"
        )
        return Trouble(
            level="red", what="this node's key runs twice", cause=cause, who="owner", since_ns=self._first_ns,
            action=action,
        )  # fmt: skip
