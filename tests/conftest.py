"""For all tests: nodes that are started listen to this machine alone, on any free port; Ctrl-C reaches children."""

from __future__ import annotations

import os
import signal

os.environ["QCOMMONS_MESH_LISTEN"] = "loopback"
os.environ["QCOMMONS_MESH_PORT"] = "0"
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job; children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
