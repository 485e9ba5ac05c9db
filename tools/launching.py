"""What train.py settles before a run: its folder, the compilation cache, TensorFlow's start."""

import ctypes
import itertools
import os
import shutil
from collections.abc import Mapping
from typing import Any

import jax
from etils import epath

from tools import parts
from training import config as configs
from training import files, folder
from training.contracts import DataError


def workdir(values: Mapping[str, Any], given: str | None, fresh: bool) -> str:
    """The run's folder: as given, or runs/<field>/<config>-<hash>; `fresh` numbers a sibling."""
    chosen = given or f"runs/{values['name']}-{configs.fingerprint(values)}"
    if values["smoke"] and given is None:
        # A smoke run proves the whole path every time; it has nothing worth resuming.
        chosen = f"runs/smoke/{values['name']}"
        _clear(epath.Path(chosen))
    files.check(epath.Path(chosen))
    if fresh and epath.Path(chosen).exists():
        return next(
            f"{chosen}-{n}" for n in itertools.count(2) if not epath.Path(f"{chosen}-{n}").exists()
        )
    return chosen


def _clear(path: epath.Path) -> None:
    """Removes a folder; raises ConfigError where a live run is in it."""
    if path.exists() and jax.process_index() == 0:
        folder.Lock(path).release()
        shutil.rmtree(path, ignore_errors=True)


# Of glibc's <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8


def keep_memory() -> None:
    """Lets glibc keep freed buffers of up to 1 GiB for the next call, where it is the allocator.

    XLA:CPU frees a call's temporary buffers when it ends. By default glibc gives the large ones
    back to the kernel, and every step faults them in again: a third of a small CNN's time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        # Arenas of other threads cannot hold more than 64 MiB, and XLA computes in other threads.
        mallopt(M_ARENA_MAX, 1)


def prepare(values: Mapping[str, Any]) -> None:
    """Settings of the process: memory, the persistent compilation cache, TensorFlow's start."""
    keep_memory()
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR") or values["train"]["compilation_cache"]
    if cache:
        jax.config.update("jax_compilation_cache_dir", str(epath.Path(cache).expanduser()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    if not values["smoke"]:
        from data import runtime

        runtime.preload()


def check_restore(workdir: str) -> None:
    """The last part of a smoke run: its checkpoint comes back as finite arrays."""
    import jax.numpy as jnp

    restored = parts.restore(workdir, "last")
    for path, leaf in jax.tree_util.tree_leaves_with_path(restored.state.params):
        if not bool(jnp.all(jnp.isfinite(leaf))):
            raise DataError(f"{jax.tree_util.keystr(path)} is not finite after a restore")
