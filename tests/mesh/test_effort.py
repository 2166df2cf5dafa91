"""Effort: a link that can be done without is worth little work, an address no more than its share, liars no core."""

from __future__ import annotations

from qcommons.mesh.effort import ADDRESSES_MAX, BITS_UNNEEDED, Effort
from qcommons.mesh.puzzle import BITS_MAX, BITS_WILLING, Puzzle

NOW = 10**18
S = 10**9
HOST = "tcp/192.0.2.1:8741"


def puzzle(bits: int) -> Puzzle:
    return Puzzle(bits, 1, bytes(16))


def test_only_a_needed_link_is_worth_a_hard_puzzle() -> None:
    effort = Effort()
    assert effort.refusal(puzzle(BITS_UNNEEDED), HOST, False, NOW) == ""
    why = effort.refusal(puzzle(BITS_UNNEEDED + 1), HOST, False, NOW)
    assert why == "a puzzle of 17 bits; this link is worth 16"
    assert effort.refusal(puzzle(BITS_WILLING), HOST, True, NOW) == ""


def test_an_address_has_two_of_the_hardest_and_then_rests() -> None:
    """An honest door at its hardest (20 bits) is answered four times."""
    effort = Effort()
    assert [effort.refusal(puzzle(BITS_WILLING), HOST, True, NOW) == "" for _ in range(3)] == [True, True, False]
    assert "has had its work" in effort.refusal(puzzle(12), HOST, True, NOW)
    assert effort.refusal(puzzle(12), "tcp/192.0.2.2:8741", True, NOW) == "", "others are not touched"
    assert effort.refusal(puzzle(BITS_WILLING), HOST, True, NOW + 301 * S) == "", "half of it after five minutes"
    honest = Effort()
    assert [honest.refusal(puzzle(BITS_MAX), HOST, True, NOW) == "" for _ in range(5)] == [True] * 4 + [False]


def test_a_crowd_of_liars_takes_a_tenth_of_a_core_at_most() -> None:
    """1,000 addresses ask for 16 bits, each every 30 s for 10 minutes: beyond the first 2^22 hashes, 2^16 a second."""
    effort, hashes = Effort(), 0
    for second in range(600):
        for number in range(second % 30, 1_000, 30):
            if not effort.refusal(puzzle(16), f"tcp/192.0.2.1:{number}", False, NOW + second * S):
                hashes += 1 << 16
    assert hashes <= (1 << 22) + 600 * (1 << 16)
    assert effort.refusal(puzzle(BITS_WILLING), "tcp/198.51.100.1:1", True, NOW + 600 * S) == "", "what is needed"


def test_addresses_are_forgotten_in_the_order_in_which_they_asked_last() -> None:
    effort = Effort()
    for _ in range(2):
        effort.refusal(puzzle(BITS_WILLING), HOST, True, NOW)
    for number in range(ADDRESSES_MAX - 1):
        effort.refusal(puzzle(1), f"tcp/192.0.2.2:{number}", True, NOW)
    assert effort.refusal(puzzle(BITS_WILLING), HOST, True, NOW)
    for number in range(ADDRESSES_MAX):
        effort.refusal(puzzle(1), f"tcp/192.0.2.3:{number}", True, NOW)
    assert len(effort._addresses) == ADDRESSES_MAX
