"""Tensor-network slices: a closed network, a tree, and runs of slices that add up to one number.

Flow: Program, want -> `networks` (what is contracted) -> `ranges` (tree, slices, runs) -> `plan/slice.py`, the row.
"""

from __future__ import annotations

__all__: list[str] = []
