"""Checkpoints that are not whole, and disks that are full."""

import logging
from pathlib import Path

import pytest

from tests.durability.conftest import ended, same
from tests.training.runs import lines, run, terminate_at
from tests.training.test_checkpoint import flip_a_bit, shapes, state, truncate
from training import manifest
from training.checkpoint import Checkpoints, RunState
from training.config import Train
from training.contracts import DataError, DiskError, PreemptedError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of the steps 1, 2 and 3, of which the last two are kept."""
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(state(step), {"best": {}}, RunState(step=step))
    checkpoints.finish()
    checkpoints.close()
    return tmp_path


def damage(folder: Path, step: int, how=flip_a_bit) -> Path:
    """Harms the largest file of a checkpoint."""
    files = [p for p in (folder / "checkpoints" / str(step)).rglob("*") if p.is_file()]
    largest = max(files, key=lambda p: p.stat().st_size)
    how(largest)
    return largest


def test_what_is_damaged_is_out_of_the_way(folder):
    """The run goes on from step 2 and can save step 3 again; the damaged one can be looked at."""
    damage(folder, 3)
    checkpoints = Checkpoints(folder)
    assert checkpoints.latest() == 2 and checkpoints.steps() == [2]
    checkpoints.save(state(3), {"best": {}}, RunState(step=3, metrics_bytes=7))
    checkpoints.finish()
    assert checkpoints.latest() == 3 and checkpoints.restore_run(3).metrics_bytes == 7
    assert (folder / "checkpoints" / "3.damaged" / "state").is_dir()


def test_who_only_looks_leaves_it_where_it_is(folder):
    damage(folder, 3)
    assert Checkpoints(folder, read_only=True).latest() == 2
    assert (folder / "checkpoints" / "3").is_dir()


def test_a_manifest_that_was_cut(folder, caplog):
    truncate(folder / "checkpoints" / "3.sha256")
    logging.getLogger("reprise").propagate = True
    assert Checkpoints(folder).latest() == 2
    assert "checkpoint 3 is damaged (3.sha256 is not JSON)" in caplog.text


def test_half_written_without_a_manifest(folder, caplog):
    """As a process leaves it that dies in the save."""
    logging.getLogger("reprise").propagate = True
    damage(folder, 3, lambda path: path.unlink())
    (folder / "checkpoints" / "3.sha256").unlink()
    checkpoints = Checkpoints(folder)
    assert checkpoints.latest() == 2 and checkpoints.steps() == [2]
    assert "checkpoint 3 has no manifest" in caplog.text


def test_metrics_that_the_checkpoint_knew_are_missing(tmp_path):
    """To go on would glue a line to half of another, and lose those between."""
    train = Train(steps=24, log_every=6, save_every=5)
    with pytest.raises(PreemptedError):
        run(tmp_path, "supervised", train, disturb=terminate_at(13))
    truncate(tmp_path / "metrics.jsonl")
    with pytest.raises(DataError, match=r"metrics.jsonl has .* bytes.*lines are missing"):
        run(tmp_path, "supervised", train)


def test_the_only_one_is_used_without_a_manifest(folder, caplog):
    """Such as a copy of a run's folder that left the manifests out."""
    for path in (folder / "checkpoints").glob("*.sha256"):
        path.unlink()
    logging.getLogger("reprise").propagate = True
    checkpoints = Checkpoints(folder)
    assert checkpoints.latest() == 3
    assert "checkpoint 3 has no manifest" in caplog.text
    found, _ = checkpoints.restore(3, shapes(state(3)), shapes({"best": {}}))
    assert found.params["dense"]["kernel"].shape == (2, 3)


def test_all_are_damaged(folder):
    """To begin anew in silence would cut the metrics of the run that was lost."""
    damage(folder, 2)
    damage(folder, 3)
    with pytest.raises(
        DataError, match=r"all checkpoints .* are damaged \(steps \[2, 3\]\).*fresh"
    ):
        Checkpoints(folder).latest()
    assert Checkpoints(folder).steps() == [2, 3]


def test_a_run_goes_on_from_the_one_before_the_damaged(tmp_path):
    train = Train(steps=24, log_every=6, save_every=5)
    run(tmp_path / "whole", "supervised", train)
    with pytest.raises(PreemptedError):
        run(tmp_path / "cut", "supervised", train, disturb=terminate_at(13))
    damage(tmp_path / "cut", 13)
    run(tmp_path / "cut", "supervised", train)
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


def test_a_save_that_fails_is_told_at_the_next_step(tmp_path, monkeypatch):
    def fail(folder, step, kept):
        raise OSError(28, "No space left on device")

    steps = []
    monkeypatch.setattr(manifest, "sign", fail)
    train = Train(steps=400, log_every=6, save_every=10)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path, "supervised", train, disturb=steps.append)
    assert 10 <= max(steps) < 100


def test_a_disk_that_fills_up(whole, tmp_path):
    """One line; what was saved before is whole, and the run goes on from there."""
    folder, log = tmp_path / "run", tmp_path / "run.log"
    assert ended(folder, "ensemble", "disk full") == DiskError.code
    errors = [line for line in log.read_text().splitlines() if line]
    assert len(errors) == 1 and errors[0].startswith("error: cannot write"), errors
    assert max(r["step"] for r in lines(folder)) < 30
    checkpoints = Checkpoints(folder, read_only=True)
    # That of step 12 may have been under way.
    assert checkpoints.steps() in ([6], [6, 12])
    assert not any(checkpoints.fault(step) for step in checkpoints.steps())
    assert ended(folder, "ensemble") == 0
    same(folder, whole("ensemble")[0], "ensemble")
