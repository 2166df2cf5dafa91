"""The doors of the house for people and programs.

The top floor: a door talks to a node and owns no quantum code. Today there is one door, the
command line (`cli`), with an embedded node for each command.

Example:
    $ qcommons run examples/bell.qasm --shots 4096
"""

__all__: list[str] = []
