"""Conformance suites for plug-ins: what an engine must do to be trusted with jobs.

Flow: a plug-in's author -> *testing* -> a list of broken promises, or silence. Example:

    from qcommons.testing import check_engine
    from my_engine import ENGINE
    check_engine(ENGINE)  # raises Nonconforming with one line a failure
"""

from qcommons.testing.engine import Check, Mismatch, Nonconforming, check_engine, engine_checks

__all__ = ["Check", "Mismatch", "Nonconforming", "check_engine", "engine_checks"]
