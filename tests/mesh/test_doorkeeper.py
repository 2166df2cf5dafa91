"""Doorkeeper: caps, budgets a network and in all, puzzles above them, and an end to it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcommons.base.errors import PeerError
from qcommons.base.units import NS_PER_S
from qcommons.mesh import doorkeeper, puzzle
from qcommons.mesh.doorkeeper import LIMITS, Doorkeeper, Limits

SECRET = b"d" * 32
NOW = 10**15


def keeper(**rows: Limits) -> Doorkeeper:
    return Doorkeeper(SECRET, {**LIMITS, **rows})


def come(door: Doorkeeper, conn: int, host: str = "192.0.2.1", now_ns: int = NOW) -> doorkeeper.Verdict:
    return door.knock(conn, f"tcp/{host}:{1024 + conn % 60_000}", now_ns)


def stand(door: Doorkeeper, conn: int, host: str = "192.0.2.1", now_ns: int = NOW) -> puzzle.Puzzle | None:
    """Come, greet and, where nothing is asked, stand."""
    assert come(door, conn, host, now_ns) == doorkeeper.Verdict()
    asked = door.greet(conn, now_ns)
    if asked is None:
        door.stands(conn)
    return asked


def test_thirty_nodes_of_one_network_come_in_at_once_without_a_puzzle() -> None:
    door = keeper()
    assert [stand(door, conn, f"10.0.0.{conn}") for conn in range(30)] == [None] * 30
    assert (door.connections, door.half_open, door.challenged) == (30, 0, 0)


def test_above_the_budget_a_puzzle_is_asked_and_a_second_later_not() -> None:
    door = keeper()
    burst, per_s = LIMITS["prefix"].burst, LIMITS["prefix"].per_s
    for conn in range(burst):
        assert stand(door, conn) is None
    asked = stand(door, 100)
    assert asked is not None and asked.bits == puzzle.BITS_MIN
    assert stand(door, 101, "198.51.100.1") is None, "another network has its own budget"
    for conn in range(200, 200 + per_s):
        assert stand(door, conn, now_ns=NOW + NS_PER_S) is None
    assert stand(door, 300, now_ns=NOW + NS_PER_S) is not None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.254", True),
        ("192.0.2.1", "192.0.3.1", False),
        ("2001:db8:1:2::1", "2001:db8:1:ffff::9", True),
        ("2001:db8:1::1", "2001:db8:2::1", False),
        ("127.0.0.1", "127.9.9.9", True),
    ],
)
def test_a_network_is_24_bits_of_ipv4_48_of_ipv6_or_this_machine(one: str, other: str, same: bool) -> None:
    row = Limits(connections=1, half_open=9, per_s=9, burst=9)
    door = keeper(prefix=row, loopback=row)
    spelled = [f"tcp/[{host}]:9" if ":" in host else f"tcp/{host}:9" for host in (one, other)]
    assert not door.knock(1, spelled[0], NOW).refused
    assert bool(door.knock(3, spelled[1], NOW).refused) == same


def test_relays_and_unreadable_addresses_are_counted_too() -> None:
    door = keeper(prefix=Limits(connections=1, half_open=9, per_s=9, burst=9))
    for conn, address in enumerate(("from somewhere", "tcp/fe80::1%eth0:3")):
        assert bool(door.knock(conn, address, NOW).refused) == bool(conn)


def test_connections_are_capped_by_network_and_in_all_and_places_come_back() -> None:
    small = Limits(connections=2, half_open=9, per_s=9, burst=9)
    door = keeper(prefix=small, all=Limits(connections=3, half_open=9, per_s=9, burst=9))
    assert not come(door, 1).refused and not come(door, 3).refused
    assert "allowed 2" in come(door, 5).refused
    assert not come(door, 7, "198.51.100.1").refused
    assert "all; allowed 3" in come(door, 9, "203.0.113.1").refused
    assert door.refused == {"connections": 2}
    door.left(1)
    door.left(1)
    assert door.connections == 2
    assert not come(door, 11, "203.0.113.1").refused


def test_who_has_been_half_open_for_longest_makes_room_in_its_own_network() -> None:
    door = keeper(prefix=Limits(connections=99, half_open=2, per_s=99, burst=99))
    come(door, 1)
    stand(door, 3)
    come(door, 5)
    come(door, 7, "198.51.100.1")
    verdict = come(door, 9)
    assert verdict.close == (1,) and not verdict.refused
    with pytest.raises(PeerError, match="closed"):
        door.greet(1, NOW)
    door.stands(1)
    door.left(1)
    assert door.connections == 4 and door.half_open == 3


def test_when_all_is_full_the_fullest_network_makes_room() -> None:
    """10,000 connections from four networks do not keep a fifth one out."""
    door = keeper(all=Limits(connections=99, half_open=9, per_s=99, burst=99))
    for conn in range(8):
        come(door, conn, f"10.0.{conn % 2}.1")
    come(door, 8, "10.0.0.1")
    assert come(door, 10, "203.0.113.1").close == (0,)
    assert come(door, 11, "203.0.113.1").close[0] in (1, 2)
    assert door.half_open == 9


def test_a_solution_opens_one_handshake_of_its_own_connection() -> None:
    door = keeper(prefix=Limits(connections=99, half_open=99, per_s=1, burst=1))
    stand(door, 1)
    asked = stand(door, 3)
    stand(door, 5)
    assert asked is not None
    solution = puzzle.solve(asked)
    with pytest.raises(PeerError, match="another puzzle"):
        door.answer(5, solution, NOW)
    door.answer(3, solution, NOW)
    assert door.refused == {"puzzle": 1}


def test_puzzles_get_harder_the_more_is_solved_and_end_in_a_refusal_that_passes() -> None:
    """Solving for ever buys no more than the budget: what is owed is paid off at its rate alone."""
    row = Limits(connections=9_999, half_open=9_999, per_s=8, burst=8)
    door = keeper(prefix=row, all=row)
    seen: list[int] = []
    refused_at = None
    for conn in range(200):
        come(door, conn)
        try:
            asked = door.greet(conn, NOW)
        except PeerError as error:
            assert error.where == "door"
            refused_at = conn
            break
        if asked is not None:
            seen.append(asked.bits)
            door._pay(door._guest(conn), NOW)  # as `answer` does, without 2^20 hashes
    assert seen == sorted(seen) and seen[0] == puzzle.BITS_MIN and seen[-1] == puzzle.BITS_MAX
    assert refused_at == 8 * (1 + puzzle.BITS_MAX - puzzle.BITS_MIN + 1)
    come(door, 1_000)
    assert door.greet(1_000, NOW + NS_PER_S) is not None
    come(door, 1_001)
    assert door.greet(1_001, NOW + 60 * NS_PER_S) is None


def test_budgets_of_many_networks_stay_bounded_and_those_in_use_stay() -> None:
    door = keeper()
    for conn in range(doorkeeper.PREFIXES_MAX + 500):
        host = f"{11 + conn // 65_536}.{conn // 256 % 256}.{conn % 256}.1"
        come(door, conn, host)
        if conn:
            door.left(conn)
    assert len(door._places) == doorkeeper.PREFIXES_MAX
    assert "11.0.0.0/24" in door._places


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("kgsl"), st.integers(0, 12), st.integers(0, 3), st.integers(0, 2)), max_size=120)
)
def test_whatever_happens_counts_are_what_is_there(steps: list[tuple[str, int, int, int]]) -> None:
    row = Limits(connections=5, half_open=3, per_s=2, burst=3)
    door = keeper(prefix=row, loopback=row, all=Limits(connections=9, half_open=5, per_s=4, burst=6))
    now_ns, there, half = NOW, {}, set()
    for turn, (what, conn, network, wait) in enumerate(steps):
        now_ns += wait * NS_PER_S // 4
        if what == "k":
            conn = 100 + turn
            verdict = come(door, conn, f"10.0.{network}.1", now_ns)
            for gone in verdict.close:
                there.pop(gone)
                half.discard(gone)
            if not verdict.refused:
                there[conn] = network
                half.add(conn)
        elif there:
            conn = sorted(there)[conn % len(there)]
            if what == "g":
                try:
                    door.greet(conn, now_ns)
                except PeerError as error:
                    assert error.where == "door"
            elif what == "s":
                door.stands(conn)
                half.discard(conn)
            else:
                door.left(conn)
                there.pop(conn)
                half.discard(conn)
        assert door.connections == len(there) <= 9 and door.half_open == len(half) <= 5
        for one in range(4):
            assert sum(network == one for network in there.values()) <= 5
