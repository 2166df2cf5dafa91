"""The command line: `qcommons run | engines | demo | config | doctor | version`.

Flow: arguments -> `main` (table of commands) -> one module a command -> node.default -> jobs.text
or JSON. Listing the commands imports none of them: a person who asks for help waits for Python alone.

Example:
    $ echo 'OPENQASM 3.0; qubit q; h q;' | qcommons run - --shots 100 --json
"""

__all__: list[str] = []
