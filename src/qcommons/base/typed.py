"""Types that msgspec reads into, described to it by one thread at a time.

Flow: a record's type -> *described* -> msgspec.convert, decode, Decoder. msgspec builds what it must know of a type
when it first reads into it, and marks the type as known before that is whole (0.22, for the sake of recursive types): a
second thread that reads into the same type, or into one that holds it, meets a null pointer and the process is gone. A
thread that comes here first waits until the description is whole; afterwards this is one look into a set.

No state of a core: what is kept is the library's, and the same for whoever asks.
"""

from __future__ import annotations

from threading import Lock
from typing import Any, TypeVar

import msgspec

__all__ = ["described"]

KindT = TypeVar("KindT")

_LOCK = Lock()
_WHOLE: set[Any] = set()


def described(kind: KindT) -> KindT:
    """The type itself, once msgspec knows it and all that it holds. Raises TypeError for what msgspec cannot read."""
    if kind not in _WHOLE:
        with _LOCK:
            msgspec.msgpack.Decoder(kind)
            _WHOLE.add(kind)
    return kind
