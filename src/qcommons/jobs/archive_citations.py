"""Whom to cite: the works behind engines, methods, ways to split a job, and checks, a row each.

Flow: what a job used -> *citations* -> versions and metadata of its archive.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["CITATIONS", "Citation", "citations"]


class Citation(NamedTuple):
    """of: "engine NAME", "method NAME", "plan ROW" or "check NAME" that it is behind. url: a DOI, or of arXiv."""

    of: tuple[str, ...]
    text: str
    url: str


CITATIONS: tuple[Citation, ...] = (
    Citation(("engine qulacs",), "Suzuki et al., Qulacs: a fast and versatile quantum circuit simulator for research "
             "purpose, Quantum 5, 559 (2021)", "https://doi.org/10.22331/q-2021-10-06-559"),
    Citation(("engine stim",), "Gidney, Stim: a fast stabilizer circuit simulator, Quantum 5, 497 (2021)",
             "https://doi.org/10.22331/q-2021-07-06-497"),
    Citation(("engine aer",), "Javadi-Abhari et al., Quantum computing with Qiskit (2024)",
             "https://arxiv.org/abs/2405.08810"),
    Citation(("engine qsim",), "Quantum AI team and collaborators, qsim (2020)",
             "https://doi.org/10.5281/zenodo.4023103"),
    Citation(("engine tn", "plan slice"), "Gray and Kourtis, Hyper-optimized tensor network contraction, Quantum 5, "
             "410 (2021)", "https://doi.org/10.22331/q-2021-03-15-410"),
    Citation(("plan slice",), "Kalachev, Panteleev and Yung, Multi-tensor contraction for XEB verification of quantum "
             "circuits (2021)", "https://arxiv.org/abs/2108.05665"),
    Citation(("method tableau", "method compiled"), "Aaronson and Gottesman, Improved simulation of stabilizer "
             "circuits, Phys. Rev. A 70, 052328 (2004)", "https://doi.org/10.1103/PhysRevA.70.052328"),
    Citation(("engine frames",), "Bravyi et al., Simulation of quantum circuits by low-rank stabilizer decompositions, "
             "Quantum 3, 181 (2019)", "https://doi.org/10.22331/q-2019-09-02-181"),
    Citation(("method mps",), "Vidal, Efficient classical simulation of slightly entangled quantum computations, Phys. "
             "Rev. Lett. 91, 147902 (2003)", "https://doi.org/10.1103/PhysRevLett.91.147902"),
    Citation(("method mps",), "Schollwoeck, The density-matrix renormalization group in the age of matrix product "
             "states, Ann. Phys. 326, 96 (2011)", "https://doi.org/10.1016/j.aop.2010.09.012"),
    Citation(("method trajectories",), "Dalibard, Castin and Moelmer, Wave-function approach to dissipative processes "
             "in quantum optics, Phys. Rev. Lett. 68, 580 (1992)", "https://doi.org/10.1103/PhysRevLett.68.580"),
    Citation(("plan batch",), "Verteletskyi, Yen and Izmaylov, Measurement optimization in the variational quantum "
             "eigensolver using a minimum clique cover, J. Chem. Phys. 152, 124114 (2020)",
             "https://doi.org/10.1063/1.5141458"),
    Citation(("plan cut",), "Peng, Harrow, Ozols and Wu, Simulating large quantum circuits on a small quantum "
             "computer, Phys. Rev. Lett. 125, 150504 (2020)", "https://doi.org/10.1103/PhysRevLett.125.150504"),
    Citation(("plan cut",), "Mitarai and Fujii, Constructing a virtual two-qubit gate by sampling single-qubit "
             "operations, New J. Phys. 23, 023021 (2021)", "https://doi.org/10.1088/1367-2630/abd7bc"),
    Citation(("plan cut",), "Schmitt, Piveteau and Sutter, Cutting circuits with multiple two-qubit unitaries (2023)",
             "https://arxiv.org/abs/2312.11638"),
    Citation(("plan cut",), "Harada, Wada and Yamamoto, Doubly optimal parallel wire cutting without ancilla qubits "
             "(2023)", "https://arxiv.org/abs/2303.08287"),
    Citation(("check signature",), "NIST, FIPS 204: Module-Lattice-Based Digital Signature Standard (2024)",
             "https://doi.org/10.6028/NIST.FIPS.204"),
    Citation(("check receipt",), "Laurie, Messeri and Stradling, RFC 9162: Certificate Transparency Version 2.0 (2021)",
             "https://doi.org/10.17487/RFC9162"),
)  # fmt: skip


def citations(uses: Iterable[str]) -> tuple[Citation, ...]:
    """Of what was used, in the order of the table. uses: as `Citation.of`."""
    used = set(uses)
    return tuple(row for row in CITATIONS if used.intersection(row.of))
