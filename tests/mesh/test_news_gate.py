"""The gate for news: each pays for what it proved or told, and for nothing said in its name."""

from __future__ import annotations

from tests.mesh.making import NOW_NS, S, peer

from qcommons.mesh.news_gate import ALL_PROVEN, ALL_UNPROVEN, MODEST, ORIGIN_NEWS, TOLD_NEWS, NewsGate

KNOWN, STRANGER, TELLER = peer(1), peer(2), peer(3)


def gate() -> NewsGate:
    return NewsGate(lambda origin: origin == KNOWN)


def passes(gate: NewsGate, origin: object, now_ns: int = NOW_NS, size_bytes: int = 10) -> bool:
    if gate.why_not(origin, size_bytes, now_ns) is not None:  # type: ignore[arg-type]
        return False
    gate.passed(origin, size_bytes, now_ns)  # type: ignore[arg-type]
    return True


def test_an_origin_passes_its_burst_and_then_its_rate() -> None:
    it = gate()
    assert sum(passes(it, STRANGER) for _ in range(3_000)) == ORIGIN_NEWS.burst
    assert sum(passes(it, STRANGER, NOW_NS + S) for _ in range(100)) == ORIGIN_NEWS.per_s


def test_an_origin_passes_so_many_bytes() -> None:
    assert sum(passes(it, STRANGER, size_bytes=1 << 16) for it in [gate()] for _ in range(100)) == 64  # 4 MiB


def test_to_ask_costs_nobody_anything() -> None:
    it = gate()
    for _ in range(5_000):
        assert it.why_not(STRANGER, 10, NOW_NS) is None
    assert passes(it, STRANGER)


def test_who_is_known_and_says_little_is_heard_when_strangers_have_used_up_the_rest() -> None:
    it = gate()
    loud = sum(passes(it, peer(number)) for number in range(10, 6_000))
    assert loud == ALL_PROVEN.burst
    assert not passes(it, STRANGER)
    assert sum(passes(it, KNOWN) for _ in range(100)) == MODEST.burst
    assert passes(it, KNOWN, NOW_NS + 31 * S)


def test_unproven_news_are_paid_by_who_told_them_and_others_have_their_own() -> None:
    it = gate()
    assert sum(it.told(TELLER, 10, NOW_NS) is None for _ in range(5_000)) == TOLD_NEWS.burst
    assert it.told(STRANGER, 10, NOW_NS) is None
    assert passes(it, KNOWN)
    assert sum(it.told(peer(n), 10, NOW_NS) is None for n in range(9_000)) == ALL_UNPROVEN.burst - TOLD_NEWS.burst - 1


def test_what_is_refused_is_paid_by_who_told_it() -> None:
    it = gate()
    for _ in range(2_048):
        it.refused(TELLER, NOW_NS)
    assert it.told(TELLER, 10, NOW_NS) is not None
    assert it.told(STRANGER, 10, NOW_NS) is None


def test_nobody_else_uses_up_what_this_node_may_say() -> None:
    it = gate()
    for number in range(9_000):
        passes(it, peer(number))
        it.told(peer(number), 10, NOW_NS)
    assert sum(it.mine(10, NOW_NS) is None for _ in range(3_000)) == ORIGIN_NEWS.burst
