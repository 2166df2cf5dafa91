"""Compare: honest repeats agree on every engine, lies of each kind do not, and a liar's words about its error count for
nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.verify.samples import REPEATS, STIM, drawn, found, mixed, porter_thomas, question

from qcommons.base.errors import UsageError
from qcommons.base.seeds import stream
from qcommons.circuits.observables import PauliSum, Term
from qcommons.circuits.program import Op, Program
from qcommons.engines.records import Amplitudes, Answer, Counts, Estimate, Expectations, Limits, Task
from qcommons.engines.registry import load_engines
from qcommons.verify.answers import EngineClass, Found, Question, engine_class
from qcommons.verify.compare import ALPHA_REFUSE, ALPHA_WRONG, compare, flips_allowed, rounding
from qcommons.verify.statistics import Ideal, Knowledge

RNG = stream(6, "test compare")
LIMITS = Limits(memory_bytes=1 << 28, seconds=60.0)
P = porter_thomas(6)
F32 = EngineClass("qsim", "statevector_f32", "f32")


def brick(n: int) -> Program:
    rng = stream(7, "brick", n)
    ops = []
    for layer in range(6):
        ops += [Op("u", (q,), tuple(rng.uniform(0, 3, 3).tolist())) for q in range(n)]
        ops += [Op("cx", (q, q + 1)) for q in range(layer % 2, n - 1, 2)]
    return Program(n, (("c", n),), (*ops, *(Op("measure", (q,), (), (q,)) for q in range(n))))


def ran(program: Program, engine: str, method: str, shots: int, seed: int) -> Found:
    answer = load_engines()[engine].run(Task(program, Counts(shots), method, seed, LIMITS))
    return Found(answer, engine_class(engine, method, "1"), seed)


@pytest.mark.parametrize(
    ("engine", "method"),
    [
        ("numpy", "dense"),
        ("numpy", "sparse"),
        ("qulacs", "statevector"),
        ("aer", "statevector"),
        ("frames", "frames"),
    ],
)
def test_honest_repeats_agree_number_by_number(engine: str, method: str) -> None:
    program = brick(6)
    asked = Question(want=Counts(2000), n_bits=6, n_qubits=6, n_ops=len(program.ops))
    one, two = (ran(program, engine, method, 2000, 9) for _ in range(2))
    comparison = compare(asked, one, two, RNG)
    assert (comparison.outcome, comparison.value) == ("agrees", 0)
    assert comparison.method == "counts, number by number"


def test_samples_of_mps_are_compared_by_statistics() -> None:
    """Equal singular values leave its basis to the processor: another one gave quite other counts for the same seed."""
    program = brick(6)
    asked = Question(want=Counts(2000), n_bits=6, n_qubits=6, n_ops=len(program.ops))
    one, two = ran(program, "aer", "mps", 2000, 9), ran(program, "qulacs", "statevector", 2000, 9)
    other = msgspec.structs.replace(two, engine=one.engine)
    comparison = compare(asked, other, one, RNG)
    assert (comparison.outcome, comparison.method) == ("agrees", "statistics")


def test_of_few_shots_none_may_move() -> None:
    """A run of one shot would otherwise agree with anything."""
    asked = question(1, 2)
    assert compare(asked, found({"00": 1}), found({"01": 1}), RNG).outcome == "differs"
    assert compare(asked, found({"01": 1}), found({"01": 1}), RNG).outcome == "agrees"


def test_one_shot_moved_by_rounding_agrees_and_ten_do_not() -> None:
    asked, own = question(1000), found(drawn(P, 1000))
    counts = dict(own.answer.counts or {})
    first, second = list(counts)[:2]
    assert counts[first] > 10
    for moved, outcome in ((1, "agrees"), (2, "agrees"), (10, "differs")):
        other = counts | {first: counts[first] - moved, second: counts[second] + moved}
        assert compare(asked, found(other), own, RNG).outcome == outcome
        assert compare(asked, found(other, F32), own, RNG).method == "statistics"


def test_another_seed_is_compared_by_statistics_and_another_version_excuses_nothing() -> None:
    asked, own = question(1000), found(drawn(P, 1000, "a"))
    other = found(drawn(P, 1000, "b"), seed=6)
    assert compare(asked, other, own, RNG).method == "statistics"
    assert compare(asked, other, own, RNG).outcome == "agrees"
    newer = msgspec.structs.replace(REPEATS, version="0.6.15")
    assert compare(asked, found(drawn(P, 1000, "b"), newer), own, RNG).outcome == "cannot tell"
    uniform = drawn(mixed(P, 1.0), 1000, "b")
    assert compare(asked, found(uniform, newer), own, RNG).outcome == "differs"
    assert compare(asked, found(drawn(P, 1000, "b")), own, RNG).outcome == "differs"
    assert compare(asked, found(drawn(P, 1000, "a"), newer), own, RNG).method == "counts, number by number"


def test_samples_of_stim_are_never_compared_number_by_number() -> None:
    asked, own = question(1000), found(drawn(P, 1000, "a"), STIM)
    assert compare(asked, found(drawn(P, 1000, "b"), STIM), own, RNG).outcome == "agrees"


def test_the_engine_of_the_lease_is_the_one_to_use() -> None:
    asked = question(1000, engine=("qulacs", "statevector"))
    own = found(drawn(P, 1000))
    assert compare(asked, own, own, RNG).outcome == "agrees"
    told = compare(asked, found(drawn(P, 1000), F32), own, RNG)
    assert (told.outcome, told.method) == ("differs", "another engine")


def test_the_true_distribution_finds_what_a_sample_does_not() -> None:
    p = porter_thomas(10)
    asked = Question(want=Counts(1024), n_bits=10, n_qubits=10, n_ops=60)
    noisy, own = found(drawn(mixed(p, 0.3), 1024), F32), found(drawn(p, 1024))
    known = compare(asked, noisy, own, RNG, Ideal(10, p))
    assert known.outcome != "agrees"
    keys = {*(noisy.answer.counts or {}), *drawn(p, 8192, "more")}
    wide = Knowledge({key: float(p[int(key, 2)]) for key in keys}, drawn(p, 8192, "more"))
    assert compare(asked, noisy, own, RNG, wide).value < 1e-3


def test_the_two_levels_lie_apart() -> None:
    """Between them an answer is not used and nobody is blamed."""
    assert ALPHA_WRONG < ALPHA_REFUSE <= 1e-3
    p, asked = porter_thomas(10), Question(want=Counts(1024), n_bits=10, n_qubits=10, n_ops=60)
    seen = set()
    for share in range(60):
        claimed = found(drawn(mixed(p, share / 100), 1024, share), F32)
        seen.add(compare(asked, claimed, found(drawn(p, 1024)), RNG, Ideal(10, p)).outcome)
    assert seen == {"agrees", "cannot tell", "differs"}


def test_a_stated_error_does_not_excuse() -> None:
    asked, own = question(1000), found(drawn(P, 1000))
    lie = drawn([1 / 64] * 64, 1000)
    for engine in (REPEATS, F32):
        assert compare(asked, found(lie, engine, error_bound=1.0), own, RNG).outcome == "differs"
        assert compare(asked, found(drawn(P, 1000), engine, error_bound=1.0), own, RNG).outcome == "differs"


def test_malformed_answers_differ_and_our_own_are_our_mistake() -> None:
    asked, own = question(1000), found(drawn(P, 1000))
    assert compare(asked, found(drawn(P, 999)), own, RNG).method == "malformed"
    with pytest.raises(UsageError, match="999"):
        compare(asked, own, found(drawn(P, 999)), RNG)


def estimates(
    *values: tuple[float, float], shots: int | None = None, engine: Any = REPEATS, seed: int = 1, bound: float = 0.0
) -> Found:
    rows = tuple(Estimate(value, stderr, shots) for value, stderr in values)
    return Found(Answer(engine.engine, engine.method, estimates=rows, error_bound=bound), engine, seed)


ZZ = PauliSum((Term(0.5, ((0, "Z"), (1, "Z"))), Term(2.0, ((0, "X"),))), "")


def test_computed_values_agree_within_rounding_and_no_more() -> None:
    asked = Question(want=Expectations((ZZ,)), n_bits=2, n_qubits=2, n_ops=50)
    own = estimates((0.25, 0.0))
    room = rounding(asked, "f64") * 2.5
    assert 1e-15 < room < 1e-12
    assert compare(asked, estimates((0.25 + room / 2, 0.0)), own, RNG).outcome == "agrees"
    assert compare(asked, estimates((0.25 + 1e-9, 0.0)), own, RNG).outcome == "differs"
    assert compare(asked, estimates((0.25 + 1e-9, 0.0), engine=F32), own, RNG).outcome == "agrees"
    assert compare(asked, estimates((0.26, 0.0), engine=F32, bound=0.5), own, RNG).outcome == "differs"


def test_sampled_values_are_held_to_hoeffding_and_to_the_standard_error_we_find() -> None:
    """2,000 shots: a group's mean lies within 5.4 of its proxies with probability 1 - 1e-6."""
    asked = Question(want=Expectations((ZZ,), 2000), n_bits=2, n_qubits=2, n_ops=50)
    own = estimates((0.25, 0.04), shots=2000, seed=2)
    assert compare(asked, estimates((0.35, 0.04), shots=2000), own, RNG).outcome == "agrees"
    assert compare(asked, estimates((0.85, 0.04), shots=2000), own, RNG).outcome == "differs"
    assert compare(asked, estimates((0.25, 1.0), shots=2000), own, RNG).outcome == "differs"
    same = estimates((0.25, 0.04), shots=2000, seed=2)
    assert compare(asked, same, own, RNG).method == "estimates, number by number"


def test_amplitudes_agree_within_the_rounding_of_their_precision() -> None:
    asked = Question(want=Amplitudes(("00", "11")), n_bits=2, n_qubits=2, n_ops=50)

    def said(error: float, engine: EngineClass) -> Found:
        return Found(Answer("x", "y", amplitudes=((0.6 + error, 0.0), (0.0, 1e-17))), engine, 1)

    own = said(0.0, REPEATS)
    assert compare(asked, said(1e-15, REPEATS), own, RNG).outcome == "agrees"
    assert compare(asked, said(1e-6, REPEATS), own, RNG).outcome == "differs"
    assert compare(asked, said(1e-6, F32), own, RNG).outcome == "agrees"
    assert compare(asked, said(1e-2, F32), own, RNG).outcome == "differs"


def test_room_for_rounding_grows_with_the_state_and_stays_a_small_share() -> None:
    for n, shots in ((10, 1024), (20, 8192), (28, 8192)):
        asked = Question(want=Counts(shots), n_bits=n, n_qubits=n, n_ops=500)
        flips, chance = flips_allowed(asked, "statevector", shots)
        assert 2 <= flips <= 0.01 * shots
        assert chance < 1e-6


def test_what_follows_without_an_engine_is_no_other_engine() -> None:
    """The lease names qulacs; the program follows from its initial state, so nobody used it: not the peer, not we."""
    asked = msgspec.structs.replace(question(10), engine=("qulacs", "statevector"))
    counts = {"0" * asked.n_bits: 10}
    constant = Found(Answer("numpy", "constant", counts=counts), engine_class("numpy", "constant", "1"), 1)
    assert compare(asked, constant, constant, RNG).outcome == "agrees"
    used = Found(Answer("qulacs", "statevector", counts=counts), engine_class("qulacs", "statevector", "1"), 1)
    assert compare(asked, constant, used, RNG).method == "another engine"
