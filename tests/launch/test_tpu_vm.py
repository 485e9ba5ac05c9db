"""launch.tpu_vm against a cloud that grants, preempts, unplugs and refuses."""

import json
from pathlib import Path

import pytest

from launch import plan as plans
from launch import tpu_vm
from tests.launch.conftest import CONFIG, Cloud, Launcher

PLACE = ("--project=mine", "--zone=us-west4-a", "--bucket=gs://mine")
# Two hosts, as the fake cloud has: the smallest slice with more than one.
SLICE = "--topology=v5p:2x2x2"
LIFE = ("create", "ssh", "rsync", "delete")


def result(outputs: Path) -> dict[str, object]:
    (found,) = outputs.glob("runs/vision/vit_digits-*/result.json")
    return json.loads(found.read_text())


def test_success(launch: Launcher, cloud: Cloud, outputs: Path) -> None:
    cloud.plot("0")
    ended = launch(tpu_vm, CONFIG, "--config.train.steps=7", SLICE, *PLACE)
    assert ended.code == 0, ended.err
    assert cloud.calls(*LIFE) == ["create", "ssh", "rsync", "delete"]
    # Worker 0's log is shown, once; both workers have said how they ended.
    assert ended.out.count("start 1: 0") == 1
    assert "worker 0 ended with code 0" in ended.out
    assert "worker 1 ended with code 0" in ended.out
    found = result(outputs)
    name = next(outputs.glob("runs/vision/*")).name
    assert found["argv"] == [
        "train.py", CONFIG, "--config.train.steps=7", f"--workdir=gs://mine/runs/vision/{name}",
    ]  # fmt: skip
    # Checkpoints stay in the bucket, and the code was really there.
    assert not list(outputs.glob("runs/vision/*/checkpoints"))
    assert list((cloud.folder / "slices" / "0").glob("worker-1/reprise/*/code/training/loop.py"))


def test_it_starts_again_on_75(launch: Launcher, cloud: Cloud, outputs: Path) -> None:
    cloud.plot("75", "75", "0")
    assert launch(tpu_vm, CONFIG, SLICE, *PLACE).code == 0
    assert result(outputs)["starts"] == 3
    assert cloud.calls(*LIFE) == ["create", "ssh", "rsync", "delete"]


def test_a_lost_host_is_waited_for(launch: Launcher, cloud: Cloud, outputs: Path) -> None:
    """134 is how JAX ends the processes whose peer has gone; forever it is not tried."""
    cloud.plot("134", "0")
    assert launch(tpu_vm, CONFIG, SLICE, *PLACE).code == 0
    assert result(outputs)["starts"] == 2


def test_preempted_and_created_again(launch: Launcher, cloud: Cloud, outputs: Path) -> None:
    cloud.plot("preempted", "0")
    ended = launch(tpu_vm, CONFIG, SLICE, *PLACE, "--spot")
    assert ended.code == 0, ended.err
    again = ["delete", "create", "ssh"]
    assert cloud.calls(*LIFE) == ["create", "ssh", *again, "rsync", "delete"]
    assert ended.out.count("preempted; asking for another slice") == 1
    assert result(outputs)["starts"] == 2
    assert len(list((cloud.folder / "slices").iterdir())) == 2


def test_a_lost_connection_ends_nothing(launch: Launcher, cloud: Cloud, outputs: Path) -> None:
    cloud.plot("unplugged")
    ended = launch(tpu_vm, CONFIG, SLICE, *PLACE)
    assert ended.code == 0, ended.err
    assert cloud.calls(*LIFE) == ["create", "ssh", "ssh", "rsync", "delete"]
    assert result(outputs)["starts"] == 1


def test_failure(launch: Launcher, cloud: Cloud, outputs: Path) -> None:
    """Its exit code is passed on, what there is of results is copied, nothing costs money."""
    cloud.plot("4")
    ended = launch(tpu_vm, CONFIG, SLICE, *PLACE)
    assert ended.code == 4
    assert cloud.calls(*LIFE) == ["create", "ssh", "rsync", "delete"]
    assert result(outputs)["starts"] == 1
    assert "[worker 1] training in" in ended.out


def test_kept_and_started_again(launch: Launcher, cloud: Cloud, outputs: Path) -> None:
    """The slice of a run that failed is still there for the next try."""
    cloud.plot("1", "0")
    assert launch(tpu_vm, CONFIG, SLICE, *PLACE, "--keep").code == 1
    assert launch(tpu_vm, CONFIG, SLICE, *PLACE, "--keep").code == 0
    assert cloud.calls(*LIFE) == ["create", "ssh", "rsync", "ssh", "rsync"]
    # A run that is done is not begun again.
    assert launch(tpu_vm, CONFIG, SLICE, *PLACE).code == 0
    assert result(outputs)["starts"] == 2


def test_quota(launch: Launcher, cloud: Cloud) -> None:
    (cloud.folder / "quota").touch()
    ended = launch(tpu_vm, CONFIG, SLICE, *PLACE, "--spot")
    ended.refuses("RESOURCE_EXHAUSTED", "Limit: 0 in zone us-west4-a")
    assert cloud.calls("ssh") == []


def test_a_slice_that_failed_is_named(launch: Launcher, cloud: Cloud) -> None:
    (cloud.folder / "slice.json").write_text('[0, ["FAILED"]]')
    launch(tpu_vm, CONFIG, SLICE, *PLACE).refuses("FAILED", "queued-resources delete")


def test_the_dry_run_is_the_run(
    launch: Launcher, cloud: Cloud, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command that is run, and every file that leaves, is one that was printed."""
    argv = (CONFIG, SLICE, *PLACE, "--spot")
    printed = launch(tpu_vm, *argv, "--dry-run")
    assert printed.code == 0
    assert not (cloud.folder / "calls.jsonl").exists()
    assert not list(outputs.iterdir())
    cloud.plot("0")
    assert launch(tpu_vm, *argv).code == 0
    lines = printed.out.splitlines()
    for call in map(json.loads, (cloud.folder / "calls.jsonl").read_text().splitlines()):
        if call[:2] != ["storage", "cp"] or call[-1] != ".":
            assert plans.shlex.join(["gcloud", *call]) in lines
    for file in (cloud.folder / "buckets" / "mine" / "launch").rglob("*.*"):
        if file.suffix == ".gz":
            assert plans.hashlib.sha256(file.read_bytes()).hexdigest() in printed.out
        elif file.is_file():
            assert file.read_text() in printed.out
