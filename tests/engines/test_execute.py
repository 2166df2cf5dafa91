"""execute, climb, select, join, expectation, amplitudes: one program from request to answer.

Expected values come from `qcommons.testing.reference` (density matrices by definition), closed
forms, or counting arguments; statistical bounds say their false-alarm probability.
"""

from __future__ import annotations

import math
import re
import time

import numpy as np
import pytest
from tests.circuits.making import random_program

from qcommons.base.errors import Unavailable, UsageError
from qcommons.circuits.cone import strip_terminal
from qcommons.circuits.features import features
from qcommons.circuits.noise import Channel, Noise, Rule
from qcommons.circuits.observables import parse_observable
from qcommons.circuits.program import Branch, Condition, Op, Program, flat_ops
from qcommons.engines.climb import Climber
from qcommons.engines.execute import Request, execute
from qcommons.engines.join import joined_counts
from qcommons.engines.records import Amplitudes, Counts, Expectations, Limits, Statevector, Want
from qcommons.engines.registry import load_engines
from qcommons.engines.select import plural, select, size
from qcommons.testing import reference

LIMITS = Limits(memory_bytes=4 << 30, seconds=60)


def answer(program: Program, want: Want, **more: object):  # type: ignore[no-untyped-def]
    request = Request(program=program, want=want, seed=7, limits=more.pop("limits", LIMITS), **more)  # type: ignore[arg-type]
    return execute(request, time.monotonic_ns)


def far(counts: dict[str, int], exact: dict[str, float]) -> float:
    """Pearson's chi-square in standard deviations above its mean (cells under 5 expected are pooled)."""
    shots = sum(counts.values())
    assert set(counts) <= {k for k, p in exact.items() if p > 1e-12}
    cells = [(counts.get(k, 0), p * shots) for k, p in exact.items() if p * shots >= 5]
    rest = (shots - sum(c for c, _ in cells), shots - sum(e for _, e in cells))
    if rest[1] > 1:
        cells.append(rest)
    freedom = len(cells) - 1
    if freedom < 1:
        return 0.0
    chi2 = sum((c - e) ** 2 / e for c, e in cells)
    return (chi2 - freedom) / math.sqrt(2 * freedom)


@pytest.mark.parametrize("seed", range(60))
def test_counts_follow_the_exact_distribution(seed: int) -> None:
    """4,000 shots; 8 sigma of chi-square: below 1e-5 a test even for one degree of freedom (chi2 > 12.3 is 5e-4
    at 1 sigma-unit; 8 units is chi2 > 12.3), fixed seeds, all pass."""
    program = random_program(np.random.default_rng(seed), dynamic=seed % 2 == 0)
    if not any(isinstance(op, Op) and op.gate == "measure" for op in program.ops):
        pytest.skip("this seed measures nothing at its end")
    got = answer(program, Counts(4000))
    assert sum(got.answer.counts.values()) == 4000
    assert far(got.answer.counts, reference.distribution(program)) < 8


@pytest.mark.parametrize("shots", [None, 20_000])
@pytest.mark.parametrize("seed", range(20))
def test_expectations_match_the_density_matrix(seed: int, shots: int | None) -> None:
    """Sampled: within 5.5 standard errors, 4e-8 a value for a normal estimate."""
    program = random_program(np.random.default_rng(100 + seed), dynamic=False)
    bare = Program(program.n_qubits, program.cregs, tuple(o for o in program.ops if o.gate != "measure"))  # type: ignore[union-attr]
    texts = ["Z0", "0.5 X0 Y1 - 1.5 Z0 Z1 + 0.25", "X1 + Y0"]
    sums = tuple(parse_observable(t, program.n_qubits) for t in texts)
    got = answer(program, Expectations(sums, shots))
    for one, estimate in zip(sums, got.answer.estimates, strict=True):
        error = abs(estimate.value - reference.expectation(bare, one))
        assert error <= (1e-9 if shots is None else 5.5 * estimate.stderr + 1e-9)
        assert (estimate.stderr == 0) or shots is not None


@pytest.mark.parametrize("block", range(25))
def test_expectations_of_dynamic_programs_match_the_density_matrix(block: int) -> None:
    """20 programs a block: measurements that reductions leave last still dephase what is observed."""
    for seed in range(20 * block, 20 * block + 20):
        program = random_program(np.random.default_rng(10_000 + seed), dynamic=True, n_ops=2 + seed % 12)
        bare, _ = strip_terminal(program)
        sums = tuple(parse_observable(t, program.n_qubits) for t in ("X0", "0.5 X0 Y1 - 1.5 Z0 Z1 + 0.25", "Y1 + Z0"))
        got = answer(program, Expectations(sums))
        for one, estimate in zip(sums, got.answer.estimates, strict=True):
            assert estimate.value == pytest.approx(reference.expectation(bare, one), abs=1e-9), seed


@pytest.mark.parametrize("block", range(25))
def test_counts_of_dynamic_programs_follow_the_density_matrix(block: int) -> None:
    """20 programs of 3 to 20 operations a block, 2,000 shots; below 1e-5 a program, as above."""
    for seed in range(20 * block, 20 * block + 20):
        program = random_program(np.random.default_rng(20_000 + seed), dynamic=True, n_ops=3 + seed % 18)
        if any(op.gate == "measure" for op in flat_ops(program.ops)):
            assert far(answer(program, Counts(2000)).answer.counts, reference.distribution(program)) < 8, seed


TURNED = tuple(parse_observable(text, 2) for text in ("IZ", "ZI - IZ"))


def _turned(theta: float) -> Program:
    return Program(2, (), (Op("ry", (0,), (theta,)), Op("cx", (0, 1))))


@pytest.mark.parametrize(("theta", "shots"), [(0.05, 10), (0.05, 1), (0.3, 20), (1.5, 10)])
def test_two_standard_errors_cover_the_truth(theta: float, shots: int) -> None:
    """<Z> = cos(theta) (closed form), and the two qubits agree always. 150 seeds, >= 90 % of them covered: the
    nominal 95.4 % falls below that in 1 of 400 such draws; seeds are fixed."""
    covered = 0
    for seed in range(150):
        request = Request(program=_turned(theta), want=Expectations(TURNED, shots), seed=seed, limits=LIMITS)
        single, difference = execute(request, time.monotonic_ns).answer.estimates
        assert single.shots == difference.shots == shots and min(single.stderr, difference.stderr) > 0
        covered += abs(single.value - math.cos(theta)) <= 2 * single.stderr
        assert abs(difference.value) <= 2 * difference.stderr
    assert covered >= 135


@pytest.mark.parametrize("theta", [0.0, math.pi])
def test_a_sampled_value_that_follows_from_the_start_has_error_and_reason(theta: float) -> None:
    got = answer(_turned(theta), Expectations(TURNED[:1], 400))
    (estimate,) = got.answer.estimates
    assert estimate.value == pytest.approx(math.cos(theta))
    # 2 sqrt(p (1 - p) / n) with p = 401/402
    assert estimate.stderr == pytest.approx(2 * math.sqrt(401 / 402 / 402 / 400)) and estimate.shots == 400
    assert "initial state" in got.reason
    exact = answer(_turned(theta), Expectations(TURNED[:1])).answer.estimates[0]
    assert (exact.stderr, exact.shots) == (0.0, None)


@pytest.mark.parametrize(
    ("channel", "gates", "text", "noted"),
    [("readout", (), "ZI", True), ("bit_flip", (), "ZI", False), ("bit_flip", (), "XI", True),
     ("bit_flip", ("cx",), "XI", False)],
)  # fmt: skip
def test_an_exact_value_says_what_measuring_would_add(
    channel: str, gates: tuple[str, ...], text: str, noted: bool
) -> None:
    values = (0.02, 0.02) if channel == "readout" else (0.02,)
    noise = Noise((Rule((Channel(channel, values),), gates),))
    got = answer(_turned(0.3), Expectations((parse_observable(text, 2),)), noise=noise)
    assert any("readout errors" in note for note in got.notes) is noted


def _readable(text: str) -> bool:
    return bool(text.strip()) and not re.search(r"None|  |qubits? takes|\b0 of|\b1 (qubits|gates|operations)\b", text)


REASON_PROGRAMS = (
    Program(1, (), (Op("h", (0,)),)),
    Program(3, (), (Op("h", (0,)), Op("cx", (0, 1)), Op("cx", (1, 2)))),
    Program(3, (), (Op("h", (0,)), Op("t", (0,)), Op("cx", (0, 1)), Op("ry", (1,), (0.3,)), Op("cx", (1, 2)))),
    Program(60, (), (Op("h", (0,)), *(Op("cx", (q, q + 1)) for q in range(59)))),
    Program(2, (("c", 1),), (Op("h", (0,)), Op("measure", (0,), (), (0,)), Op("h", (0,)))),
)


@pytest.mark.parametrize("program", REASON_PROGRAMS, ids=["one", "ghz", "t", "ghz60", "dynamic"])
def test_every_answer_has_a_readable_reason(program: Program) -> None:
    rows: list[tuple[str | None, str | None]] = [(None, None)]
    engines = load_engines()
    rows += [(name, m.name) for name, engine in engines.items() if engine.installed() for m in engine.methods]
    z = (parse_observable("Z0", program.n_qubits),)
    noise = Noise((Rule((Channel("bit_flip", (0.1,)),)),))
    answered = 0
    for engine, method in rows:
        for want, noisy in ((Counts(5), None), (Expectations(z), None), (Expectations(z, 5), None), (Counts(5), noise)):
            try:
                got = answer(program, want, engine=engine, method=method, noise=noisy)
            except (UsageError, Unavailable) as error:
                assert _readable(error.what), error.what
                continue
            answered += 1
            assert _readable(got.reason), (engine, method, got.reason)
    assert answered >= 10


def test_amplitudes_are_a_product_of_parts_exact_in_phase() -> None:
    ops = (
        Op("gphase", (), (0.4,)),
        Op("h", (0,)),
        Op("cx", (0, 2)),
        Op("u", (1,), (0.3, 0.2, 0.1)),
        Op("p", (3,), (1.0,)),
    )
    program = Program(4, (), ops)
    expected = reference.statevector(program)
    bits = tuple(format(i, "04b") for i in range(16))
    for want in (Amplitudes(bits), Statevector()):
        got = [complex(*pair) for pair in answer(program, want).answer.amplitudes]
        assert np.allclose(got, expected, atol=1e-9)


def test_no_measurement_measures_all_qubits_and_says_so() -> None:
    got = answer(Program(2, (("c", 5),), (Op("x", (1,)),)), Counts(10))
    assert got.answer.counts == {"10": 10} and got.cregs == (("meas", 2),) and "measures nothing" in got.notes[0]


def test_no_measurement_keeps_the_bits_that_branches_read() -> None:
    program = Program(1, (("c", 1),), (Branch(Condition((0,), "==", 0), (Op("x", (0,)),)),))
    got = answer(program, Counts(10))
    assert got.answer.counts == {"10": 10} and got.cregs == (("c", 1), ("meas", 1))


def test_same_seed_same_counts_other_seed_others() -> None:
    ops = (*(Op("h", (q,)) for q in range(12)), *(Op("t", (q,)) for q in range(12)))
    program = Program(12, (), ops)
    one, two = (
        execute(Request(program=program, want=Counts(50), seed=s, limits=LIMITS), time.monotonic_ns) for s in (1, 2)
    )
    again = execute(Request(program=program, want=Counts(50), seed=1, limits=LIMITS), time.monotonic_ns)
    assert one.answer.counts == again.answer.counts != two.answer.counts


def test_parts_are_joined_without_correlation() -> None:
    """Two fair bits from two parts: chi-square of the four joint cells, 8 units: 1e-8."""
    counts = joined_counts([({"0": 5000, "1": 5000}, (0,)), ({"0": 5000, "1": 5000}, (2,))], {1: 1}, 3, 10_000, 3)
    assert set(counts) == {"010", "011", "110", "111"}
    assert far(counts, dict.fromkeys(counts, 0.25)) < 8


def test_noise_reaches_every_part() -> None:
    noise = Noise((Rule((Channel("depolarizing", (0.2,)),)), Rule((Channel("readout", (0.1, 0.05)),))))
    ops = (Op("h", (0,)), Op("cx", (0, 1)), Op("x", (2,)), *(Op("measure", (q,), (), (q,)) for q in range(3)))
    program = Program(3, (("c", 3),), ops)
    got = answer(program, Counts(20_000), noise=noise)
    assert far(got.answer.counts, reference.distribution(program, noise)) < 8


def test_refusal_names_the_numbers_and_leaves_at_once() -> None:
    rng = np.random.default_rng(5)
    ops = [Op("u", (q,), tuple(rng.uniform(0, 3, 3))) for q in range(60)]
    for layer in range(30):
        ops += [Op("cz", (q, (q * 7 + layer) % 60)) for q in range(60) if q != (q * 7 + layer) % 60]
        ops += [Op("u", (q,), tuple(rng.uniform(0, 3, 3))) for q in range(60)]
    started = time.monotonic()
    with pytest.raises(Unavailable) as refused:
        answer(Program(60, (), tuple(ops)), Counts(100), limits=Limits(1 << 30, 20))
    assert "needs 1.6e+01 EiB" in refused.value.what or "EiB" in refused.value.what
    assert "fits up to 25 qubits" in refused.value.what and refused.value.limit and time.monotonic() - started < 25


def test_a_refusal_for_kind_names_no_size_and_one_for_time_reads_well() -> None:
    ghz = Program(3, (), (Op("h", (0,)), Op("cx", (0, 1)), Op("cx", (1, 2))))
    noise = Noise((Rule((Channel("depolarizing", (0.1,)),)),))
    with pytest.raises(Unavailable, match="has no depolarizing noise") as kind:
        answer(ghz, Counts(10), noise=noise, engine="frames")
    assert "Nearest" not in kind.value.what and "dense state" not in kind.value.what
    wide = Program(40, (), (*(Op("ry", (q,), (0.3,)) for q in range(40)), *(Op("cx", (q, q + 1)) for q in range(39))))
    with pytest.raises(Unavailable, match="Nearest: a dense state fits up to 27 qubits") as large:
        answer(wide, Counts(10), engine="numpy", method="dense", limits=Limits(4 << 30, 3600))
    assert "4 GiB and 1 h" in large.value.what and large.value.limit == "4 GiB, 1 h"


def test_a_refusal_for_time_speaks_of_the_deadline_and_not_of_memory() -> None:
    """20 qubits are 16 MiB; 400 layers of them take longer than the half second that is allowed."""
    layer = [*(Op("ry", (q,), (0.3 + q,)) for q in range(20)), *(Op("cx", (q, q + 1)) for q in range(19))]
    with pytest.raises(Unavailable, match="in time: the fastest method takes about") as late:
        answer(Program(20, (), tuple(layer * 400)), Counts(10), engine="numpy", method="dense",
               limits=Limits(4 << 30, 0.5))  # fmt: skip
    assert "the deadline is in 500 ms. Nearest: --deadline " in late.value.what and "GiB" not in late.value.what
    assert all("limit" in why for _, _, why in late.value.tried)


def test_what_does_not_fit_is_the_callers_to_change() -> None:
    program = Program(2, (("c", 1),), (Op("h", (0,)), Op("measure", (0,), (), (0,)), Op("h", (0,))))
    for want, words in ((Amplitudes(("00",)), "mid-circuit"), (Statevector(), "mid-circuit")):
        with pytest.raises(UsageError, match=words):
            answer(program, want)
    with pytest.raises(UsageError, match="2 characters"):
        answer(Program(2, (), ()), Amplitudes(("0",)))
    with pytest.raises(UsageError, match="not known"):
        answer(Program(2, (), ()), Counts(1), engine="abacus")
    with pytest.raises(UsageError, match="allowed up to 20"):
        answer(Program(21, (), ()), Statevector())


def test_user_choice_of_engine_and_method_is_kept() -> None:
    ops = (Op("h", (0,)), *(Op("cx", (q, q + 1)) for q in range(11)))
    for engine, method in (("numpy", "dense"), ("numpy", "sparse"), ("aer", "mps"), ("stim", "tableau")):
        got = answer(Program(12, (), ops), Counts(100), engine=engine, method=method)
        assert (got.answer.engine, got.answer.method) == (engine, method)
        assert set(got.answer.counts) == {"0" * 12, "1" * 12}


def test_light_cones_make_local_observables_of_wide_circuits_cheap() -> None:
    """<Z> after ry(a) is cos a (closed form), 200 qubits of a brickwork of depth 2 around it."""
    ops = [Op("ry", (q,), (0.1 * q,)) for q in range(200)]
    ops += [Op("rzz", (q, q + 1), (0.7,)) for q in range(0, 199, 2)]
    sums = tuple(parse_observable(f"Z{q}", 200) for q in (0, 57, 199))
    got = answer(Program(200, (), tuple(ops)), Expectations(sums))
    assert [e.value for e in got.answer.estimates] == pytest.approx([1.0, math.cos(5.7), math.cos(19.9)], abs=1e-12)


def test_ladder_tries_state_dependent_methods_under_a_share_of_the_certain_cost() -> None:
    rng = np.random.default_rng(3)
    ops = tuple(Op("cu", (q, q + 1), tuple(rng.uniform(0, 3, 4))) for _ in range(20) for q in range(23))
    engines = load_engines()
    ladder = select(features(Program(24, (), ops)), Counts(100), engines, {}, LIMITS)
    certain = [r for r in ladder.rungs if r.method.startswith("statevector")]
    trials = [r for r in ladder.rungs if r.method in ("sparse", "mps", "contract")]
    assert certain and all(t.cost.seconds <= 0.5 * certain[0].cost.seconds for t in trials)


def test_climber_keeps_the_time_that_is_left() -> None:
    now = iter(range(0, 100 * 10**9, 10**9))
    climber = Climber(load_engines(), {}, LIMITS, lambda: next(now))
    assert climber.left().seconds == 59.0


def test_numbers_for_people() -> None:
    assert size(4.1 * 2**40) == "4.1 TiB" and plural(1, "qubit") == "1 qubit" and plural(0, "gate") == "0 gates"
