"""Bad input: a UsageError with file, line, column and limit, in a moment, with little memory.

Each row is (name, text, what the message must hold, where). Sources of the attacks: those that were
measured to crash or stall other readers (nested parentheses, gate doubling, huge registers, ...).
"""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from qcommons.base.errors import UsageError
from qcommons.circuits.program import Caps
from qcommons.circuits.qasm import gatebook, parse

H2 = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\ncreg c[3];\n'
H3 = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[3] q;\nbit[3] c;\n'
DOUBLING = H2 + "gate g0 a {x a; x a;}\n" + "".join(
    f"gate g{i} a {{g{i - 1} a; g{i - 1} a;}}\n" for i in range(1, 41)
)  # fmt: skip
DEEP = H2 + "gate g0 a {x a;}\n" + "".join(f"gate g{i} a {{g{i - 1} a;}}\n" for i in range(1, 2000))

ROWS: list[tuple[str, str, str, str]] = [
    ("nested parentheses 2", H2 + "rx(" + "(" * 100_000 + "1" + ")" * 100_000 + ") q[0];", "deep", "5:"),
    ("nested parentheses 3", H3 + "rx(" + "(" * 100_000 + "1" + ")" * 100_000 + ") q[0];", "deep", "5:"),
    ("nested signs", H3 + "rx(" + "-" * 100_000 + "1) q[0];", "deep", "5:"),
    ("nested powers", H3 + "rx(" + "2**" * 100_000 + "1) q[0];", "deep", "5:"),
    ("nested calls", H3 + "rx(" + "sin(" * 100_000 + "1" + ")" * 100_000 + ") q[0];", "deep", "5:"),
    ("nested blocks", H3 + "if (c[0]) {" * 10_000, "deep", "5:"),
    ("nested indices", H3 + "x q" + "[0" * 10_000 + "]" * 10_000 + ";", "", "5:"),
    ("huge register", "OPENQASM 3.0;\nqubit[5000000] q;", "100000", "2:1"),
    ("huge register 2", "OPENQASM 2.0;\nqreg q[5000000];", "100000", "2:1"),
    ("huge bits", "OPENQASM 3.0;\nbit[5000000] c;", "100000", "2:1"),
    ("empty register", "OPENQASM 3.0;\nqubit[0] q;", "1 to", "2:1"),
    ("gate doubling", DOUBLING + "g40 q[0];", "operations", "46:1"),
    ("deep definitions", DEEP + "g1999 q[0];", "definitions deep", "65:"),
    ("recursion", H2 + "gate f a {f a;}\nf q[0];", "not defined before", "5:11"),
    ("mutual recursion", H2 + "gate f a {g a;}\ngate g a {f a;}\nf q[0];", "not defined before", "5:11"),
    ("endless loop", H3 + "while (true) { x q[0]; }", "'while'", "5:1"),
    ("unknown gate", H2 + "wibble q[0];", "'wibble'", "5:1"),
    ("unknown register", H2 + "x r[0];", "'r' is not declared", "5:3"),
    ("not a number", H2 + "rx(0/0) q[0];", "divides by zero", "5:5"),
    ("not a number 3", H3 + "rx(0.0/0.0) q[0];", "divides by zero", "5:7"),
    ("infinite literal", H2 + "rx(1e999) q[0];", "finite", "5:4"),
    ("negative infinity", H2 + "rx(-inf) q[0];", "not declared", "5:5"),
    ("nan by name", H3 + "rx(nan) q[0];", "not declared", "5:4"),
    ("infinite product", H3 + "rx(1e308*10) q[0];", "finite", "5:9"),
    ("root of minus one", H2 + "rx(sqrt(-1)) q[0];", "real number", "5:4"),
    ("logarithm of zero", H2 + "rx(ln(0)) q[0];", "real number", "5:4"),
    ("huge exponential", H3 + "rx(exp(10000)) q[0];", "real number", "5:4"),
    ("tower of powers", H3 + "const int n = 9**9**9**9;", "real number", "5:"),
    ("loop over the cap", H3 + "for int i in [0:1999999999] { x q[0]; }", "operations", "5:1"),
    ("nested loops", H3 + "for int i in [0:9999] { for int j in [0:9999] { x q[0]; } }", "operations", "5:1"),
    ("idle loop", H3 + "for int i in [0:1999999999] { const int k = i; }", "idle", "5:"),
    ("idle empty gates", H3 + "gate e a {}\nfor int i in [0:1999999999] { e q[0]; }", "", "6:"),
    ("broadcast over the cap", "OPENQASM 3.0;\nqubit[100000] q;\n" + "h q;\n" * 21, "operations", "23:1"),
    ("wide barriers in a loop",
     "OPENQASM 3.0;\nqubit[100000] q;\nfor int i in [0:99998] { barrier q[i:99999]; }", "expansion", "3:"),
    ("wide slices in a loop",
     "OPENQASM 3.0;\nqubit[100000] q;\nfor int i in [0:99998] { let a = q[i:99999]; }", "expansion", "3:"),
    ("foreign include", 'OPENQASM 2.0;\n  include "/etc/passwd";', "'\"/etc/passwd\"'", "2:3"),
    ("foreign include 3", 'OPENQASM 3.0;\ninclude "other.inc";', "stdgates.inc", "2:1"),
    ("long number", H3 + "rx(" + "1" * 1_000_000 + ") q[0];", "1000000 characters", "5:4"),
    ("long index", H3 + "x q[" + "1" * 900 + "];", "64", "5:5"),
    ("huge power", H3 + "pow(1000000000) @ x q[0];", "operations", "5:"),
    ("huge power in a gate", H3 + "gate g a {pow(1000000000) @ x a;}\ngate k a {pow(1000000000) @ g a;}\nk q[0];",
     "operations", "7:1"),
    ("many controls", H3 + "ctrl(1000000000) @ x q[0], q[1];", "operand", "5:1"),
    ("real power without a form",
     H3 + "pow(0.5) @ ccx q[0], q[1], q[2];\npow(0.3) @ ecr q[0], q[1];", "closed form", "6:"),
    ("same qubit twice", H2 + "cx q[0],q[0];", "distinct", "5:1"),
    ("index out of range", H2 + "x q[3];", "allowed 0 to 2", "5:3"),
    ("negative index 2", H2 + "x q[-1];", "allowed 0 to 2", "5:3"),
    ("negative index 3", H3 + "x q[-4];", "allowed -3 to 2", "5:3"),
    ("unequal registers", "OPENQASM 3.0;\nqubit[3] q; qubit[2] r;\ncx q, r;", "sizes [2, 3]", "3:1"),
    ("too few parameters", H2 + "rx q[0];", "1 parameter", "5:1"),
    ("too many qubits", H2 + "x q[0],q[1];", "1 qubit", "5:1"),
    ("declared twice", H2 + "qreg q[2];", "twice", "5:1"),
    ("gate defined twice", H2 + "gate g a {}\ngate g a {}", "twice", "6:1"),
    ("opaque gate used", H2 + "opaque g a;\ng q[0];", "opaque", "5:1"),
    ("open comment", H2 + "/* never ends", "never closed", "5:1"),
    ("open string", 'OPENQASM 2.0;\ninclude "qelib1.inc\n;', "not closed", "2:9"),
    ("odd character", H2 + "x q[0]; €", "no meaning", "5:9"),
    ("gate that is nearly one", H3 + "hh q[0];", "did you mean h?", "5:1"),
    ("gate near one of the file", H3 + "gate entangle a, b { cx a, b; }\nentagle q[0], q[1];", "mean entangle?", "6:1"),
    ("gate like no other", H3 + "wobble q[0];", "docs/gates.md lists those); define it first", "5:1"),
    ("no OpenQASM at all", "hello world", "It begins with: OPENQASM 3.0;", "1:12"),
    ("end of file in a gate", H2 + "gate g a { x a;", "end of file", "5:16"),
    ("missing semicolon", H2 + "x q[0]", "end of file", "5:7"),
    ("version 4", "OPENQASM 4.0;", "2.x and 3.x", "1:10"),
    ("subroutine", H3 + "def f() {}", "'def'", "5:1"),
    ("external", H3 + "extern f(int) -> int;", "'extern'", "5:1"),
    ("calibration", H3 + "defcal x $0 {}", "'defcal'", "5:1"),
    ("switch", H3 + "switch (c) {}", "'switch'", "5:1"),
    ("duration", H3 + "duration d = 100ns;", "duration", "5:1"),
    ("complex", H3 + "complex[float] z = 1im;", "complex", "5:1"),
    ("imaginary literal", H3 + "rx(2im) q[0];", "complex", "5:4"),
    ("assignment", H3 + "int i = 1;\ni = 2;", "assignment at run time", "6:1"),
    ("compound assignment", H3 + "int i = 1;\ni += 2;", "assignment at run time", "6:1"),
    ("bit assignment", H3 + "c[0] = 1;", "assignment at run time", "5:1"),
    ("bit arithmetic", H3 + "if (c + 1 == 2) x q[0];", "arithmetic", "5:7"),
    ("bit as an angle", H3 + "rx(c[0]) q[0];", "known at run time", "5:4"),
    ("not affine", H3 + "input float a;\nrx(sin(a)) q[0];", "pass values", "6:4"),
    ("product of inputs", H3 + "input float a;\ninput float b;\nrx(a*b) q[0];", "affine", "7:5"),
    ("integer input", H3 + "input int n;\nx q[n];", "pass a value", "5:1"),
    ("nested if", H3 + "if (c[0]) { if (c[1]) { x q[0]; } }", "one level", "5:13"),
    ("negative comparison", H3 + "if (c == -1) x q[0];", "allowed 0 to", "5:7"),
    ("mixed qubits", H3 + "x $0;", "cannot be mixed", "5:3"),
    ("far physical qubit", "OPENQASM 3.0;\nx $99999999999999;", "allowed $0", "2:3"),
    ("half an index", H3 + "x q[0.5];", "integer", "5:5"),
    ("zero step", H3 + "for int i in [0:0:4] { x q[0]; }", "step", "5:"),
    ("declaration in a block", H3 + "for int i in [0:1] { qubit r; }", "outside blocks", "5:"),
    ("break", H3 + "for int i in [0:1] { break; }", "'break'", "5:22"),
    ("stray brace", H3 + "}", "expected a statement", "5:1"),
    ("measurement thrown away", H3 + "measure q;", "thrown away", "5:1"),
    ("unequal measurement", H3 + "c[0] = measure q;", "3 qubit(s)", "5:1"),
    ("power of a huge angle", H3 + "pow(1000000000) @ p(1e305) q[0];", "finite", "5:1"),
    ("huge real power", H3 + "pow(1e308) @ rz(6.0) q[0];", "finite", "5:1"),
    ("phases without a sum", H3 + "U(1.5e308, 0, 0) q[0];" * 4, "finite", "5:"),
    ("long sum", H3 + "rx(" + "1+" * 1_000_000 + "1) q[0];", "200000 names and numbers", "5:400004"),
    ("long set", H3 + "for int i in {" + "1," * 1_000_000 + "1} { x q[0]; }", "200000 names", "5:"),
    ("long call", H3 + "rx(0.1) " + "q" * 1_000_000 + ";", "1000000 characters", "5:9"),
    ("long name of a register", H3 + "bit " + "b" * 101 + ";", "100 characters", "5:1"),
    ("long name of an input", H3 + "input array[float[64], 11] " + "b" * 97 + ";", "100 characters", "5:1"),
    ("range beyond any length", H3 + "for int i in [0:9223372036854775807] { x q[0]; }",
     "4611686018427387904 numbers", "5:15"),
    ("range beyond 64 bits", H3 + "for int i in [-9223372036854775807:9223372036854775807] { x q[0]; }",
     "a range of", "5:"),
    ("range to a huge float", H3 + "for int i in [0:1e300] { x q[0]; }", "997 bits; allowed 1 to 64", "5:17"),
    ("long range within a loop", H3 + "for int i in [0:9] { for int j in [i:9223372036854775807] { x q[0]; } }",
     "a range of", "5:"),
    ("long range in a gate", H3 + "gate g a { for int i in [0:9223372036854775807] { x a; } }", "a range of", "5:"),
    ("long empty range in a gate", H3 + "gate g a { for int i in [0:4000000000000] { } }", "expansion", "5:12"),
    ("slice of huge ends", H3 + "x q[0:18446744073709551615];", "a range of", "5:"),
    ("tower of repetitions", H3 + "pow(2305843009213693952) @ " * 300 + "x q[0];", "operations", "5:"),
    ("repetitions that are dropped", H3 + "for int i in [0:99999] { pow(0) @ pow(2000000) @ x q[0]; }",
     "expansion", "5:"),
    ("huge shift", H3 + "const int n = 1 << 18446744073709551615;", "finite", "5:"),
    ("huge register by shift", H3 + "qubit[1 << 62] r;", "100000", "5:1"),
    ("huge literal", H3 + "const int n = 0x" + "f" * 900 + ";", "3600 bits", "5:15"),
    ("huge real as an integer", H3 + "const int n = 1e308;", "bits; allowed 1 to 64", "5:15"),
    ("many controls by a float", H3 + "ctrl(1e300) @ x q[0], q[1];", "bits; allowed", "5:6"),
    ("deep tree without parentheses",
     H3 + "rx(" + "(" * 60 + "1" + "*2-1<<1<3==1&1^1|0&&1||1)" * 60 + ") q[0];", "150 deep", "5:"),
    ("empty slice compared", H3 + "if (c[1:0] == 0) x q[0];", "selects nothing", "5:5"),
    ("empty slice as a condition", H3 + "if (c[1:0]) x q[0];", "selects nothing", "5:5"),
    ("empty slice negated", H3 + "if (!c[1:0]) x q[0];", "selects nothing", "5:6"),
    ("empty set as an index", H3 + "if (c[{}] == 0) x q[0];", "selects nothing", "5:5"),
    ("empty slice of qubits", H3 + "x q[2:1];", "selects nothing", "5:3"),
    ("pi declared", H3 + "const float pi = 1.0;\nrx(pi) q[0];", "'pi' is a built-in constant", "5:7"),
    ("pi as an input", H3 + "input float pi;\nrx(2*pi) q[0];", "'pi' is a built-in constant", "5:1"),
    ("tau as a register", "OPENQASM 3.0;\nqubit[2] tau;", "'tau' is a built-in constant", "2:1"),
    ("euler as an alias", H3 + "let euler = q[0:1];", "'euler' is a built-in constant", "5:1"),
    ("a Greek pi", H3 + "const float \u03c0 = 1.0;", "is a built-in constant", "5:7"),
    ("pi as a gate", H3 + "gate pi a { x a; }", "'pi' is a built-in constant", "5:1"),
    ("pi as a register of version 2", "OPENQASM 2.0;\nqreg pi[1];", "'pi' is a built-in constant", "2:1"),
    ("pi as a parameter of version 2", H2 + "gate g(pi) a { rx(pi) a; }", "'pi' is a built-in constant", "5:1"),
    ("parameter as a bound", H3 + "const int n = 2;\ngate g(n) a { for int i in [0:n] { x a; } }",
     "a parameter of gate g", "6:"),
    ("parameter as an exponent", H3 + "const int n = 2;\ngate g(n) a { pow(n) @ x a; }",
     "a parameter of gate g", "6:19"),
    ("qubit as an angle", H3 + "const float a = 1;\ngate g a { rx(a) a; }\ng q[0];", "a qubit of gate g", "6:15"),
    ("garbage", "\x00\x01\x02", "no meaning", "1:1"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "holds", "place"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_bad_input_names_its_place_quickly(text: str, holds: str, place: str) -> None:
    """Two seconds of CPU is the promise; most answer in milliseconds."""
    start = time.process_time()
    with pytest.raises(UsageError) as caught:
        parse(text, filename="bad.qasm")
    assert time.process_time() - start < 2.0
    assert holds in str(caught.value), str(caught.value)
    assert (caught.value.where or "").startswith(f"bad.qasm:{place}"), str(caught.value)
    assert len(str(caught.value)) < 600


def test_an_unknown_gate_beside_thousands_of_long_ones_is_told_quickly() -> None:
    """What is compared is bounded: else 20000 names of 900 letters would take minutes."""
    names = [f"{'ab' * 450}{i}" for i in range(20_000)]
    text = H3 + "".join(f"gate {name} a {{}}\n" for name in names) + "ba" * 450 + " q[0];"
    start = time.process_time()
    with pytest.raises(UsageError, match="not defined before"):
        parse(text)
    assert time.process_time() - start < 10.0


def test_invalid_utf8_names_offset_line_and_column() -> None:
    with pytest.raises(UsageError, match="offset 17 is not UTF-8") as caught:
        parse(b"OPENQASM 2.0;\nx q\xff;", filename="f")
    assert caught.value.where == "f:2:4"


def test_gate_definitions_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gatebook, "DEFINITIONS_MAX", 10)
    text = H3 + "".join(f"gate g{i} a {{x a;}}\n" for i in range(11))
    parse(text.replace("gate g10 a {x a;}", ""))
    with pytest.raises(UsageError, match="10 gate definitions") as caught:
        parse(text, filename="f")
    assert (caught.value.where, caught.value.limit) == ("f:15:1", "10 definitions")


def test_a_byte_order_mark_is_skipped() -> None:
    """Some editors begin UTF-8 files with U+FEFF (RFC 3629, section 6)."""
    text = H2 + "x q[0];"
    plain = parse(text).program
    assert parse("\ufeff" + text).program == parse(("\ufeff" + text).encode()).program == plain
    with pytest.raises(UsageError, match="no meaning") as caught:
        parse("\ufeff\ufeff" + text, filename="f")
    assert caught.value.where == "f:1:1"


GARBAGE = """
import re, time
from pathlib import Path
from qcommons.base.errors import UsageError
from qcommons.circuits.qasm import parse
MIB = 1 << 20
def peak():  # MiB; VmHWM starts anew with exec, unlike ru_maxrss
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
TEXTS = {
    "zeros": lambda: bytes(64 * MIB),
    "letters": lambda: b"a" * (64 * MIB),
    "open": lambda: b"(" * (64 * MIB),
    "emoji": lambda: "\\N{GRINNING FACE}".encode() * (16 * MIB),
    "comments": lambda: b"/* /" * (16 * MIB),
    "high": lambda: bytes(range(128, 256)) * (MIB // 2),
    "brackets": lambda: b"q[" * (32 * MIB),
    "digits": lambda: b"OPENQASM 3.0;qubit[" + b"9" * (60 * MIB),
    "wide": lambda: b"OPENQASM 3.0;qubit[100000] q;for int i in [0:99998] { barrier q[i:99999]; }",
    "broadcast": lambda: b"OPENQASM 3.0;qubit[100000] q;" + b"h q;" * 21,
    "large": lambda: bytes(65 * MIB),
}
for name, make in TEXTS.items():
    text = None
    text = make()
    start = time.process_time()
    try:
        parse(text)
    except UsageError as error:
        assert len(str(error)) < 400, name
    else:
        raise SystemExit(name + " was accepted")
    print(name, time.process_time() - start, peak())
"""


def test_64_mib_of_garbage_is_refused_in_time_and_memory() -> None:
    """A process of its own: the interpreter, numpy, the text as bytes and as str, all below 200 MB.

    The peak is read from /proc, so on Linux only, where the promise is made.
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("no /proc here")
    done = subprocess.run([sys.executable, "-c", GARBAGE], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in done.stdout.splitlines():
        _, seconds, mib = line.split()
        assert float(seconds) < 2.0, line
        assert int(mib) < 200, line


def test_the_phase_at_the_end_counts_as_an_operation() -> None:
    """One U and its global phase are two operations; a cap of one refuses them."""
    text = "OPENQASM 3.0; qubit q; U(1, 0, 0) q;"
    assert len(parse(text, caps=Caps(operations_max=2)).program.ops) == 2
    with pytest.raises(UsageError, match="allowed 0 to 1"):
        parse(text, caps=Caps(operations_max=1))


def test_loops_that_pass_the_cap_together_are_refused_before_the_first_is_unrolled() -> None:
    head = 'OPENQASM 3.0; include "stdgates.inc"; qubit q;\n'
    loop = "for int i in [1:1500000] { rx(i) q; }\n"
    started = time.process_time()
    with pytest.raises(UsageError, match="3000000 operations") as caught:
        parse(head + loop + "gate mine a { }\nconst int n = 7;\n" + loop, filename="two.qasm")
    assert time.process_time() - started < 2  # unrolling one of them takes ten times that
    assert caught.value.where == "two.qasm:5:1"


def test_counting_ahead_changes_nothing_for_loops_that_fit() -> None:
    text = (
        'OPENQASM 3.0; include "stdgates.inc"; qubit q;\nfor int i in [1:60000] { rx(1) q; }\n'
        "gate mine a { }\nconst int n = 3;\nfor int i in [1:n] { mine q; rx(1) q; }\n"
    )
    assert len(parse(text).program.ops) == 60_003
