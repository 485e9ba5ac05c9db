"""A bucket on this disk: gs:// for epath, Orbax and TensorStore, as strict as a real one.

An object is written whole, when it is closed; nothing is appended to, renamed or walked through.
"""

import contextlib
import io
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from etils.epath import backend as backends
from etils.epath import gpath
from orbax.checkpoint._src.path import gcs_utils


class Bucket(backends._OsPathBackend):
    """What epath does with gs:// paths."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writes: list[str] = []

    def place(self, path: Any) -> str:
        text = str(path)
        assert text.startswith("gs://"), f"{text} is no address in a bucket"
        return str(self.folder / text.removeprefix("gs://"))

    @contextlib.contextmanager
    def open(self, path: Any, mode: str) -> Iterator[Any]:
        if "a" in mode or "+" in mode:
            raise AssertionError(f"{path}: nothing can be appended to an object")
        if "r" in mode:
            with super().open(self.place(path), mode) as file:
                yield file
            return
        held: Any = io.BytesIO() if "b" in mode else io.StringIO()
        yield held
        self.writes.append(str(path))
        data = held.getvalue()
        place = Path(self.place(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data if isinstance(data, bytes) else data.encode())

    def rename(self, path: Any, dst: Any) -> None:
        raise AssertionError(f"{path}: an object cannot be renamed")

    replace = rename

    def walk(self, top: Any, **options: Any) -> Any:
        raise AssertionError(f"{top}: a bucket is not walked through")


def _in_the_folder(name: str) -> Any:
    def call(self: Bucket, path: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(backends._OsPathBackend, name)(self, self.place(path), *args, **kwargs)

    return call


for _name in ("exists", "isdir", "listdir", "makedirs", "mkdir", "rmtree", "remove", "stat"):
    setattr(Bucket, _name, _in_the_folder(_name))


def _glob(self: Bucket, path: Any) -> list[str]:
    found = backends._OsPathBackend.glob(self, self.place(path))
    return [f"gs://{Path(f).relative_to(self.folder)}" for f in found]


Bucket.glob = _glob


class _Client:
    """Of google.cloud.storage, which Orbax asks whether a bucket has real folders."""

    def get_bucket(self, name: str) -> types.SimpleNamespace:
        return types.SimpleNamespace(name=name, hierarchical_namespace_enabled=False)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """gs://... is a folder of this test."""
    made = Bucket(tmp_path / "buckets")
    (made.folder / "mine").mkdir(parents=True)
    monkeypatch.setattr(backends, "tf_backend", made)
    monkeypatch.setattr(gpath, "_GCS_BACKENDS", (made,))
    storage = types.ModuleType("google.cloud.storage")
    storage.Client = _Client
    cloud = types.ModuleType("google.cloud")
    cloud.storage = storage
    monkeypatch.setitem(sys.modules, "google.cloud", cloud)
    monkeypatch.setitem(sys.modules, "google.cloud.storage", storage)

    def kvstore(path: str) -> dict[str, str]:
        # Arrays are a store of their own, in a folder; their shardings are one file.
        slash = "" if path.endswith("/_sharding") else "/"
        return {"driver": "file", "path": made.place(path) + slash}

    monkeypatch.setattr(gcs_utils, "get_kvstore_for_gcs", kvstore)
    return made
