"""Importing this module ends the process as soon as its parent has gone.

The server that trials are forked from imports it first, as it would otherwise go on importing PyTorch for seconds.
Processes that are forked do not inherit it; they have a lifeline (see ``local.py``).
"""

import ctypes
import signal

PR_SET_PDEATHSIG = 1  # of linux/prctl.h

ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
