// Five qubits in a GHZ state, without measurement. With depolarizing noise p on every gate,
// <XXXXX> = (1 - p)^5 and <Z4 Z3> = 1 - p: each channel that meets the observable costs one factor.
OPENQASM 3.0;
include "stdgates.inc";

qubit[5] q;

h q[0];
for int i in [0:3] {
  cx q[i], q[i + 1];
}
