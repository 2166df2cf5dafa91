"""Cards: what is known of a program without decoding it."""

from __future__ import annotations

import pytest
from tests.node.making import BELL, TURN

from qcommons.base.errors import PeerError
from qcommons.circuits.program import Branch, Caps, Condition, Op, Program
from qcommons.circuits.wire import encode, program_id
from qcommons.node.card import card_of, card_of_wire
from qcommons.node.embedded import EmbeddedNode

BRANCHED = Program(
    2,
    (("a", 1), ("b", 2)),
    (Op("measure", (0,), (), (0,)), Branch(Condition((0,), "==", 1), (Op("x", (1,)),), (Op("h", (1,)), Op("z", (1,))))),
)


@pytest.mark.parametrize("program", [BELL, TURN, BRANCHED, Program(0, (), ())])
def test_the_bytes_of_a_program_give_the_card_of_the_program(program: Program) -> None:
    card = card_of_wire(encode(program))
    assert card == card_of(program)
    assert (card.program_id, card.n_qubits, card.inputs) == (program_id(program), program.n_qubits, program.inputs)


def test_a_branch_counts_with_the_operations_in_its_blocks() -> None:
    assert card_of(BRANCHED).n_ops == 5


def test_bytes_that_are_no_program_are_refused_when_the_card_is_made() -> None:
    good = encode(BELL)
    for bad in (b"", good[:-1], good + b"\0", good.replace(b"c", b"\xff")):
        with pytest.raises(PeerError):
            card_of_wire(bad)
    with pytest.raises(PeerError, match="operations") as caught:
        card_of_wire(good, caps=Caps(operations_max=3))
    assert caught.value.limit == "3 operations"


def test_a_card_runs_as_its_program_does() -> None:
    with EmbeddedNode(1) as node:
        of_wire, of_program = node.run([card_of_wire(encode(BELL), "bell"), BELL], shots=200, seed=3)
        alone = node.run(card_of_wire(encode(BELL)), shots=200, seed=of_program.seed)
    assert of_wire.name == "bell"
    assert alone.counts == of_program.counts
    assert of_wire.program_id == of_program.program_id
