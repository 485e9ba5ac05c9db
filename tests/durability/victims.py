"""Runs that are killed: each in a process of its own, forked from one that has imported everything.

A process that starts from nothing spends most of its life importing; here most of it is training,
and kills hit that. tools.torture kills the real train.py.
"""

import logging
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from tests.training import runs
from tools import command_line
from training import manifest
from training.config import Train

STEPS = Train(steps=60, log_every=4, save_every=6, seed=5)


def slowly(number: int) -> None:
    """Batches come at the pace of a small model's steps, so that training takes a while."""
    time.sleep(0.005)


def die() -> None:
    """As a power cut: nothing is flushed, no handler runs."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_when(condition: Callable[[], bool], delay: float = 0.0) -> None:
    """Kills this process from a thread, once `condition` holds."""

    def watch() -> None:
        while not condition():
            time.sleep(0.0002)
        time.sleep(delay)
        die()

    threading.Thread(target=watch, daemon=True).start()


def in_a_save(folder: Path, step: int) -> Callable[[], bool]:
    """Whether the save of a step is half written."""
    return lambda: any((folder / "checkpoints").glob(f"{step}.orbax-checkpoint-tmp*/**/*"))


def full_disk() -> None:
    """From now on no file of this process may exceed 4 kB: checkpoints do, records do not."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))


def disturbance(moment: str) -> Callable[[int], None]:
    """What happens while a batch is read."""
    if moment == "SIGTERM":
        return runs.terminate_at(17)
    if moment == "disk full":
        return lambda number: full_disk() if number == 14 else slowly(number)
    if moment == "hanging":
        return lambda number: time.sleep(300) if number == 20 else slowly(number)
    return slowly


def train(
    folder: Path, kind: str, moment: str = "", fields: Any = STEPS, ensemble: int = 1
) -> None:
    """`fit` on a toy; `moment` says what befalls it; it ends as train.py does."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    sys.stderr = (folder.parent / f"{folder.name}.log").open("a")
    if moment.startswith("compil"):
        jax.config.update("jax_compilation_cache_dir", str(folder.parent / "cache"))
    if moment == "compiling":
        kill_when((folder / "environment.json").exists, 0.1)
    elif moment == "saving":
        kill_when(in_a_save(folder, 12))
    elif moment == "signing":
        sign = manifest.sign
        manifest.sign = lambda folder, step, kept: die() if step == 12 else sign(folder, step, kept)

    def run(argv: list[str]) -> None:
        runs.run(folder, kind, fields, 8, ensemble, disturbance(moment))

    command_line.main(run)


CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.durability.victims"])


def start(*args: Any, **options: Any) -> Any:
    """A process that runs `train` with these arguments."""
    process = CONTEXT.Process(target=train, args=args, kwargs=options)
    process.start()
    return process


def ended(*args: Any, timeout: float = 100, **options: Any) -> int:
    """Its exit code; that of a killed one is -9."""
    process = start(*args, **options)
    process.join(timeout)
    assert process.exitcode is not None, f"still alive after {timeout} s"
    return process.exitcode
