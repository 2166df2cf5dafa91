// 200 qubits, 60 layers of rotations and far couplings: entanglement grows past every method known
// here. The right answer is a refusal with numbers.
OPENQASM 3.0;
include "stdgates.inc";

qubit[200] q;
bit[200] c;

for int layer in [1:60] {
  for int i in [0:199] { ry(0.36 * layer + 1.13 * i) q[i]; rz(0.71 * layer + 0.53 * i) q[i]; }
  for int i in [0:199] { cx q[i], q[(i + 6 * layer + 1) % 200]; }
}
c = measure q;
