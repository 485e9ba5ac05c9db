"""Files of images: which there are, which of them decode, and their bytes.

Decoding all of a folder takes about a second for a few hundred photographs, so that the answer is
remembered in the data dir by path, size and time of change.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data.runtime import data_dir, tensorflow, worker_threads
from training.contracts import DataError

_log = logging.getLogger("reprise.data")
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
_SAID_AFTER = 2000


def images_below(folder: Path) -> list[Path]:
    """The image files of a folder and of the folders in it, in alphabetical order."""
    found = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        found += [
            Path(parent, name)
            for name in files
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    return sorted(found)


def read(path: Path) -> bytes:
    """The file's bytes; raises DataError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"folder: {path} cannot be read: {error.strerror}") from error


def fault(path: Path) -> str | None:
    """Why the image does not decode, None where it does."""
    tf = tensorflow()
    try:
        # The decoder of the pipeline itself: another one would disagree on some images.
        tf.io.decode_image(read(path), 3, expand_animations=False)
    except (tf.errors.OpError, ValueError) as error:
        return _reason(str(error))
    return None


def _reason(message: str) -> str:
    """TensorFlow's message without the names of its operations."""
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*?\].*", "", message)
    return " ".join(text.split()).rstrip(".") or "not an image"


def bad_images(paths: Sequence[Path], root: Path) -> dict[Path, str]:
    """{path: reason} of those that do not decode, remembered by `root`, a folder above all."""
    remembered_at = _memory_of(root)
    remembered = _remembered(remembered_at)
    states = {path: _state(path) for path in paths}
    new = [path for path in paths if (remembered.get(str(path)) or [None])[0] != states[path]]
    if new:
        if len(new) >= _SAID_AFTER:
            _log.info("folder: decoding %d images once, to find bad ones", len(new))
        with ThreadPoolExecutor(max(2, worker_threads())) as pool:
            for path, reason in zip(new, pool.map(fault, new), strict=True):
                remembered[str(path)] = [states[path], reason]
        _remember(remembered_at, remembered)
    reasons = {path: remembered[str(path)][1] for path in paths}
    return {path: reason for path, reason in reasons.items() if reason is not None}


def _state(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"folder: {path} cannot be read: {error.strerror}") from error
    return f"{status.st_size} {status.st_mtime_ns}"


def _memory_of(root: Path) -> Path:
    name = hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:16]
    return data_dir() / "folder" / f"{name}.json"


def _remembered(path: Path) -> dict[str, list[str | None]]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember(path: Path, found: Mapping[str, list[str | None]]) -> None:
    """Written whole or not at all; a disk that is full costs only the decoding of the next time."""
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(found))
        part.replace(path)
    except OSError as error:
        _log.warning("folder: %s cannot be written: %s", path, error.strerror)
