"""Pauli sums: what a text means, held against Qiskit's operators, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit.quantum_info import SparsePauliOp

from qcommons.base.errors import UsageError
from qcommons.circuits.observables import PauliSum, Term, commuting_groups, parse_observable, pauli_string


def dense(observable: PauliSum, n: int) -> np.ndarray:
    return SparsePauliOp(
        [pauli_string(t, n) for t in observable.terms], [t.coefficient for t in observable.terms]
    ).to_matrix()


@pytest.mark.parametrize(
    ("text", "n", "strings"),
    [
        ("ZZI + 0.5 XXI", 3, [("ZZI", 1), ("XXI", 0.5)]),
        ("-1.5*ZZ", 2, [("ZZ", -1.5)]),
        ("XY - YX", 2, [("XY", 1), ("YX", -1)]),
        ("+XY-2YX", 2, [("XY", 1), ("YX", -2)]),
        ("Z0 Z3", 4, [("ZIIZ", 1)]),
        ("0.5 X2 + 1e-3 Z0*Z1", 3, [("XII", 0.5), ("IZZ", 1e-3)]),
        ("  .5e+1Z0-2.Y1 ", 2, [("IZ", 5), ("YI", -2)]),
        ("2 I + ZZ", 2, [("II", 2), ("ZZ", 1)]),
        ("3 - ZZ", 2, [("II", 3), ("ZZ", -1)]),
        ("I0 Z1", 2, [("ZI", 1)]),
        ("Z", 1, [("Z", 1)]),
        ("ZI + Z1 + 2 IZ", 2, [("ZI", 2), ("IZ", 2)]),  # equal strings add
        ("XX - XX", 2, [("XX", 0)]),
    ],
)
def test_a_text_is_this_operator(text: str, n: int, strings: list[tuple[str, float]]) -> None:
    parsed = parse_observable(text, n)
    expected = SparsePauliOp([s for s, _ in strings], [c for _, c in strings]).to_matrix()
    np.testing.assert_allclose(dense(parsed, n), expected)
    assert parsed.text == text.strip()
    assert len(parsed.terms) == len(strings)


def test_the_rightmost_letter_acts_on_qubit_zero() -> None:
    assert parse_observable("ZYX", 3).terms == (Term(1.0, ((0, "X"), (1, "Y"), (2, "Z"))),)
    assert pauli_string(Term(1.0, ((1, "Y"),)), 3) == "IYI"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", 1, "expected a Pauli"),
        ("ZZ", 1, "2 letters and the circuit has 3"),
        ("ZZZ + ZZ", 7, "2 letters"),
        ("ZZZ + ABC", 7, "cannot read 'ABC'"),
        ("ZZQ", 1, "cannot read 'ZZQ'"),
        ("zzz", 1, "cannot read 'zzz'"),
        ("ZZZ XXX", 5, "expected + or -"),
        ("ZZZ +", 6, "expected a Pauli"),
        ("2 * ", 4, "expected a Pauli"),
        ("Z3", 1, "qubits 0 to 2"),
        ("Z0 X0", 4, "appears twice"),
        ("Z0*", 4, "expected a factor"),
        ("2 3 ZZZ", 3, "expected + or -"),
        ("1e999 ZZZ", 1, "not a finite"),
        ("1e308 ZZZ + 1e308 ZZZ", 13, "not a finite"),
        ("nan ZZZ", 1, "cannot read 'nan'"),
        ("1j ZZZ", 2, "cannot read 'j'"),
        ("(ZZZ)", 1, "cannot read"),
        ("Z0Z1", 1, "cannot read 'Z0Z1'"),
    ],
)
def test_a_bad_text_is_refused_with_its_place(text: str, place: int, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_observable(text, 3)
    assert words in caught.value.what
    assert (caught.value.where or "").endswith(f"character {place}")


def test_the_number_of_terms_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qcommons.circuits.observables.TERMS_MAX", 3)
    parse_observable("Z0 + Z1 + Z2 + 2 Z0", 9)
    with pytest.raises(UsageError) as caught:
        parse_observable("Z0 + Z1 + Z2 + Z3", 9)
    assert caught.value.limit == "3 terms"


def test_reading_takes_linear_time() -> None:
    text = " + ".join(f"0.5 X{i} Z{i + 1}" for i in range(20_000))
    assert len(parse_observable(text, 20_001).terms) == 20_000
    with pytest.raises(UsageError):
        parse_observable("1" * 1_000_000 + "(", 3)
    with pytest.raises(UsageError):
        parse_observable("(" * 1_000_000, 3)


@given(st.text("IXYZ0123456789 +-*.eE", max_size=40))
def test_any_text_is_a_finite_sum_or_a_usage_error(text: str) -> None:
    try:
        parsed = parse_observable(text, 3)
    except UsageError as error:
        assert error.where is not None
        return
    assert np.isfinite(dense(parsed, 3)).all()
    assert np.allclose(dense(parsed, 3), dense(parsed, 3).conj().T)


def random_sum(seed: int, n: int, terms: int) -> PauliSum:
    rng = np.random.Generator(np.random.Philox(seed))
    letters = ["".join(rng.choice(list("IXYZ"), n)) for _ in range(terms)]
    return parse_observable(" + ".join(f"{c:.3f} {s}" for c, s in zip(rng.random(terms), letters, strict=True)), n)


@pytest.mark.parametrize("seed", range(5))
def test_groups_hold_every_term_once_and_agree_with_their_basis(seed: int) -> None:
    sums = [random_sum(seed, 4, 30), random_sum(seed + 100, 4, 30)]
    groups = commuting_groups(sums)
    held = [at for group in groups for at in group.terms]
    wanted = [(s, t) for s, one in enumerate(sums) for t, term in enumerate(one.terms) if term.paulis]
    assert sorted(held) == wanted
    for group in groups:
        basis = dict(group.basis)
        assert list(group.basis) == sorted(group.basis)
        used = {q: letter for s, t in group.terms for q, letter in sums[s].terms[t].paulis}
        assert used == basis  # every letter agrees, and nothing is measured in vain
        for s, t in group.terms:
            assert all(basis[q] == letter for q, letter in sums[s].terms[t].paulis)


def test_few_groups_where_few_suffice() -> None:
    ising = parse_observable("ZZI + IZZ + ZIZ + 0.5 XII + 0.5 IXI + 0.5 IIX + 7", 3)
    groups = commuting_groups(ising)
    assert [g.basis for g in groups] == [((0, "Z"), (1, "Z"), (2, "Z")), ((0, "X"), (1, "X"), (2, "X"))]
    assert len(commuting_groups([ising, ising])) == 2  # equal strings share their setting
    assert commuting_groups(parse_observable("3 I", 3)) == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [("1/2 ZZ", 0.5), ("pi ZZ", np.pi), ("-3*pi/4*ZZ", -3 * np.pi / 4), ("2pi ZZ", 2 * np.pi),
     ("2/pi*Z0*Z1", 2 / np.pi), ("1/3", 1 / 3), ("1e2/4/5 ZZ", 5.0)],
)  # fmt: skip
def test_a_coefficient_may_be_a_product_or_quotient_of_numbers_and_pi(text: str, value: float) -> None:
    (term,) = parse_observable(text, 2).terms
    assert term.coefficient == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    "text", ["1/0 ZZ", "1/ZZ", "ZZ/2", "1//2 ZZ", "2 3 ZZ", "pi pi", "pie ZZ", "1e308*10 ZZ", "2*"]
)
def test_other_quotients_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected|cannot read|by zero|not a finite"):
        parse_observable(text, 2)


@pytest.mark.parametrize("text", ["Z{}", "{} ZZ", "Z0 Z{}", "1/{} ZZ9"])
def test_numbers_of_thousands_of_digits_are_refused_in_few_words(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_observable(text.format("9" * 5000), 2)
    assert len(str(caught.value)) < 300


def test_a_qubit_may_be_written_with_zeros_before_it() -> None:
    assert parse_observable("Z" + "0" * 5000 + "1", 2).terms == (Term(1.0, ((1, "Z"),)),)
