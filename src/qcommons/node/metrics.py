"""Numbers for a monitor: OpenMetrics text, units in the names.

Flow: notes and events of the node -> *Metrics* -> /metrics. The table in docs/metrics.md is made from `ROWS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.exposition import generate_latest

__all__ = ["ROWS", "Metrics", "table"]


class Row(NamedTuple):
    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


ROWS = (
    Row("qcommons_jobs", "counter", ("state",), "Jobs that entered this state since the node started."),
    Row("qcommons_jobs_waiting", "gauge", (), "Jobs that wait for their turn or for the owner's limits."),
    Row("qcommons_jobs_running", "gauge", (), "Jobs that run now."),
    Row("qcommons_jobs_on_mesh", "gauge", (), "Jobs that peers run now."),
    Row("qcommons_job_seconds", "histogram", ("state",), "Seconds from acceptance to the end of a job, by its end."),
    Row("qcommons_refusals", "counter", ("where",), "Submissions refused, by the limit or rule that refused them."),
    Row("qcommons_worker_deaths", "counter", ("how",), "Workers that died under a piece, by cause."),
    Row("qcommons_workers_alive", "gauge", (), "Worker processes alive."),
    Row("qcommons_store_waiting", "gauge", (), "Changes that wait for the disk."),
    Row("qcommons_store_trouble", "gauge", (), "1 while nothing can be written, else 0."),
    Row("qcommons_log_lines_lost", "gauge", (), "Lines of the log that could not be written since the start."),
    Row("qcommons_mesh_peers", "gauge", ("state",), "Known peers by state."),
    Row("qcommons_mesh_links", "gauge", (), "Peers with a session."),
    Row("qcommons_mesh_neighbours", "gauge", (), "Peers with which news are exchanged."),
    Row("qcommons_mesh_handshakes_half_open", "gauge", (), "Connections that came in and are no session yet."),
    Row("qcommons_mesh_bytes_in", "gauge", (), "Bytes of the mesh that came in since the start."),
    Row("qcommons_mesh_bytes_out", "gauge", (), "Bytes of the mesh that went out since the start."),
    Row("qcommons_mesh_handshakes", "gauge", (), "Sessions made since the start."),
    Row("qcommons_mesh_refused", "gauge", (), "Connections refused or ended before a session stood, since the start."),
    Row("qcommons_mesh_puzzles", "gauge", (), "Puzzles asked for because of many handshakes, since the start."),
    Row("qcommons_mesh_store_waiting", "gauge", (), "Answers of the mesh that wait for the disk."),
    Row("qcommons_mesh_reachable", "gauge", (), "1 if others can reach this node, 0 if not, -1 if nobody tried."),
    Row("qcommons_health", "gauge", (), "2 green, 1 yellow, 0 red."),
)
KINDS = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}
BUCKETS_S = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0, 3600.0)


class Metrics:
    """The node's own registry. gauges: read when somebody asks; labelled: the same by the one label's value."""

    def __init__(
        self,
        gauges: Mapping[str, Callable[[], float]],
        labelled: Mapping[str, Mapping[str, Callable[[], float]]] | None = None,
    ) -> None:
        self._registry = CollectorRegistry()
        self._made: dict[str, Counter | Gauge | Histogram] = {}
        for row in ROWS:
            if row.kind == "histogram":
                self._made[row.name] = Histogram(
                    row.name, row.help, row.labels, registry=self._registry, buckets=BUCKETS_S
                )
            else:
                self._made[row.name] = KINDS[row.kind](row.name, row.help, row.labels, registry=self._registry)
        for name, read in gauges.items():
            gauge = self._made[name]
            if isinstance(gauge, Gauge):
                gauge.set_function(read)
        for name, reads in (labelled or {}).items():
            gauge = self._made[name]
            for label, read in reads.items():
                if isinstance(gauge, Gauge):
                    gauge.labels(label).set_function(read)

    def count(self, name: str, **labels: str) -> None:
        counter = self._made[name]
        if isinstance(counter, Counter):
            counter.labels(**labels).inc()

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        histogram = self._made[name]
        if isinstance(histogram, Histogram):
            histogram.labels(**labels).observe(seconds)

    def text(self) -> str:
        text: bytes = generate_latest(self._registry)  # type: ignore[no-untyped-call]
        return text.decode()


def table() -> str:
    """A Markdown table of the metrics, for the documentation."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    lines += [f"| `{row.name}` | {row.kind} | {', '.join(row.labels) or '-'} | {row.help} |" for row in ROWS]
    return "\n".join(lines)
