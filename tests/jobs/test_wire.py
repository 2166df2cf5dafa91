"""Wants, noise and answers between nodes: what goes in comes out, and strangers' bytes do or are refused."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcommons.base.canonical import decode, encode
from qcommons.base.errors import PeerError, UsageError
from qcommons.circuits.noise import parse_noise
from qcommons.circuits.observables import parse_observable
from qcommons.engines.records import Amplitudes, Answer, Counts, Estimate, Expectations, Statevector, Want
from qcommons.jobs.wire import answer_of, noise_of, noise_value, want_of, want_value
from qcommons.verify.receipt import answer_bytes

SUM = parse_observable("0.5*ZZI - 1.25 X0 + 2", 3)
WANTS: list[Want] = [
    Counts(1024),
    Expectations((SUM, parse_observable("YIX", 3))),
    Expectations((SUM,), 4096),
    Amplitudes(("000", "101")),
    Statevector(),
]


def travelled(value: Any) -> Any:
    return decode(encode(value), bytes_max=1 << 20, items_max=10_000)


@pytest.mark.parametrize("want", WANTS, ids=lambda want: type(want).__name__)
def test_a_want_arrives_as_it_was_but_for_the_users_text(want: Want) -> None:
    found = want_of(travelled(want_value(want)), 3)
    if isinstance(want, Expectations):
        assert isinstance(found, Expectations) and found.shots == want.shots
        assert [one.terms for one in found.observables] == [one.terms for one in want.observables]
        assert {one.text for one in found.observables} == {""}
    else:
        assert found == want


def packed(coefficients: list[float], sizes: list[int], letters: list[tuple[int, int]]) -> list[bytes]:
    return [
        struct.pack(f"<{len(coefficients)}d", *coefficients),
        struct.pack(f"<{len(sizes)}I", *sizes),
        b"".join(struct.pack("<IB", *one) for one in letters),
    ]


@pytest.mark.parametrize(
    "value",
    [
        None, [], ["counts"], ["counts", 0], ["counts", True], ["counts", 10**9 + 1], ["counts", 1, 2], [["counts"], 1],
        ["guess", 1], ["amplitudes", 3, ""], ["amplitudes", 3, "01"], ["amplitudes", 3, "01x"],
        ["amplitudes", 2, "0101"],
        ["amplitudes", 3, "000" * ((1 << 16) + 1)], ["statevector", 1], ["expectations", [], None],
        ["expectations", [packed([1.0], [1], [(3, 0)])], None],  # a qubit that is not there
        ["expectations", [packed([1.0], [2], [(1, 0), (1, 2)])], None],  # twice
        ["expectations", [packed([1.0], [1], [(0, 3)])], None],  # no letter
        ["expectations", [packed([math.nan], [1], [(0, 0)])], None],
        ["expectations", [packed([1.0], [2], [(0, 0)])], None],
        ["expectations", [packed([1.0, 1.0], [1], [(0, 0)])], None],
        ["expectations", [packed([1.0], [1 << 31], [(0, 0)])], None],
        ["expectations", [packed([1.0], [1], [(0, 0)])], 0],
        ["expectations", [packed([1.0] * 100_001, [0] * 100_001, [])], None],
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_want_is_refused(value: Any) -> None:
    with pytest.raises(PeerError) as refused:
        want_of(value, 3)
    assert refused.value.where == "want"


def test_noise_arrives_as_it_was_and_false_noise_is_refused() -> None:
    noise = parse_noise("depolarizing:0.01")
    found = noise_of(travelled(noise_value(noise)), 5)
    assert found is not None and found.rules == noise.rules
    assert noise_of(travelled(noise_value(None)), 5) is None
    good = struct.pack("<d", 0.01)
    for value in (
        [], 7, [[]], [[[], [], 0, [["depolarizing", good[:7]]]]], [[[], [], 0, [["nonsense", good]]]],
        [[[], [], 0, [["depolarizing", struct.pack("<d", 1.5)]]]], [[["no gate"], [], 0, [["depolarizing", good]]]],
        [[[], [], -1, [["depolarizing", good]]]],
    ):  # fmt: skip
        if value == []:
            assert noise_of(value, 5) is not None  # no rules are noise of a kind: none
            continue
        with pytest.raises(PeerError) as refused:
            noise_of(value, 5)
        assert str(refused.value.where).startswith("noise")


ANSWERS = [
    Answer("e", "m", counts={"01": 5, "11": 2**40}),
    Answer("e", "m", counts={"": 3}),
    Answer("e", "m", estimates=(Estimate(0.5, 0.25, 100), Estimate(-1.0, 0.0, None)), error_bound=1e-9),
    Answer("e", "m", amplitudes=((0.5, -0.5), (0.1, 1e-300))),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=str)
def test_an_answer_arrives_as_it_was(answer: Answer) -> None:
    assert answer_of(answer_bytes(answer), "e", "m") == answer


@pytest.mark.parametrize(
    "value",
    [
        None, [None, None, None], [None, None, None, 0], [[2, "01", b""], None, None, 0.0],
        [[2, "0111", struct.pack("<Q", 1)], None, None, 0.0], [[-1, "", b""], None, None, 0.0],
        [[2, "1101", struct.pack("<QQ", 1, 2)], None, None, 0.0],  # out of order: other bytes than ours
        [[2, "0101", struct.pack("<QQ", 1, 2)], None, None, 0.0], [[True, "", b""], None, None, 0.0],
        [None, [[1.0, 0.0]], None, 0.0], [None, [[1, 0.0, None]], None, 0.0], [None, [[1.0, 0.0, True]], None, 0.0],
        [None, 7, None, 0.0], [None, None, bytes(15), 0.0], [None, None, "00", 0.0],
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_answer_is_refused(value: Any) -> None:
    with pytest.raises(PeerError):
        answer_of(encode(value), "e", "m")


@given(st.sampled_from(ANSWERS), st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_answers_are_refused_or_are_answers(answer: Answer, data: st.DataObject) -> None:
    raw = bytearray(answer_bytes(answer))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = answer_of(bytes(raw), "e", "m")
    except PeerError:
        return
    assert answer_bytes(found) == bytes(raw)


def test_a_want_without_a_form_is_the_callers_fault() -> None:
    with pytest.raises(UsageError, match="no wire form"):
        want_value(object())  # type: ignore[arg-type]
