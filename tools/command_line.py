"""How every program of this project ends: one clear line and an exit code, never a traceback."""

import argparse
import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tools import find
from training import config as configs
from training import files
from training.contracts import ConfigError, DiskError, HungError, ReportedError

DISK = {
    errno.ENOSPC,
    errno.EROFS,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
}
DISK_WORDS = (
    "no space left on device",
    "read-only file system",
    "disk quota exceeded",
    "file too large",
    "resource_exhausted: no space",
)


def seed(text: str) -> int:
    """An argument's type: what a random key is made of."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 0 to {2**31 - 1}")
    return number


class Parser(argparse.ArgumentParser):
    """argparse with this project's one-line errors and nearest names."""

    def __init__(self, *args: Any, **options: Any) -> None:
        # An abbreviation would be taken for what it begins like, in place of the nearest name.
        super().__init__(*args, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raises ConfigError: exit code 2."""
        raise ConfigError(f"{message} (see --help)")

    def parse(self, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """(arguments, overrides): overrides are "train.steps=100" of --config.train.steps=100."""
        overrides = [a.removeprefix("--config.") for a in argv if a.startswith("--config.")]
        rest = [a for a in argv if not a.startswith("--config.")]
        found, unknown = self.parse_known_args(rest)
        if unknown:
            flags = [o for action in self._actions for o in action.option_strings]
            near = configs.nearest(unknown[0].partition("=")[0], flags)
            raise ConfigError(f"unknown argument {unknown[0]}: {near}")
        if overrides and not hasattr(found, "config"):
            raise ConfigError(f"--config.{overrides[0]}: this program takes no --config")
        return found, overrides


def main(run: Callable[[Sequence[str]], int | None]) -> NoReturn:
    """Calls `run(argv)` and exits: its return value, or the code of what it raised."""
    sys.unraisablehook = quiet(sys.unraisablehook)
    # From here on an interruption is caught below, after what it passes on its way has cleaned up.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    at_once = False
    try:
        code = run(sys.argv[1:]) or 0
    except ReportedError as error:
        code = complain(error)
        # Other processes may never come to where JAX would wait for them on the way out.
        at_once = isinstance(error, HungError)
    except KeyboardInterrupt:
        print("error: interrupted; what was saved is kept", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # Whoever read our output has left; nothing more can be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        fault = disk_fault(error) or part_fault(error)
        if fault is None:
            raise
        code = complain(fault)
    sys.stdout.flush()
    sys.stderr.flush()
    if at_once or code == DiskError.code:
        # Writers that still hold unwritten bytes would fail again, each with its own traceback.
        os._exit(code)
    sys.exit(code)


def quiet(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`hook` without what TensorStore's threads say of a save that has failed, and was raised."""

    def quieter(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    return quieter


def complain(error: ReportedError) -> int:
    """Prints the line, returns the exit code."""
    text = " ".join(str(error).split())
    print(f"error: {text}", file=sys.stderr)
    return error.code


def part_fault(error: BaseException) -> ConfigError | None:
    """A ConfigError where a part refused a value of its config: a ValueError that its code raises.

    A ValueError from a library below a part, or of a line that does not say `raise`, is a bug.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if not isinstance(error, ValueError) or not frames:
        return None
    last = frames[-1]
    inside = any(Path(last.filename).is_relative_to(find.ROOT / f) for f in find.FOLDERS.values())
    raised = (last.line or "").startswith("raise ")
    return ConfigError(f"the config does not fit: {error}") if inside and raised else None


def disk_fault(error: BaseException) -> DiskError | None:
    """A DiskError where the error, or what caused it, is a full or unwritable disk."""
    seen: Any = error
    while seen is not None:
        text = str(seen).lower()
        if isinstance(seen, OSError) and seen.errno in DISK:
            name = f" {seen.filename}" if seen.filename else ""
            return DiskError(
                f"cannot write{name}: {seen.strerror}; make room or give another folder, then "
                "run the same command again (complete checkpoints are kept)"
            )
        if files.refused(seen):
            return files.unreachable("the bucket", seen)
        for words in DISK_WORDS:
            if words in text:
                return DiskError(f"cannot write: {words}; complete checkpoints are kept, make room")
        seen = seen.__cause__ or seen.__context__
    return None
