"""Types described to msgspec by one thread at a time: without that, the process dies of what it does here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from qcommons.base.typed import described

MANY_AT_ONCE = """
import sys, threading, msgspec
from typing import Annotated
from qcommons.base.typed import described
sys.setswitchinterval(1e-6)
number = Annotated[int, msgspec.Meta(ge=0)] | None
for place in range(60):
    inner = msgspec.defstruct(f"Inner{place}", [(f"f{k}", number) for k in range(20)], array_like=True)
    many = tuple[inner, ...] | None
    outer = msgspec.defstruct(f"Outer{place}", [(f"f{k}", many) for k in range(20)], array_like=True)
    start = threading.Barrier(6)
    def read():
        start.wait()
        assert msgspec.convert([[]] * 20, described(outer)).f3 == ()
        assert msgspec.convert([1] * 20, described(inner)).f3 == 1
    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
print("whole")
"""


def test_six_threads_that_read_into_new_types_at_once_do_no_harm() -> None:
    """Without `described` this ends with a segmentation fault, each time (msgspec 0.22, measured)."""
    done = subprocess.run([sys.executable, "-c", MANY_AT_ONCE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr


def test_what_msgspec_cannot_read_is_refused_and_holds_nobody_up() -> None:
    with pytest.raises(TypeError):
        described(int | list[int] | tuple[int, ...])  # two kinds of array
    assert described(list[int]) == list[int]
