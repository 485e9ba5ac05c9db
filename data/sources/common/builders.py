"""TFDS's own builders: prepared once from checked raw files, as array_record.

Preparing goes on in a folder of its own beside the destination, which a rename fills at the end: an
interrupted preparation leaves nothing that looks prepared, and two at once do no harm.
"""

import contextlib
import errno
import logging
import shutil
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from etils import epath

from data import raw
from data.raw import RawFile
from data.runtime import data_bucket, data_dir
from training.contracts import DataError, DiskError

_log = logging.getLogger("reprise.data")


@contextlib.contextmanager
def prepared_folder(destination: Path) -> Generator[Path]:
    """An empty folder to fill, which becomes `destination` if the body ends without an error.

    Where another process was first, its result stays. Raises DiskError where the disk is full or
    cannot be written.
    """
    working = None
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(dir=destination.parent, prefix=f".{destination.name}."))
        result = working / destination.name
        result.mkdir()
        yield result
        with contextlib.suppress(FileExistsError):
            _rename(result, destination)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            raise DiskError(f"{destination.parent} cannot be written: {error.strerror}") from error
        raise
    finally:
        if working is not None:
            shutil.rmtree(working, ignore_errors=True)


def _rename(source: Path, destination: Path) -> None:
    try:
        source.rename(destination)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise FileExistsError(str(destination)) from error
        raise


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Without TFDS's advice on how to install other packages."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def folder(name: str, version: str) -> Path:
    """Where the builder's prepared files lie once they are prepared."""
    return data_dir() / "tfds" / name / version


def open_prepared(name: str, version: str, files: Sequence[RawFile]) -> Any:
    """The builder, prepared from raw files first where it never was; may raise DataError.

    What a bucket has is read there: array_record reads single examples from it.
    """
    destination = folder(name, version)
    if not (destination / "dataset_info.json").is_file():
        there = in_bucket("tfds", name, version, "dataset_info.json")
        if there is not None:
            return _opened(name, there)
        prepare(name, version, files)
    return _opened(name, destination)


def in_bucket(*parts: str) -> epath.Path | None:
    """The bucket's folder below $REPRISE_DATA_DIR that holds the last of `parts`, or None.

    Raises DataError where the bucket does not answer.
    """
    bucket = data_bucket()
    if bucket is None:
        return None
    path = bucket.joinpath(*parts)
    try:
        return path.parent if path.exists() else None
    except Exception as error:
        # The file system's errors are of its own kinds.
        said = " ".join(str(error).split())[:160]
        raise DataError(
            f"REPRISE_DATA_DIR={bucket} cannot be reached ({said}): is its name right, and are "
            "there credentials (gcloud auth application-default login)?"
        ) from error


def copy(source: epath.Path, destination: Path) -> None:
    """Copies the files of a bucket's folder to the disk, all or none."""
    _log.info("copying %s to %s (once)", source, destination)
    with prepared_folder(destination) as result:
        for path in source.iterdir():
            (result / path.name).write_bytes(path.read_bytes())


def prepare(name: str, version: str, files: Sequence[RawFile]) -> None:
    """Builds array_record files with TFDS; raises DataError for missing or wrong raw files."""
    paths = raw.fetch(name, files)
    import tensorflow_datasets as tfds

    destination = folder(name, version)
    _log.info("%s: preparing into %s (once)", name, destination)
    with (
        prepared_folder(destination) as result,
        tempfile.TemporaryDirectory(dir=result.parent) as scratch,
    ):
        manual = Path(scratch, "manual")
        manual.mkdir()
        for file_name, path in paths.items():
            (manual / file_name).symlink_to(path.absolute())
        builder: Any = tfds.builder(
            f"{name}:{version}", data_dir=scratch, file_format="array_record"
        )
        download = tfds.download.DownloadConfig(
            manual_dir=manual, extract_dir=Path(scratch, "extracted")
        )
        # Its messages speak of the scratch folder; were they renamed, they would only show again.
        builder._log_download_bytes = builder._log_download_done = lambda: None
        tfds.disable_progress_bar()
        with quiet():
            builder.download_and_prepare(
                download_dir=Path(scratch, "downloads"), download_config=download
            )
        for path in Path(builder.data_dir).iterdir():
            path.replace(result / path.name)


def verify(name: str, version: str, counts: dict[str, int]) -> str | None:
    """One line on what is prepared, None where nothing is; raises DataError where it is damaged."""
    destination = folder(name, version)
    if not destination.exists():
        return None
    builder = _opened(name, destination)
    for split, info in builder.info.splits.items():
        expected = counts.get(split, info.num_examples)
        try:
            source = builder.as_data_source(split)
            found = len(source)
            _ = source[found - 1]
        except Exception as error:
            raise _damaged(name, destination, error) from error
        if not found == info.num_examples == expected:
            raise _damaged(name, destination, f"{found} of {expected} examples of {split!r}")
    return f"prepared in {destination}"


def _opened(name: str, destination: Path | epath.Path) -> Any:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(destination)
    except Exception as error:
        # TFDS and what it reads with raise errors of many kinds for a file that is not as it was.
        raise _damaged(name, destination, error) from error


def _damaged(name: str, destination: Path | epath.Path, reason: object) -> DataError:
    said = " ".join(str(reason).split())[:200]
    return DataError(
        f"{name}: {destination} is damaged ({said}): remove the folder, it is prepared again"
    )
