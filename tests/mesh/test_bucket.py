"""The bucket in one number, against a bucket that is counted by hand."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from qcommons.mesh.bucket import Bucket, Rate

S = 1_000_000_000
RATE = Rate(per_s=10, burst=5)  # a step is 10^8 ns: no rounding


@given(st.lists(st.tuples(st.integers(0, 3 * S), st.integers(1, 6)), max_size=40))
def test_it_lets_pass_what_a_counted_bucket_lets_pass(takes: list[tuple[int, int]]) -> None:
    bucket, now_ns, tokens = Bucket(), 0, Fraction(5)
    for wait_ns, amount in takes:
        now_ns += wait_ns
        tokens = min(Fraction(5), tokens + Fraction(wait_ns * 10, S))
        assert bucket.left(RATE, now_ns) in (int(tokens), int(tokens) - 1)  # float rounding at whole numbers
        passes = tokens >= amount
        if amount <= RATE.burst:
            assert (bucket.when_ns(RATE, now_ns, amount) == now_ns) == passes
        assert bucket.take(RATE, now_ns, amount) == passes
        tokens -= amount if passes else 0


@given(st.floats(0.01, 1e9), st.integers(1, 1000), st.integers(0, S))
def test_at_the_time_it_names_it_says_yes(per_s: float, burst: int, now_ns: int) -> None:
    rate, bucket = Rate(per_s, burst), Bucket()
    while bucket.take(rate, now_ns):
        pass
    assert bucket.take(rate, bucket.when_ns(rate, now_ns))
