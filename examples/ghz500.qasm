// 500 qubits in one superposition of all 0 and all 1. Clifford: stabilisers need no amplitudes.
OPENQASM 3.0;
include "stdgates.inc";

qubit[500] q;
bit[500] c;

h q[0];
for int i in [0:498] {
  cx q[i], q[i + 1];
}
c = measure q;
