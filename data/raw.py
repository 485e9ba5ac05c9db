"""Raw files as their publishers made them: found, or downloaded, and checked either way.

A file is looked for in `$REPRISE_RAW_DIR/<dataset>/`, then in `<data dir>/raw/<dataset>/`, where a
download from the original address also puts it. Its sha256 must be the one that the source states;
where a source cannot state one, it says so, and checks what the file holds.
"""

import errno
import hashlib
import http.client
import logging
import os
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.runtime import data_dir
from training.contracts import DataError, DiskError

_log = logging.getLogger("reprise.data")
_CHUNK = 2**20
_TIMEOUT_SECONDS = 20
_FULL_OR_READ_ONLY = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class RawFile:
    """A published file.

    Attributes:
      name: of the file, without a folder.
      size: in bytes; 0 where unknown.
      sha256: of its bytes, in hexadecimal; "" where unknown, which is said and not checked.
      address: where it is downloaded from.
      register: True where the publisher gives it to registered users only, so that it is never
        downloaded from here.
    """

    name: str
    size: int
    sha256: str
    address: str
    register: bool = False


def folders(dataset: str) -> tuple[Path, ...]:
    """Where the raw files of a data set may lie, in the order in which they are looked for."""
    cache = data_dir() / "raw" / dataset
    raw = os.environ.get("REPRISE_RAW_DIR")
    return (Path(raw).expanduser() / dataset, cache) if raw else (cache,)


def locate(dataset: str, file: RawFile) -> Path | None:
    """The file where it lies, unchecked; None where it lies nowhere."""
    places = (folder / file.name for folder in folders(dataset))
    return next((place for place in places if place.is_file()), None)


def check(dataset: str, file: RawFile, path: Path) -> None:
    """Raises DataError unless the file at `path` has the stated size and sum."""
    if not file.sha256:
        _log.warning("%s: no sha256 of %s is known here: its bytes are not checked", dataset, path)
        return
    try:
        size = path.stat().st_size
        found = f"{size} bytes" if size != file.size else sha256_of(path)
    except OSError as error:
        raise DataError(f"{dataset}: {path} cannot be read: {error.strerror}") from error
    if size < file.size:
        raise DataError(
            f"{dataset}: {path} is truncated: {size} of {file.size} bytes; remove it, "
            f"and put the whole file of sha256 {file.sha256} there or let it be downloaded"
        )
    if found != file.sha256:
        raise DataError(
            f"{dataset}: {path} has a wrong sha256: {found} in place of {file.sha256}; remove it, "
            f"and put the file of {file.address} there or let it be downloaded"
        )


def fetch(dataset: str, files: Sequence[RawFile]) -> dict[str, Path]:
    """The checked paths of `files` by name, what is missing downloaded.

    Raises DataError where a sum is wrong, and where files are missing that cannot be downloaded:
    it names them with address, sum and the folder to put them in.
    """
    found = {file.name: locate(dataset, file) for file in files}
    for file in files:
        path = found[file.name]
        if path is not None:
            check(dataset, file, path)
    missing = [file for file in files if found[file.name] is None]
    reason = "their publisher gives them to registered users only"
    while missing and not any(file.register for file in missing):
        try:
            found[missing[0].name] = _download(dataset, missing[0])
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in _FULL_OR_READ_ONLY:
                place = folders(dataset)[-1]
                raise DiskError(
                    f"{dataset}: {place} cannot be written: {error.strerror}"
                ) from error
            cause = getattr(error, "reason", error)
            reason = f"the download failed ({getattr(cause, 'strerror', None) or cause})"
            break
        missing.pop(0)
    if missing:
        listed = "; ".join(
            f"{f.name} (sha256 {f.sha256 or 'unknown'}) from {f.address}" for f in missing
        )
        raise DataError(
            f"{dataset}: raw files are missing and {reason}: put them into "
            f"{folders(dataset)[0]}{_hint()}: {listed}"
        )
    return {name: path for name, path in found.items() if path is not None}


def sha256_of(path: Path) -> str:
    """The sum of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _hint() -> str:
    return "" if os.environ.get("REPRISE_RAW_DIR") else " (or set REPRISE_RAW_DIR)"


def _download(dataset: str, file: RawFile) -> Path:
    """The downloaded file; nothing lies under its name before its sum is right."""
    folder = folders(dataset)[-1]
    folder.mkdir(parents=True, exist_ok=True)
    large = f" ({file.size / 1e6:.1f} MB)" if file.size else ""
    _log.info("%s: downloading %s%s", dataset, file.address, large)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{file.name}.", delete=False) as part:
        path = Path(part.name)
        try:
            digest, size = hashlib.sha256(), 0
            with urllib.request.urlopen(file.address, timeout=_TIMEOUT_SECONDS) as answer:
                while chunk := answer.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    part.write(chunk)
            part.flush()
            if not file.sha256:
                _log.warning(
                    "%s: %s has the sha256 %s, which nothing here confirms",
                    dataset, file.address, digest.hexdigest(),
                )  # fmt: skip
            elif digest.hexdigest() != file.sha256:
                raise DataError(
                    f"{dataset}: {file.address} gave {size} bytes of sha256 {digest.hexdigest()}, "
                    f"not the {file.size} bytes of {file.sha256}: put the right file into "
                    f"{folders(dataset)[0]}{_hint()}"
                )
            path.chmod(0o644)
            path.replace(folder / file.name)
        finally:
            # Where all was right, nothing is left under this name.
            path.unlink(missing_ok=True)
    return folder / file.name
