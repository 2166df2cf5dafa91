"""What people see of a job: its line in the list, what workers are at for it, and why it is where it is. Pure.

Flow: store (Entry, Phase), core (Held, verdict of the gate), shell (attempts) -> *views* -> door -> api.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qcommons.base.clock import duration_text, seconds_text
from qcommons.jobs.outcomes import ErrorInfo
from qcommons.jobs.records import Phase
from qcommons.node.api.records import AttemptView, JobView, PhaseView, Why
from qcommons.node.owner import Verdict
from qcommons.node.records import Entry

__all__ = ["attempt_name", "attempt_text", "job_view", "why_ended", "why_running", "why_waiting"]


def job_view(
    entry: Entry, timeline: Iterable[Phase] = (), cause: str | None = None, attempts: tuple[AttemptView, ...] = ()
) -> JobView:
    """cause: better than the one of the last phase, where there is one."""
    return JobView(
        id=entry.id, state=entry.state, cause=cause or entry.cause, since_ns=entry.since_ns,
        submitted_ns=entry.submitted_ns, ended_ns=entry.ended_ns, deadline_ns=entry.deadline_ns,
        principal=entry.principal, tags=entry.tags, title=entry.title, runs=entry.runs, answered=entry.answered,
        n_qubits=entry.n_qubits, shots=entry.shots,
        timeline=tuple(PhaseView(phase.state, phase.cause, phase.since_ns) for phase in timeline),
        attempts=attempts, on=entry.on,
    )  # fmt: skip


def why_waiting(entry: Entry, gate: Verdict, ahead: int, running: int, places: int, now_ns: int) -> Why:
    """The gate holds it back, or it waits for its turn."""
    if not gate.go:
        return Why(
            job=entry.id, state=entry.state, cause=gate.cause, who=gate.who, since_ns=gate.since_ns,
            action=gate.action, ahead=ahead, until_ns=gate.until_ns,
        )  # fmt: skip
    before = f"{ahead} job{'' if ahead == 1 else 's'} before it"
    left = duration_text(max(0, entry.deadline_ns - now_ns))
    cause = f"waits for its turn: {running} of {places} places are taken, {before}; its deadline is in {left}"
    return Why(
        job=entry.id, state=entry.state, cause=cause, who="resources", since_ns=entry.since_ns,
        action="wait, or cancel another job: qcommons jobs", ahead=ahead,
    )  # fmt: skip


def why_running(entry: Entry, workers_alive: int, now_ns: int, attempts: tuple[AttemptView, ...] = ()) -> Why:
    """How far it is, and what is done for it."""
    ran = duration_text(max(0, now_ns - entry.since_ns))
    at = f"; {attempt_text(attempts[0], now_ns)}" if attempts else ""
    workers = f"{workers_alive} worker{'' if workers_alive == 1 else 's'} alive"
    runs = f"{entry.runs} run{'' if entry.runs == 1 else 's'}"
    cause = f"{entry.answered} of {runs} answered after {ran}{at}; {workers}"
    return Why(
        job=entry.id, state=entry.state, cause=cause, who="nobody", since_ns=entry.since_ns,
        action="", until_ns=entry.deadline_ns,
    )  # fmt: skip


def attempt_name(engine: str, method: str, predicted_s: float, *, certain: bool) -> str:
    """ "qulacs/statevector, predicted 12.3 s"; "about" where the cost depends on the state."""
    about = "" if certain else "about "
    return f"{engine}/{method}, predicted {about}{seconds_text(predicted_s)}"


def attempt_text(attempt: AttemptView, now_ns: int) -> str:
    """ "qulacs/statevector, predicted 12.3 s, for 4.1 s now"."""
    name = attempt_name(attempt.engine, attempt.method, attempt.predicted_s, certain=attempt.certain)
    return f"{name}, for {duration_text(max(0, now_ns - attempt.since_ns))} now"


def why_ended(entry: Entry, errors: Sequence[ErrorInfo]) -> Why:
    """Of a job that was not answered: the first of its errors, and whose move it is."""
    if not errors:
        return Why(job=entry.id, state=entry.state, cause=entry.cause, who="nobody", since_ns=entry.since_ns,
                   action=f"see it: qcommons job result {entry.id}")  # fmt: skip
    first = errors[0]
    if entry.state == "cancelled":
        return Why(job=entry.id, state=entry.state, cause=first.what, who="nobody", since_ns=entry.since_ns)
    place = f"{first.where}: " if first.where else ""
    more = f" (and {len(errors) - 1} more run{'s' if len(errors) > 2 else ''})" if len(errors) > 1 else ""
    elsewhere = "see what is nearest in the cause, or ask a larger machine" if entry.state == "refused" else ""
    actions = {
        "caller": "change the input and submit it again",
        "resources": elsewhere or "submit it again later or elsewhere",
    }
    return Why(
        job=entry.id, state=entry.state, cause=f"{place}{first.what}{more}", who=first.who, since_ns=entry.since_ns,
        action=actions.get(first.who, "see qcommons logs, and report it"), tried=first.tried,
    )  # fmt: skip
