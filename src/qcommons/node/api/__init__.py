"""The node's HTTP API: `/v1`, JSON in and out, events over SSE, OpenAPI 3.1 made from the routes.

Flow: client -> `server` (connections) -> `guard` (Host, Origin, token, size) -> `routes` -> `door` -> shell -> core.
What it cannot answer becomes a `problem`. docs/api.md is made from the same rows (`page`).

    server = ApiServer(Api(door), port=0)
    url = await server.start()

Import the defining module: `from qcommons.node.api.server import ApiServer`.
"""

__all__: list[str] = []
