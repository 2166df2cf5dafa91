"""The pages `docs/cli.md` and `docs/metrics.md`, from the rows that the parser and the node's /metrics read.

Regenerate: `python -m qcommons.clients.cli.page > docs/cli.md`, and `... page metrics > docs/metrics.md`. A test holds
pages and rows together.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from qcommons.clients.cli.main import COMMANDS, Command, entry
from qcommons.node.config import settings_help

__all__ = ["metrics_page", "page"]

HEAD = """\
# The command line

<!-- Generated: python -m qcommons.clients.cli.page > docs/cli.md -->

`qcommons COMMAND [OPTIONS]`. Every command has `--help` and `--json`; with `--json` exactly one object
is printed on standard output, an error included (`error`: `who` must act, `what`, `where`,
`limit`, and of a refusal `tried`: engine, method and why not of each, in text a line each).
[The schemas](schema/cli.schema.json) say what each command prints; answers of `run` have
[a schema of their own](schema/run.schema.json), and [so has](schema/world.schema.json) `world`.
Times in it are integer nanoseconds since 1970 (UTC), in fields that end in `_ns`. `-f` with `--json`
prints one object a line. Output has no colour, so `NO_COLOR` is always honoured; it reaches the progress bar too.

| exit code | meaning |
|---|---|
| 0 | done |
| 2 | bad input: change it and try again |
| 3 | refused, with the numbers that refuse it |
| 4 | unavailable: something needed is not there (a library, a node that answers); `doctor` or `status` is red |
| 5 | failed |
| 6 | cancelled |

Commands that ask a node take, in this order, the one of `--node URL`, of `QCOMMONS_NODE`, or the one that
runs in this home ([running a node](running-a-node.md)). The token for another home's node is in
`QCOMMONS_TOKEN`, never on the command line. `down` where no node runs says so and ends with 0: that is
what was wanted.

What others wrote (names, titles, tags, file contents) is printed without anything that a terminal obeys: control and
format characters stand as escapes, `\\x1b`, `\\u202e`. In JSON they are escaped too and mean the same.

Program, sweep and observable files may be FIFOs, as in `qcommons run <(python make_circuit.py)` or `/dev/stdin`. These
and `-` are read to their end, at most for the time of the deadline, which for the job itself counts from its
submission. Folders, devices and sockets are refused; a device profile must be a regular file.

A run of more than a second shows a bar on standard error where that is a terminal: the engine, the method, the time
predicted. Elsewhere one line after 2 s says the same; not with `--quiet`, nor with `--json`.
"""
SETTINGS_HEAD = """
## Settings

A flag wins over the environment, the environment over the file, the file over the default.
`qcommons config show --origin` prints each value with its origin and the file's place.
`QCOMMONS_HOME` moves the folder that holds the file. `run` [in Python](python.md) honours them as well.
"""
SETTINGS_EXAMPLE = """
```toml
[limits]
memory = "8GiB"
seconds = "10m"
```
"""
METRICS = """\
# Metrics

<!-- Generated: python -m qcommons.clients.cli.page metrics > docs/metrics.md -->

`GET /metrics` answers in [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) text to the owner's
token. Counters end in `_total` there and begin at 0 when the node starts; histograms have `_bucket`, `_count` and
`_sum`. A scraper needs the token of the home:

```yaml
scrape_configs:
  - job_name: qcommons
    authorization: {{ credentials_file: /home/you/.local/share/qcommons/token }}
    static_configs: [{{ targets: ["127.0.0.1:8740"] }}]
```

{table}

Watch `qcommons_health` (below 2: `qcommons status` says why), `qcommons_store_trouble` and `qcommons_jobs_waiting`.
"""


def metrics_page() -> str:
    """The page of the metrics as Markdown."""
    from qcommons.node.metrics import table

    return METRICS.format(table=table())


def page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    parts += ["\n".join(_section(command)) + "\n" for command in COMMANDS]
    parts += [SETTINGS_HEAD, "\n" + settings_help() + "\n", SETTINGS_EXAMPLE]
    return "".join(parts)


def _section(command: Command) -> Iterator[str]:
    options, _ = entry(command)
    yield f"\n## qcommons {command.name}\n"
    yield f"{command.help}\n"
    yield "| option | meaning |"
    yield "|---|---|"
    for option in options:
        value = f" {option.metavar}" if option.metavar and option.flag.startswith("-") else ""
        flag = option.flag if option.flag.startswith("-") else (option.metavar or option.flag)
        flag = f"{option.short}, {flag}" if option.short else flag
        yield f"| `{flag}{value}` | {option.help.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    print(metrics_page() if sys.argv[1:] == ["metrics"] else page(), end="")
