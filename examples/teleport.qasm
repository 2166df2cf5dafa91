// Teleportation: measure two qubits, repair the third by what was found. c_out is 1 with
// probability sin(0.6)^2 = 0.31882, whatever the other two bits are.
OPENQASM 3.0;
include "stdgates.inc";

qubit[3] q;
bit c_phase;
bit c_flip;
bit c_out;

ry(1.2) q[0];
rz(0.7) q[0];

h q[1];
cx q[1], q[2];

cx q[0], q[1];
h q[0];
c_phase = measure q[0];
c_flip = measure q[1];

if (c_flip == 1) { x q[2]; }
if (c_phase == 1) { z q[2]; }
c_out = measure q[2];
