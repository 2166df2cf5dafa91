"""One Q-node: so far the embedded one, inside the caller's process, with its pool of workers.

Flow: clients -> `default` (a node as `config` says) -> `embedded` -> jobs (machine) <-> `workers` ->
`worker` processes -> engines. This room owns what the cores may not touch: clock, threads, processes,
files. Every limit is applied here.

    with EmbeddedNode(workers=2) as node:
        print(node.run("bell.qasm", shots=4096))

Import the defining module: `from qcommons.node.default import run`.
"""

__all__: list[str] = []
