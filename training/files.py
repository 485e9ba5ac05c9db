"""A run's folder may be in a bucket (gs://...): what is different there, in one place.

An object in a bucket is written whole or not at all, but it cannot be appended to, cut or renamed.
What a run appends to is therefore kept on the local disk and copied at each checkpoint.
"""

import importlib
import shutil
import tempfile
from pathlib import Path

from etils import epath

from training.contracts import ConfigError, DiskError

SCHEME = "gs://"


def in_bucket(path: epath.PathLike) -> bool:
    """Whether a path names an object of a bucket."""
    return "://" in str(path)


def absolute(path: epath.PathLike) -> epath.Path:
    """The path from the root; of a bucket's address, which has one already, epath would make one
    below the current folder.
    """
    return epath.Path(path) if in_bucket(path) else epath.Path(path).absolute()


def write_whole(path: epath.Path, data: bytes | str) -> None:
    """Writes a file whole or not at all."""
    content = data.encode() if isinstance(data, str) else data
    if in_bucket(path):
        path.write_bytes(content)
        return
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)


def check(folder: epath.Path) -> None:
    """Raises ConfigError for a folder that is of no known kind, DiskError where a bucket does not
    answer.
    """
    if not in_bucket(folder):
        return
    if not str(folder).startswith(SCHEME):
        raise ConfigError(f"{folder}: a folder of this machine, or {SCHEME}bucket/folder")
    try:
        # epath reaches a bucket through TensorFlow, and Orbax asks this one of what kind it is.
        importlib.import_module("google.cloud.storage")
        folder.exists()
    except ImportError as error:
        raise ConfigError(
            f"{folder}: buckets need tensorflow-cpu and google-cloud-storage, and {error.name} is "
            "not installed"
        ) from error
    except Exception as error:
        # The file system's errors are of its own kinds, none of which is an OSError.
        raise unreachable(folder, error) from error


def refused(error: BaseException) -> bool:
    """Whether an error is a bucket's: of TensorFlow's file systems, or of TensorStore."""
    text = str(error)
    told = "gs://" in text or "storage.googleapis.com" in text
    return told and (
        type(error).__module__.startswith("tensorflow")
        or any(word in text for word in ("PERMISSION_DENIED", "UNAUTHENTICATED", "NOT_FOUND"))
    )


def unreachable(path: epath.PathLike, error: Exception) -> DiskError:
    """The one line on a bucket that did not answer, or refused."""
    said = " ".join(str(error).split())[:160]
    return DiskError(
        f"{path} cannot be reached ({said}): is the bucket's name right, and are there credentials "
        "(gcloud auth application-default login)?"
    )


class Mirror:
    """A local folder whose files are copied into a bucket's; of a folder on the disk, itself.

    Attributes:
      folder: the run's.
      local: where its files can be appended to and cut.
    """

    def __init__(self, folder: epath.Path) -> None:
        self.folder = self.local = folder
        self._copied: dict[str, int] = {}
        if in_bucket(folder):
            self.local = epath.Path(tempfile.mkdtemp(prefix="reprise-"))

    def fetch(self, *names: str) -> None:
        """Copies files of the bucket here, where they are there."""
        for name in names if self.local != self.folder else ():
            if (self.folder / name).exists():
                (self.local / name).write_bytes((self.folder / name).read_bytes())

    def push(self) -> None:
        """Copies what has changed; raises DiskError where the bucket does not take it."""
        if self.local == self.folder:
            return
        for path in sorted(Path(self.local).rglob("*")):
            name = str(path.relative_to(self.local))
            if not path.is_file() or path.stat().st_size == self._copied.get(name):
                continue
            data = path.read_bytes()
            target = self.folder / name
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            except Exception as error:
                raise unreachable(target, error) from error
            self._copied[name] = len(data)

    def close(self) -> None:
        """Copies what has changed, and removes the local folder."""
        if self.local != self.folder:
            self.push()
            shutil.rmtree(self.local, ignore_errors=True)
