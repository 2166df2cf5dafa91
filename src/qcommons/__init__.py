"""Quantum Commons: a quantum computing network that nobody owns but its users.

Flow: this front door -> node.default -> jobs -> engines. Nothing heavy is imported before it is
used:

    from qcommons import run
    print(run("bell.qasm", shots=4096))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qcommons.node.default import run

__all__ = ["__version__", "run"]


def __getattr__(name: str) -> Any:
    if name == "run":
        from qcommons.node.default import run

        return run
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version  # 50 ms that most commands need not pay

        try:
            return version("qcommons")
        except PackageNotFoundError:  # a source tree that was never installed
            return "0.0.0"
    raise AttributeError(f"module 'qcommons' has no attribute {name!r}")
