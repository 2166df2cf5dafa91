"""A token bucket in one number: how much of something in a second, and how much at once.

Flow: gossip (an origin, a puller), relay (a circuit), reach (who asks), probe -> *Bucket* -> yes, no, or when.

The number is the time at which the bucket is full again (generic cell rate algorithm, ITU-T I.371 annex A): nothing
has to be done as time passes, and one that was full long ago equals a new one.
"""

from __future__ import annotations

import msgspec

from qcommons.base.units import NS_PER_S

__all__ = ["Bucket", "Rate"]


class Rate(msgspec.Struct, frozen=True):
    """per_s: for ever. burst: at once; an amount above it never passes."""

    per_s: float
    burst: float


class Bucket(msgspec.Struct):
    """A token bucket as one number: full_ns, when it will be full again."""

    full_ns: int = 0

    def take(self, rate: Rate, now_ns: int, amount: float = 1) -> bool:
        """Whether `amount` may pass now; if so it is taken."""
        after_ns = max(self.full_ns, now_ns) + int(amount * NS_PER_S / rate.per_s)
        if after_ns - now_ns > int(rate.burst * NS_PER_S / rate.per_s):
            return False
        self.full_ns = after_ns
        return True

    def left(self, rate: Rate, now_ns: int) -> int:
        """How many whole units may pass now."""
        return int(rate.burst - max(0, self.full_ns - now_ns) * rate.per_s / NS_PER_S)

    def when_ns(self, rate: Rate, now_ns: int, amount: float = 1) -> int:
        """The earliest time at which `take` says yes to `amount`, if nobody else takes; `amount` within the burst."""
        span_ns = int(rate.burst * NS_PER_S / rate.per_s) - int(amount * NS_PER_S / rate.per_s)
        return max(now_ns, self.full_ns - span_ns)
