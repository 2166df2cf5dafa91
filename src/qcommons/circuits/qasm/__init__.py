"""OpenQASM 2 and 3 in, OpenQASM 3 out.

Flow: text -> *qasm* -> Program. OpenQASM is read at the user's edge only, never from a peer. The
parser is linear in the text, has a limit of nesting, never touches the file system, and holds every
size against `Caps` before anything of that size is made.

    parsed = parse("OPENQASM 2.0; qreg q[1]; creg c[1]; h q[0]; measure q -> c;")
    text = dumps(parsed.program)  # OpenQASM 3; parse(text).program == parsed.program
"""

from qcommons.circuits.qasm.reader import Parsed, parse
from qcommons.circuits.qasm.writer import dumps

__all__ = ["Parsed", "dumps", "parse"]
