"""Metrics: OpenMetrics text that a parser reads, with every row of the table in it."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from qcommons.node.metrics import ROWS, Metrics, table


def test_the_text_is_openmetrics_and_has_every_row() -> None:
    metrics = Metrics({"qcommons_jobs_waiting": lambda: 3.0})
    metrics.count("qcommons_jobs", state="done")
    metrics.observe("qcommons_job_seconds", 0.3, state="done")
    families = {family.name: family for family in text_string_to_metric_families(metrics.text())}
    assert set(families) == {row.name for row in ROWS}
    assert {row.name: row.kind for row in ROWS} == {name: family.type for name, family in families.items()}
    values = {sample.name: sample.value for sample in families["qcommons_jobs"].samples}
    assert values["qcommons_jobs_total"] == 1.0
    assert families["qcommons_jobs_waiting"].samples[0].value == 3.0


def test_the_table_has_a_line_a_metric() -> None:
    assert table().count("\n") == len(ROWS) + 1
