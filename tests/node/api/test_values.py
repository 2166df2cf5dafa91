"""Bodies are counted before they are decoded: texts do not count, structure does, wherever the body is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcommons.base.errors import UsageError
from qcommons.node.api import values
from qcommons.node.api.values import VALUES_MAX, check_values, values_in

TEXT = st.text(alphabet='",\\[{a\n', max_size=12)
DOCUMENT = st.recursive(
    st.none() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=30,
)


def marks(document: Any) -> int:
    """One for each array and object, one for each of its members but the first."""
    if not isinstance(document, list | dict):
        return 0
    inner = list(document) if isinstance(document, list) else list(document.values())
    return 1 + max(0, len(inner) - 1) + sum(map(marks, inner))


@given(DOCUMENT, st.integers(1, 40))
def test_what_stands_in_texts_does_not_count_wherever_the_body_is_cut(document: Any, step_bytes: int) -> None:
    raw = json.dumps(document).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "STEP_BYTES", step_bytes)
        assert values_in(raw, 1 << 60) == 1 + marks(document)


@pytest.mark.parametrize("unit", [b"{}", b"[]", b'"a"', b"1", b'{"a":1}'])
def test_a_long_list_of_small_values_is_refused_with_the_limit(unit: bytes) -> None:
    raw = b'{"points":[' + b",".join([unit] * (VALUES_MAX + 1)) + b"]}"
    with pytest.raises(UsageError, match=f"more than {VALUES_MAX} values") as refused:
        check_values(raw)
    assert refused.value.limit == f"{VALUES_MAX} values"


def test_a_program_full_of_commas_and_quotes_is_one_value() -> None:
    text = 'cx q[0],q[1];// "a",\\\n' * 100_000
    check_values(json.dumps({"programs": [{"qasm": text}]}).encode())


def test_counting_stops_soon_after_the_limit() -> None:
    raw = b"[" + b"1," * 10_000_000
    assert VALUES_MAX < values_in(raw, VALUES_MAX) < 2 * VALUES_MAX
