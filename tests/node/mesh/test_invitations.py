"""Invitations that were taken: tried until their nodes are met, and then remembered as whom the owner chose."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.mesh.making import peer

from qcommons.mesh.invite import make
from qcommons.node.mesh.invitations import KEPT_MAX, KEY, PENDING_MAX, Invitations


class Disk:
    """`Store`, as far as it is used here."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.rows.get(key)

    def apply(self, changes: list[tuple[str, bytes]]) -> None:
        self.rows |= dict(changes)


def invitations(disk: Disk, said: list[str] | None = None) -> Invitations:
    def log(name: str, **facts: Any) -> None:
        (said if said is not None else []).append(name)

    made = Invitations(disk, log)  # type: ignore[arg-type]  # two of its methods are enough
    made.read()
    return made


def invite(number: int) -> Any:
    return make("test", peer(number), (f"tcp/10.0.0.{number % 250 + 1}:8741",))


def test_one_is_pending_until_its_node_is_met_and_its_node_no_stranger_afterwards() -> None:
    disk = Disk()
    first = invitations(disk)
    first.take(invite(1), 5, alive=())
    first.take(invite(2), 6, alive=[peer(2)])
    first.take(invite(1), 9, alive=())
    again = invitations(disk)
    assert [(one.peer, one.since_ns) for one in again.pending()] == [(peer(1), 5)]
    again.met(peer(1))
    again.met(peer(7))
    last = invitations(disk)
    assert last.pending() == [] and last.has(peer(1)) and last.has(peer(2)) and not last.has(peer(7))
    last.forget(peer(1))
    assert not invitations(disk).has(peer(1))


def test_rows_of_before_and_damaged_ones_are_read() -> None:
    disk = Disk()
    disk.rows[KEY] = msgspec.msgpack.encode([[peer(1), ["tcp/10.0.0.1:8741"], 5]])
    assert [one.peer for one in invitations(disk).pending()] == [peer(1)]
    disk.rows[KEY] = b"damaged"
    said: list[str] = []
    assert invitations(disk, said).pending() == [] and said == ["mesh_row_damaged"]


def test_whoever_answers_at_a_bootstrap_address_is_chosen_one_an_address() -> None:
    """A host that shows a new key each day does not push out those that were invited."""
    disk = Disk()
    book = invitations(disk)
    book.take(invite(1), 1, alive=[peer(1)])
    for number in range(2, 2 + KEPT_MAX):
        book.answered(peer(number), "tcp/10.0.0.9:8741", 2)
    again = invitations(disk)
    assert again.has(peer(1)) and again.has(peer(1 + KEPT_MAX)) and not again.has(peer(2))


def test_there_is_a_bound_and_the_newest_stay() -> None:
    book = invitations(Disk())
    for number in range(PENDING_MAX + 3):
        book.take(invite(number), 1, alive=())
    assert [one.peer for one in book.pending()] == [peer(number) for number in range(3, PENDING_MAX + 3)]
    for number in range(KEPT_MAX + 5):
        book.take(invite(number), 1, alive=[peer(number)])
    assert not book.has(peer(0)) and book.has(peer(KEPT_MAX + 4))
