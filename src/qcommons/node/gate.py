"""The gate between waiting and running: limits, pause and policy of the owner, and what the sensors saw.

Flow: core -> *Gate* -> verdicts of `owner` -> core. It remembers the verdicts before, so that nothing flaps.
"""

from __future__ import annotations

from qcommons.node.messages import Refusal, Submit
from qcommons.node.owner import OwnerLimits, Pause, Policy, Sense, Verdict, admit, may_start, must_stop

__all__ = ["Gate"]


class Gate:
    """draining_ns: since when nothing starts any more, whatever the limits say. sense: what the sensors saw last."""

    def __init__(self, limits: OwnerLimits, sense: Sense) -> None:
        self.limits = limits
        self.sense = sense
        self.pause: Pause | None = None
        self.policy = Policy()
        self.draining_ns: int | None = None
        self._start: Verdict | None = None
        self._stop: Verdict | None = None

    @property
    def draining(self) -> bool:
        return self.draining_ns is not None

    def start(self, now_ns: int) -> Verdict:
        """May waiting work start?"""
        if self.draining_ns is not None:
            cause, action = "the node is shutting down", "start it again: qcommons up -d"
            return Verdict(go=False, rule="drain", cause=cause, since_ns=self.draining_ns, who="owner", action=action)
        self._start = may_start(self.limits, self.sense, self.pause, now_ns, self._start)
        return self._start

    def stop(self, now_ns: int) -> Verdict | None:
        """Why running work must be suspended now; None: it may go on."""
        self._stop = must_stop(self.limits, self.sense, self.pause, now_ns, self._stop)
        return None if self._stop.go else self._stop

    def admit(self, asked: Submit) -> Refusal | None:
        """Why a submission is not taken, with numbers."""
        job = asked.job
        refused = admit(
            OwnerLimits() if job.on == "mesh" else self.limits,  # they say what may run on this machine
            self.policy,
            principal=job.principal,
            tags=asked.tags,
            purpose=job.purpose or "",
            qubits=max(card.n_qubits for card in job.programs),
            shots=shots_of(asked),
            memory_bytes=job.limits.memory_bytes,
        )
        return None if refused is None else Refusal("owner", refused.what, refused.where, refused.limit)


def shots_of(asked: Submit) -> int:
    """Of all runs of a submission; exact ones count none."""
    wants = [getattr(want, "shots", None) or 0 for want in asked.job.wants]
    return sum(wants[point.program] for point in asked.job.points)
