"""Sources become cards in a worker, in order, each with its own outcome."""

from __future__ import annotations

import time

import msgspec
from tests.node.making import BELL, QASM

from qcommons.base.clock import deadline_ns
from qcommons.circuits.program import DEFAULT_CAPS
from qcommons.jobs.outcomes import Misused, PastDeadline
from qcommons.jobs.records import Card
from qcommons.node.card import card_of
from qcommons.node.frames import Source
from qcommons.node.sources import Reader
from qcommons.node.workers import WorkerPool


def test_texts_programs_and_cards_come_back_in_order_and_a_bad_one_says_where() -> None:
    pool = WorkerPool(1)
    try:
        reader = Reader(pool, msgspec.structs.replace(DEFAULT_CAPS, operations_max=5))
        long = "OPENQASM 3.0; qubit q;" + "U(0, 0, 0) q;" * 6
        circuits = [Source(QASM.encode(), "a.qasm"), BELL, card_of(BELL), Source(long.encode(), "long.qasm")]
        until_ns = deadline_ns(time.monotonic_ns(), 30)
        text, program, card, bad = reader.cards(circuits, until_ns, 30.0)
        assert isinstance(text, Card) and text.inputs == ("theta",) and text.name == "a.qasm"
        assert program == card == card_of(BELL)
        assert isinstance(bad, Misused) and "long.qasm:1:" in str(bad.where) and bad.limit == "5 operations"
    finally:
        pool.close()


def test_a_reader_does_not_wait_longer_than_it_may() -> None:
    pool = WorkerPool(1)
    try:
        (late,) = Reader(pool, DEFAULT_CAPS).cards([Source(QASM.encode(), "a.qasm")], time.monotonic_ns(), 0.5)
        assert late == PastDeadline(0.5)
    finally:
        pool.close()
