"""The version of this package, as it is installed.

Flow: metadata of the installation -> *package_version* -> `qcommons version`, status, the form of the database.
"""

from __future__ import annotations

__all__ = ["package_version"]


def package_version() -> str:
    """ "0.0.0" in a source tree that was never installed."""
    from importlib.metadata import PackageNotFoundError, version  # 50 ms that most commands need not pay

    try:
        return version("qcommons")
    except PackageNotFoundError:
        return "0.0.0"
