"""Programs that end with the program that began them, however that one dies."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from etils import epath

from training import folder
from training.contracts import ConfigError

# Starts the program that follows, and has the kernel of Linux end it (SIGTERM: it saves) when this
# process dies. 1 is PR_SET_PDEATHSIG of <linux/prctl.h>; exec keeps it.
_SCRIPT = (
    "import ctypes, os, signal, sys; "
    "getattr(ctypes.CDLL(None), 'prctl', lambda *_: 0)(1, signal.SIGTERM); "
    "os.getppid() == int(sys.argv[1]) or os._exit(75); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)


def command(arguments: Sequence[str]) -> list[str]:
    """What starts this Python with `arguments` as a child of this process."""
    return [sys.executable, "-c", _SCRIPT, str(os.getpid()), *arguments]


def busy(workdir: Path) -> bool:
    """Whether a live run is in a folder: one that outlived its program, and saves, or another's."""
    if not (workdir / ".lock").exists():
        return False
    try:
        folder.Lock(epath.Path(workdir)).release()
    except ConfigError:
        return True
    return False
