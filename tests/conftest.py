"""For all tests: nodes that are started listen to this machine alone, on any free port; Ctrl-C and a hangup reach
children. Hypothesis does not measure how busy the machine is."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

os.environ["QCOMMONS_MESH_LISTEN"] = "loopback"
os.environ["QCOMMONS_MESH_PORT"] = "0"
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job; children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as under nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
# On a busy machine making examples takes as long as it takes: that says nothing of what is tested.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
