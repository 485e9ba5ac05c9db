"""SIGINT and SIGTERM while a program still imports, for seconds: a line and the exit code.

Imports nothing but the standard library, to be there before all else.
"""

import os
import signal
from types import FrameType

# As of training/contracts.py, which would import JAX.
CODES = {signal.SIGINT: 130, signal.SIGTERM: 75}


def handle() -> None:
    """From here on either signal ends the process; a run's own handlers take their place."""
    for number in CODES:
        signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    # Not print: the signal may have come in the middle of one.
    os.write(2, b"error: stopped; what was saved is kept\n")
    os._exit(CODES[signal.Signals(number)])
