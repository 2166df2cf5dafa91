// Clifford + 8 T on 60 qubits, as an echo: scramble by Clifford gates U, disturb eight qubits by T,
// undo U. The chance to find all 60 qubits in 0 again is |<psi| T^8 |psi>|^2 with psi = U |0...0>.
// The eight disturbed qubits of psi are maximally mixed, so it is |(1 + exp(i pi/4)) / 2|^16
// = cos(pi/8)^16 = 0.28174.
OPENQASM 3.0;
include "stdgates.inc";

qubit[60] q;
bit[60] c;

// U: six layers of h, s and two rows of cz
for int layer in [1:6] {
  for int i in [0:59] { h q[i]; s q[i]; }
  for int i in [0:2:58] { cz q[i], q[i + 1]; }
  for int i in [1:2:57] { cz q[i], q[i + 1]; }
}

for int k in [0:7] { t q[7 * k + 3]; }

// U backwards
for int layer in [1:6] {
  for int i in [1:2:57] { cz q[i], q[i + 1]; }
  for int i in [0:2:58] { cz q[i], q[i + 1]; }
  for int i in [0:59] { sdg q[i]; h q[i]; }
}
c = measure q;
