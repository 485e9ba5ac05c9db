"""TensorFlow, imported late and kept to the CPU; and the folders of prepared data.

Nothing else in the project imports TensorFlow. Its import takes seconds, so that `preload` lets a
program start it in a thread while JAX traces.
"""

import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etils import epath

from training.contracts import DataError

_lock = threading.Lock()


def tensorflow() -> Any:
    """The TensorFlow module, which sees no accelerator; raises DataError where not installed."""
    with _lock:
        # The notes of TensorFlow's start are for its own developers; its errors still show.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        # No level silences the note that oneDNN is on, and pipelines have little use for it.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        try:
            with _without("keras"):
                import tensorflow as tf
        except ModuleNotFoundError as error:
            raise DataError(
                f"real data needs TensorFlow, and {error.name} is not installed: run `make train` "
                "(--smoke and tools.benchmark do without)"
            ) from error
        for kind in ("GPU", "TPU"):
            if tf.config.get_visible_devices(kind):
                tf.config.set_visible_devices([], kind)
        return tf


@contextmanager
def _without(name: str) -> Generator[None]:
    """As if a package were not installed, where it was not imported before.

    TensorFlow tries Keras at its start and does without where there is none; nothing here uses it,
    and it is half of the import.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # ty: ignore[invalid-assignment]
    try:
        yield
    finally:
        del sys.modules[name]


def preload() -> threading.Thread:
    """Begins to import TensorFlow in a thread; whoever needs it first waits for the rest."""

    def run() -> None:
        try:
            tensorflow()
        except DataError:
            return  # The pipeline that needs it raises where the user sees it.

    thread = threading.Thread(target=run, name="import-tensorflow", daemon=True)
    thread.start()
    return thread


def data_dir() -> Path:
    """Where prepared data is kept on this disk: $REPRISE_DATA_DIR, or ~/.cache/reprise/data.

    The latter, too, where the variable names a bucket.
    """
    told = os.environ.get("REPRISE_DATA_DIR")
    return Path("~/.cache/reprise/data" if not told or "://" in told else told).expanduser()


def data_bucket() -> epath.Path | None:
    """The bucket's folder that $REPRISE_DATA_DIR names: a copy of a data folder, only read."""
    told = os.environ.get("REPRISE_DATA_DIR", "")
    return epath.Path(told) if "://" in told else None


def worker_threads() -> int:
    """Threads of one pipeline: a small machine keeps its cores for the training step."""
    cores = len(os.sched_getaffinity(0))
    return 1 if cores <= 2 else 2 if cores <= 4 else min(cores // 2, 32)
