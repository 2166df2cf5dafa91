"""Every installed engine keeps its promises, and the suite notices those who do not."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from qcommons.base.seeds import stream
from qcommons.engines.numpy_engine import NumpyEngine
from qcommons.engines.records import Answer, Counts
from qcommons.engines.registry import broken_engines, load_engines
from qcommons.testing import Nonconforming, check_engine, engine_checks

CASES = [
    pytest.param(engine, method, check, id=f"{name}-{method.name}-{check.name.replace(' ', '_')}")
    for name, engine in load_engines().items()
    if engine.installed() is not None
    for method in engine.methods
    for check in engine_checks()
    if check.applies(method)
]


def test_no_engine_is_broken():
    assert broken_engines() == ()


@pytest.mark.parametrize("engine, method, check", CASES)
def test_engine_keeps_its_promise(engine, method, check):
    check.run(engine, method)


class Liar(NumpyEngine):
    """The numpy engine's dense method with its answers tampered with."""

    methods = NumpyEngine.methods[:1]

    def __init__(self, lie):
        self.lie = lie

    def run(self, task):
        return self.lie(task, super().run(task))

    def probes(self):
        return ()


def counts_lie(change):
    return lambda task, answer: (
        answer if answer.counts is None else msgspec.structs.replace(answer, counts=change(task, answer.counts))
    )


def amplitude_lie(factor):
    def lie(task, answer):
        if answer.amplitudes is None:
            return answer
        values = np.array([complex(*a) for a in answer.amplitudes]) * factor
        return msgspec.structs.replace(answer, amplitudes=tuple((v.real, v.imag) for v in values.tolist()))

    return lie


def seedless(task, counts):
    if len(counts) == 1:
        return counts
    p = np.array(list(counts.values())) / task.want.shots
    drawn = stream(99, "liar").multinomial(task.want.shots, p)
    return {k: int(v) for k, v in zip(counts, drawn, strict=True) if v}


def ten_percent_noise(task, counts):
    """A tenth of the shots replaced by uniform bits."""
    shots, width = task.want.shots, len(next(iter(counts)))
    if shots < 1000:
        return counts
    out = {k: v - v // 10 for k, v in counts.items()}
    fill = shots - sum(out.values())
    for value in stream(task.seed, "liar").integers(0, 1 << width, fill).tolist():
        key = format(value, f"0{width}b")
        out[key] = out.get(key, 0) + 1
    return out


def one_shot_less(task, counts):
    most = max(counts, key=counts.get)
    return {k: v - (k == most) for k, v in counts.items() if v - (k == most)}


def conjugated(task, answer):
    if answer.amplitudes is None:
        return answer
    return Answer(answer.engine, answer.method, amplitudes=tuple((re, -im) for re, im in answer.amplitudes))


class Flaky:
    """Ignores the task's seed: every run draws anew."""

    turn = 0

    def __call__(self, task, answer):
        if isinstance(task.want, Counts):
            Flaky.turn += 1
            return NumpyEngine().run(msgspec.structs.replace(task, seed=Flaky.turn))
        return answer


LIES = {
    "bits reversed": (counts_lie(lambda t, c: {k[::-1]: v for k, v in c.items()}), "bit order"),
    "a shot lost": (counts_lie(one_shot_less), "statistics"),
    "noise mixed in": (counts_lie(ten_percent_noise), "statistics"),
    "spaces in keys": (counts_lie(lambda t, c: {k[:1] + " " + k[1:]: v for k, v in c.items()}), "bit order"),
    "seed ignored": (Flaky(), "seeds"),
    "global phase lost": (amplitude_lie(np.exp(0.1j)), "amplitudes"),
    "amplitudes conjugated": (conjugated, "amplitudes"),
}  # fmt: skip


@pytest.mark.parametrize("lie, caught", LIES.values(), ids=[name.replace(" ", "_") for name in LIES])
def test_the_suite_catches_a_lying_engine(lie, caught):
    with pytest.raises(Nonconforming, match=f"dense {caught}"):
        check_engine(Liar(lie))


def test_an_engine_without_its_library_is_not_declared_fit():
    missing = Liar(lambda task, answer: answer)
    missing.installed = lambda: None
    with pytest.raises(Nonconforming, match="not installed"):
        check_engine(missing)
