"""A want of slices travels, and what a stranger sends in its place is refused.

Modules: jobs/plan/slicing/wire.
"""

from __future__ import annotations

import msgspec
import pytest

from qcommons.base.canonical import decode, encode
from qcommons.base.errors import PeerError
from qcommons.engines.records import Slices
from qcommons.jobs.wire import want_of, want_value

AMPLITUDES = Slices(
    bitstrings=("010", "111"), tree=((0, 1), (2, 3)), sliced=(7, 5), first=2, count=2, shape="ab12",
    multiplications=1e9, elements=64.0,
)  # fmt: skip
PAULIS = msgspec.structs.replace(AMPLITUDES, bitstrings=(), paulis=((0, "X"), (2, "Z")), precision="f32")


@pytest.mark.parametrize("want", [AMPLITUDES, PAULIS])
def test_slices_travel(want):
    assert want_of(decode(encode(want_value(want)), bytes_max=4096, items_max=100), 3) == want


BAD = {
    "bitstrings of another width": (2, "0101"),
    "a letter that is none": (3, b"\0\0\0\0\3"),
    "letters cut short": (3, b"\0\0"),
    "more letters than qubits": (3, b"\0\0\0\0\1" * 4),
    "half a pair": (4, b"\0" * 4),
    "a tree without end": (4, b"\0" * 8 * 20_001),
    "too many sliced indices": (5, b"\0" * 4 * 41),
    "a negative slice": (6, -1),
    "a count that is no number": (7, "2"),
    "a shape as long as a book": (8, "a" * 65),
    "a cost without end": (9, b"\0\0\0\0\0\0\xf0\x7f"),
    "a cost of 4 bytes": (10, b"\0" * 4),
    "an unknown precision": (11, "f16"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_want_of_slices_is_refused(name):
    place, wrong = BAD[name]
    value = want_value(AMPLITUDES)
    value[place] = wrong
    with pytest.raises(PeerError):
        want_of(value, 3)
