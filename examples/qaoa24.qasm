// One round of QAOA for MaxCut on the Nauru graph: 24 vertices, 36 edges, three at each vertex, no
// triangles. For such graphs the expected cut is known in closed form (arXiv:1706.02998).
// Bind gamma and beta: --bind gamma=0.6154797 --bind beta=pi/8
OPENQASM 3.0;
include "stdgates.inc";

gate zz(theta) a, b { cx a, b; rz(theta) b; cx a, b; }

input float gamma;
input float beta;
qubit[24] q;

for int i in [0:23] { h q[i]; }

// The generalised Petersen graph GP(12, 5): an outer ring, spokes, an inner star with steps of 5
for int i in [0:11] {
  zz(-gamma) q[i], q[(i + 1) % 12];
  zz(-gamma) q[i], q[12 + i];
  zz(-gamma) q[12 + i], q[12 + (i + 5) % 12];
}

for int i in [0:23] { rx(2 * beta) q[i]; }
