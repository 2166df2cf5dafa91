"""The typed client of a node's HTTP API: what every other door is built on.

Flow: `run`'s arguments -> submissions -> calls -> *Node, AsyncNode* -> the node; its answers -> calls -> Result,
Results and the structs of `node.api.records`. The two nodes differ in the transport alone.

    with Node.connect() as node:
        print(node.run("bell.qasm", shots=4096))

Import the defining module: `from qcommons.clients.http.node import Node`.
"""

__all__: list[str] = []
