"""The command line: `qcommons run | up | status | jobs | ...`; `main.COMMANDS` lists them all.

Flow: arguments -> `main` (table of commands) -> one module a noun -> a node (clients.http, or embedded) -> text
or JSON. Listing the commands imports none of them: a person who asks for help waits for Python alone.

Example:
    $ echo 'OPENQASM 3.0; qubit q; h q;' | qcommons run - --shots 100 --json
"""

__all__: list[str] = []
