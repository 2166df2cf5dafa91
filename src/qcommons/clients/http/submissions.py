"""The arguments of `run` as a submission: files are read here, on the client's side, and travel as text.

Flow: program, shots, bind, ... -> *submission* -> POST /v1/jobs. Checked as an embedded run checks them, so that a
mistake is told in terms of the arguments.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qcommons.base.errors import UsageError
from qcommons.base.text import shown
from qcommons.circuits.noise import Noise
from qcommons.circuits.program import Program
from qcommons.circuits.wire import WRITABLE, encode
from qcommons.jobs.records import Card
from qcommons.node import edge
from qcommons.node.api.records import ProgramText, Submission
from qcommons.node.submission import SEED_MAX, positive
from qcommons.node.terms import Assurance, Egress, On, terms_of

__all__ = ["submission"]


def submission(
    program: Any,
    *,
    shots: int | None = None,
    observable: Any = None,
    amplitudes: Any = None,
    statevector: bool = False,
    bind: Any = None,
    noise: Any = None,
    seed: int | None = None,
    engine: str | None = None,
    method: str | None = None,
    deadline_s: float | None = None,
    memory_bytes: int | None = None,
    tags: Sequence[str] = (),
    purpose: str | None = None,
    egress: Egress | None = None,
    on: On = "here",
    assurance: Assurance | None = None,
    peers: int | None = None,
    budget: int | None = None,
    plan: str | None = None,
    request: str | None = None,
) -> Submission:
    """See `node.default.run` for the arguments.

    Args:
        on: "mesh" has peers run it. assurance: how they are checked: "none", "audit" (the default there), "replicate".
        egress: whose nodes may get it: "peers" (own and allowed ones, the default there) or "public". peers: how many
            of them at most. budget: base units that they may be paid in all. plan: row of the planner.
        purpose: the campaign that the job serves; owners allow and refuse these by name.
        request: names this submission, drawn where None.

    Raises:
        UsageError: `where` names the argument or the file.
    """
    circuits, batch = edge.circuits(program)
    asked = edge.asked(shots, observable, amplitudes, statevector)
    points, shape = edge.points(bind)
    if seed is not None and (not edge.is_whole(seed) or not 0 <= seed <= SEED_MAX):
        raise UsageError(f"seed={shown(seed)}; allowed 0 to 2^63-1", where="seed", limit="2^63-1")
    terms_of(on, assurance, egress, peers, budget, purpose, plan)
    text, profile, model = _noise(noise)
    swept = shape is not None or points != [{}]
    return Submission(
        programs=tuple(_program(circuit) for circuit in circuits),
        batch=batch,
        shots=asked.shots,
        observables=asked.observables or None,
        scalar=asked.scalar and bool(asked.observables),
        amplitudes=asked.bitstrings or None,
        statevector=asked.statevector,
        points=tuple(points) if swept else None,
        shape=(shape or ()) if swept else None,
        noise=text,
        noise_profile=profile,
        noise_model=model,
        seed=None if seed is None else int(seed),
        engine=engine,
        method=method,
        deadline_s=None if deadline_s is None else positive("deadline_s", deadline_s),
        memory_bytes=None if memory_bytes is None else int(positive("memory_bytes", memory_bytes)),
        tags=tuple(tags),
        purpose=purpose,
        egress=egress,
        on=on,
        assurance=assurance,
        peers=peers,
        budget=budget,
        plan=plan,
        request=request or secrets.token_hex(16),
    )


def _program(circuit: edge.Circuit) -> ProgramText:
    match circuit:
        case Program():
            return ProgramText(wire=encode(circuit, WRITABLE))
        case Card():
            return ProgramText(wire=circuit.wire, name=circuit.name)
        case _:
            try:
                return ProgramText(qasm=circuit.text.decode(), name=circuit.name)
            except UnicodeDecodeError as error:
                raise UsageError(f"byte {error.start} is not UTF-8", where=circuit.name) from None


def _noise(noise: Any) -> tuple[str | None, str | None, Noise | None]:
    """As text, as the text of a profile, or as rules."""
    if isinstance(noise, str) and not noise.endswith(".toml"):
        return noise, None, None
    if isinstance(noise, str | Path):
        edge.noise_of(Path(noise))  # its mistakes are told with the file's name
        (source,), _ = edge.circuits(Path(noise))  # read and capped as a program's file is
        if not isinstance(source, Program | Card):
            return None, source.text.decode(), None
    return None, None, edge.noise_of(noise)
