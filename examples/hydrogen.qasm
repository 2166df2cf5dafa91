// The hydrogen molecule at 0.735 angstrom in two qubits (STO-3G, parity mapping): the angle theta
// mixes the ground configuration 01 with the doubly excited 10. Sweep it: --sweep hydrogen.csv
OPENQASM 3.0;
include "stdgates.inc";

input float theta;
qubit[2] q;

x q[0];
ry(theta) q[1];
cx q[1], q[0];
