"""What the owner says of work for others: told to the mesh in the node's record, and to Hire who decides by it.

Flow: settings, limits, policy, own ask -> *offers_of* -> record; -> *sharing_of* -> Sharing -> Hire.
"""

from __future__ import annotations

from qcommons.jobs.asks import Ask
from qcommons.jobs.work_events import Sharing
from qcommons.node.config import Settings
from qcommons.node.core import NodeCore

__all__ = ["offers_of", "sharing_of"]

PURPOSE = "purpose:"  # of rules of the policy
OFF = "its owner does not share this machine"


def offers_of(settings: Settings) -> tuple[str, ...]:
    """What others may ask of this node: nothing unless the owner shares."""
    if not settings["share.enabled"].value:
        return ()
    from qcommons.node.mesh.offers import offers

    return offers(int(float(settings["limits.memory"].value)), int(settings["limits.qubits"].value))


def sharing_of(settings: Settings, core: NodeCore, run_bytes: int, ask: Ask | None) -> Sharing:
    """As it stands now. run_bytes: that a run may take where the owner set nothing. ask: this node's own."""
    refuses = frozenset(rule.removeprefix(PURPOSE) for rule in core.gate.policy.deny if rule.startswith(PURPOSE))
    return Sharing(
        enabled=bool(settings["share.enabled"].value), why=OFF, ask=ask, places=core.workers,
        memory_bytes=core.gate.limits.memory_bytes or run_bytes, refuses=refuses,
    )  # fmt: skip
