"""A second node with this node's key: told from an old record of one's own by time alone."""

from __future__ import annotations

from qcommons.node.mesh.twin import Twin

S = 1_000_000_000
START = 1_800_000_000 * S


def seq(at_ns: int) -> int:
    """Of a record made then (docs/protocol/peer.md: milliseconds)."""
    return at_ns // 1_000_000


def test_a_twin_that_answers_each_record_with_a_later_one_is_red_and_says_what_to_do() -> None:
    twin = Twin(START)
    for second in (10, 11, 12, 13):
        twin.seen(seq(START + second * S), START + second * S)
    found = twin.trouble(START + 14 * S)
    assert found is not None and found.level == "red" and found.who == "owner" and found.since_ns == START + 10 * S
    assert "keys rotate" in found.action and "a second node" in found.cause
    assert twin.trouble(START + 1_000 * S) is None, "it has stopped long ago"


def test_an_old_record_of_ones_own_is_no_twin_however_many_tell_of_it() -> None:
    """The disk was lost, or a backup brought back: peers hold a record that was made before this start."""
    twin = Twin(START)
    for second in range(60):
        twin.seen(seq(START - 5 * S), START + second * S)
        twin.seen(seq(START - 4 * S + second), START + second * S)
    assert twin.trouble(START + 60 * S) is None


def test_one_record_told_by_many_or_of_a_clock_that_was_ahead_is_no_twin() -> None:
    twin = Twin(START)
    for second in range(10):
        twin.seen(seq(START + 3 * S), START + (5 + second) * S)
        twin.seen(seq(START + 3_600 * S + second * S), START + (5 + second) * S)
    assert twin.trouble(START + 20 * S) is None


def test_several_at_once_count_once_and_a_later_pair_begins_anew() -> None:
    twin = Twin(START)
    for more in range(5):
        twin.seen(seq(START + 10 * S) + more, START + 10 * S + more)
    assert twin.trouble(START + 11 * S) is None
    twin.seen(seq(START + 1_000 * S), START + 1_000 * S)
    assert twin.trouble(START + 1_001 * S) is None, "the first was long ago"
    twin.seen(seq(START + 1_003 * S), START + 1_003 * S)
    found = twin.trouble(START + 1_004 * S)
    assert found is not None and found.since_ns == START + 1_000 * S
