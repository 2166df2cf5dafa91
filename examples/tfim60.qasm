// A chain of 60 spins, quenched: H = -sum Z Z - sum X, 20 Trotter steps of 0.1 from all spins up.
// Free fermions solve it exactly, so its X and ZZ expectation values are known to all digits.
OPENQASM 3.0;
include "stdgates.inc";

gate zz(theta) a, b { cx a, b; rz(theta) b; cx a, b; }

qubit[60] q;

for int step in [1:20] {
  for int i in [0:58] { zz(-0.2) q[i], q[i + 1]; }
  for int i in [0:59] { rx(-0.2) q[i]; }
}
