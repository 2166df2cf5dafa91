"""Spread and Hire of a real node: with its key, a secret that follows from it, and its signatures.

Flow: daemon -> *work_parts* -> Dealing -> Spread, Hire. Salts, lease ids and audit secrets follow from the secret, so
that a restart, and a restored backup of the key, repeat them; it is never stored and never shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from qcommons.base.canonical import encode
from qcommons.jobs.hire import Hire
from qcommons.jobs.plan.records import Price
from qcommons.jobs.records import Piece
from qcommons.jobs.spread import Spread
from qcommons.mesh.records import PeerId
from qcommons.node.dealing import HirePart, Parts, SpreadPart
from qcommons.pqc.identity import NodeKey, node_id_of_hash
from qcommons.verify.records import Verdict
from qcommons.verify.verdict import check_verdict, sign_verdict

__all__ = ["work_parts"]

LABEL = "qcommons/work-secret.1"


def work_parts(key: NodeKey, network: str) -> Parts:
    """What makes both of what was kept. network: verdicts are signed for it, and read of it alone."""
    me = PeerId(key.hash)
    secret = hashlib.sha3_256(encode([LABEL, key.secret_seed()])).digest()

    def sign(verdict: Verdict) -> bytes:
        return sign_verdict(key, network, verdict)

    def check(file: bytes, judge: PeerId) -> Verdict:
        return check_verdict(file, node_id_of_hash(judge), network)

    def make(kept: Mapping[str, bytes], price: Callable[[Piece], Price]) -> tuple[SpreadPart, HirePart]:
        return Spread(me, secret, kept, price=price, sign=sign), Hire(me, secret, kept, check_verdict=check)

    return make
