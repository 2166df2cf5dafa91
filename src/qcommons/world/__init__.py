"""World: a whole mesh in one process under a virtual clock, with seeded faults, lying peers and checkers.

Flow: scenario, seed -> timeline of faults -> *simulator* (the very same MeshCore that the node runs) -> checkers ->
report, or the one line that replays a failure. Stands above `mesh`; `clients/cli` imports it lazily. Example:

    from qcommons.world.play import Case, play
    report = play(Case("churn", seed=7, nodes=20))
    assert not report.violations, report.replay
"""

__all__: list[str] = []
