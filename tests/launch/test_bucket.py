"""A run whose folder is in a bucket: the same files as on a disk, and the same after a kill."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from etils import epath

import train
from data import runtime
from data.sources.common import builders
from data.sources.common.small_images import SmallImages
from tests.launch.bucket import Bucket, bucket  # noqa: F401  (a fixture)
from tests.launch.conftest import CONFIG, Launcher
from training import files
from training.contracts import DataError, Info
from training.progress import Progress

# Evaluated every 4 steps, logged every 3, so that there are lines which no checkpoint knows.
SMOKE = (CONFIG, "--smoke", "--config.train.save_every=5")


def below(folder: Path) -> set[str]:
    names = (str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    # TensorBoard names its files by time and host, Orbax some by chance.
    return {n for n in names if "events." not in n and "/d/" not in n and ".lock" not in n}


def test_killed_and_resumed_in_a_bucket(
    bucket: Bucket,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk, there = tmp_path / "disk", bucket.folder / "mine" / "run"
    assert train.run([*SMOKE, f"--workdir={disk}"]) == 0

    def stop(self: Progress, step: int) -> None:
        if step == 9:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", stop)
        with pytest.raises(KeyboardInterrupt):
            train.run([*SMOKE, "--workdir=gs://mine/run"])
    # What no checkpoint knew had reached the bucket all the same, and is cut when the run goes on.
    assert {p.name for p in (there / "checkpoints").iterdir()} == {"5", "5.sha256"}
    before = (there / "metrics.jsonl").read_text().splitlines()
    assert before == (disk / "metrics.jsonl").read_text().splitlines()[: len(before)]
    assert '"step": 8' in before[-1]
    assert train.run([*SMOKE, "--workdir=gs://mine/run"]) == 0
    for name in ("config.json", "metrics.jsonl"):
        assert (there / name).read_bytes() == (disk / name).read_bytes()
    assert below(there) == below(disk)
    assert list(there.glob("events.*"))
    # Nothing went anywhere else, and the records were not written line by line.
    assert not Path("gs:").exists()
    assert bucket.writes.count("gs://mine/run/metrics.jsonl") < 10


def test_a_bucket_that_does_not_answer(
    bucket: Bucket,  # noqa: F811
    launch: Launcher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class DeniedError(Exception):
        """Of a kind of its own, as TensorFlow's file systems raise them."""

    def exists(self: Bucket, path: object) -> bool:
        raise DeniedError("Error executing an HTTP request: HTTP response code 401\nBody: {...}")

    monkeypatch.setattr(Bucket, "exists", exists)
    ended = launch(train, CONFIG, "--smoke", "--workdir=gs://mine/run")
    assert ended.code == 74
    (line,) = [line for line in ended.err.splitlines() if line.startswith("error:")]
    for says in ("gs://mine/run", "code 401", "gcloud auth application-default login"):
        assert says in line
    assert "Traceback" not in ended.err


def test_a_bucket_of_another_kind(launch: Launcher) -> None:
    ended = launch(train, CONFIG, "--smoke", "--workdir=s3://mine/run")
    ended.refuses("s3://mine/run", "gs://bucket/folder")


def test_buckets_need_tensorflow(
    bucket: Bucket,  # noqa: F811
    launch: Launcher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exists(self: Bucket, path: object) -> bool:
        raise ImportError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.setattr(Bucket, "exists", exists)
    ended = launch(train, CONFIG, "--smoke", "--workdir=gs://mine/run")
    ended.refuses("tensorflow-cpu and google-cloud-storage, and tensorflow is not installed")


def test_the_mirror_copies_what_has_changed(bucket: Bucket) -> None:  # noqa: F811
    folder = epath.Path("gs://mine/run")
    (folder / "log").write_text("before\n")
    with contextlib.closing(files.Mirror(folder)) as mirror:
        mirror.fetch("log", "not there")
        with (mirror.local / "log").open("a") as file:
            file.write("after\n")
        (mirror.local / "deep").mkdir()
        (mirror.local / "deep" / "one").write_text("1")
        mirror.push()
        assert (folder / "log").read_text() == "before\nafter\n"
        mirror.push()
    # The second push and the end had nothing to copy.
    assert sorted(bucket.writes[1:]) == ["gs://mine/run/deep/one", "gs://mine/run/log"]
    assert not mirror.local.exists()


def test_a_folder_on_the_disk_is_its_own_mirror(tmp_path: Path) -> None:
    folder = epath.Path(tmp_path)
    with contextlib.closing(files.Mirror(folder)) as mirror:
        assert mirror.local == folder
        (mirror.local / "file").write_text("kept")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Prepared data is looked for in a bucket; the folder of what is copied from there."""
    monkeypatch.setenv("REPRISE_DATA_DIR", "gs://mine/data")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home" / ".cache" / "reprise" / "data"


def test_small_sets_are_copied_from_the_bucket(
    bucket: Bucket,  # noqa: F811
    data: Path,
) -> None:
    info = Info({"train": 3}, num_classes=2)
    source = SmallImages("toy", "1.0.0", (), (2, 2, 1), info)
    there = bucket.folder / "mine" / "data" / "arrays" / "toy" / "1.0.0"
    there.mkdir(parents=True)
    np.save(there / "train-image.npy", np.ones((3, 2, 2, 1), np.uint8))
    np.save(there / "train-label.npy", np.arange(3, dtype=np.int32))
    (there / "sums.json").write_text("{}")
    assert runtime.data_dir() == data
    assert source.open("train").arrays["label"][2] == 2
    # Once: the second time it is on the disk.
    (there / "sums.json").unlink()
    assert source.open("train").arrays["image"].shape == (3, 2, 2, 1)
    assert (data / "arrays" / "toy" / "1.0.0" / "train-image.npy").is_file()


def test_large_sets_are_read_in_the_bucket(
    bucket: Bucket,  # noqa: F811
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = []
    monkeypatch.setattr(builders, "_opened", lambda name, place: opened.append(str(place)))
    there = bucket.folder / "mine" / "data" / "tfds" / "toy" / "1.0.0"
    there.mkdir(parents=True)
    (there / "dataset_info.json").write_text("{}")
    builders.open_prepared("toy", "1.0.0", ())
    assert opened == ["gs://mine/data/tfds/toy/1.0.0"]


def test_data_in_a_bucket_that_does_not_answer(
    bucket: Bucket,  # noqa: F811
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exists(self: Bucket, path: object) -> bool:
        raise RuntimeError("HTTP response code 403")

    monkeypatch.setattr(Bucket, "exists", exists)
    with pytest.raises(DataError, match=r"gs://mine/data cannot be reached .*403.*gcloud auth"):
        builders.in_bucket("arrays", "toy", "1.0.0", "sums.json")
