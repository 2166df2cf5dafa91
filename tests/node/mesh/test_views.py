"""Peers as people see them: who is in quarantine here is red in any state, says why and until when, is never hidden."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from qcommons.jobs.quarantine import Barred
from qcommons.mesh.records import PeerId
from qcommons.mesh.views import PeerView
from qcommons.node.api.mesh_records import is_near
from qcommons.node.mesh.views import Views
from qcommons.pqc.identity import node_id_of_hash

LIAR, HONEST = PeerId(b"l" * 32), PeerId(b"h" * 32)
NOW_S = 1_800_000_000
BARRED = Barred(NOW_S + 600, "an answer of it was proved wrong; for another 10 min 0 s", b"v" * 32)


def view(peer: PeerId, state: str) -> PeerView:
    return PeerView(
        peer=peer, state=state, cause="linked" if state == "alive" else "no sign of life for 15 s", since_ns=1,
        relation="stranger", link="none", via=None, linked_since_ns=0, linked_address="", inbound=False,
        is_neighbour=False, round_trip_ns=0, bytes_in=0, messages_in=0, messages_out=0, why_unlinked="", version="",
        offers=(), addresses=(), away=(), owner=b"", seq=1, blame_points=0.0, verdict="",
    )  # fmt: skip


def views(*peers: PeerView) -> Views:
    """Of a mesh that knows these; one of them is barred by this node's checks."""
    core = SimpleNamespace(
        peers_view=lambda now_ns: list(peers), linked=tuple, neighbours=tuple,
        own=SimpleNamespace(addresses=tuple), reach=SimpleNamespace(
            view=lambda now_ns: SimpleNamespace(reachable="unknown", tries=(), cause="", since_ns=1, action="",
                                                relays=(), one_way=tuple)
        ),
    )  # fmt: skip
    mesh: Any = SimpleNamespace(
        clock=SimpleNamespace(now_ns=lambda: 1), core=core, driver=SimpleNamespace(now_ns=lambda: NOW_S * 10**9),
        invitations=SimpleNamespace(has=lambda peer: False), connections=SimpleNamespace(bytes_out=lambda peer: 0),
        listener=SimpleNamespace(listening=("127.0.0.1:1",)), settings=SimpleNamespace(network="n"),
    )  # fmt: skip
    made = Views(cast(Any, mesh))
    made.barred = lambda peer, now_s: BARRED if peer == LIAR and now_s == NOW_S else None
    return made


@pytest.mark.parametrize(
    ("state", "cause"), [("alive", "in quarantine here: "), ("lost", "no sign of life for 15 s; in quarantine here: ")]
)
def test_who_is_in_quarantine_is_red_with_cause_and_end(state: str, cause: str) -> None:
    row = views(view(LIAR, state)).row_of(LIAR)
    assert (row.level, row.state) == ("red", state) and row.cause == cause + BARRED.why and row.action
    assert row.quarantine is not None
    assert (row.quarantine.until_s, row.quarantine.verdict) == (BARRED.until_s, BARRED.verdict.hex())


def test_others_stay_as_they_are() -> None:
    row = views(view(HONEST, "alive")).row_of(HONEST)
    assert (row.level, row.quarantine) == ("green", None)


def test_a_stranger_in_quarantine_is_shown_and_named_in_the_status() -> None:
    made = views(view(LIAR, "alive"), view(HONEST, "alive"))
    assert is_near(made.row_of(LIAR)) and not is_near(made.row_of(HONEST))
    found = made.summary()
    assert [one.node for one in found.quarantined] == [node_id_of_hash(LIAR)] and found.strangers == {"alive": 1}
