"""What a record offers: an engine is as wide as its widest method."""

from __future__ import annotations

from qcommons.node.mesh.offers import offers


def test_engines_with_a_method_that_is_not_dense_are_wide() -> None:
    """numpy has sparse states, aer matrix product states: a node offers them for programs of hundreds of qubits."""
    found = dict(one.split(":") for one in offers(16 << 20, 0))
    assert {"numpy", "qulacs", "stim", "aer"} <= found.keys()
    assert found["qulacs"] == "20", "2^20 amplitudes of 16 bytes"
    assert min(int(found[name]) for name in ("numpy", "stim", "aer")) >= 500


def test_the_owners_limit_holds_for_all() -> None:
    assert {one.partition(":")[2] for one in offers(1 << 34, 12)} == {"12"}
