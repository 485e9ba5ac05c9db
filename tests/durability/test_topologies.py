"""A checkpoint belongs to no topology: other devices, fewer processes, another platform."""

import json

import numpy as np

from tests.conftest import Program
from tests.durability import victims
from tests.training.runs import final_arrays, lines
from tests.training.test_checkpoint import shapes, state
from training import manifest
from training.checkpoint import Checkpoints, RunState
from training.contracts import PreemptedError


def test_eight_devices_then_four_then_one(program: Program, tmp_path):
    ended = program("-m", "tests.durability.topologies", tmp_path, devices=8)
    assert ended.returncode == 0, ended.stderr[-2000:]
    four, one = json.loads(ended.stdout)
    assert four == {"equal": True, "devices": 4, "shard": [2, 8]}
    assert one == {"equal": True, "devices": 1, "shard": [2, 32]}


def test_two_processes_then_one(processes, whole, tmp_path):
    """SIGTERM to the second process alone: both save the same step; one process goes on from it."""
    folder = tmp_path / "run"
    for one in processes(2, "train", folder):
        assert one.code == PreemptedError.code, one.err
        assert "preempted; saved at step" in one.err
    saved = Checkpoints(folder, read_only=True).latest()
    assert saved is not None and 17 < saved < victims.STEPS.steps
    assert victims.ended(folder, "supervised") == 0
    expected, _ = whole("supervised")
    found, alone = lines(folder), lines(expected)
    assert [(r["step"], r["split"]) for r in found] == [(r["step"], r["split"]) for r in alone]
    for a, b in zip(found, alone, strict=True):
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-4)
    for a, b in zip(*(final_arrays(f, "supervised", victims.STEPS) for f in (folder, expected)),
                    strict=True):  # fmt: skip
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_a_checkpoint_of_another_platform(tmp_path):
    """What Orbax notes of the devices that saved is of no consequence, nor is its absence."""
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(state(step), {"best": {}}, RunState(step=step))
        checkpoints.finish()
    checkpoints.close()
    notes = sorted((tmp_path / "checkpoints").rglob("_sharding"))
    assert len(notes) >= 2
    for path in notes:
        if path.is_relative_to(tmp_path / "checkpoints" / "1"):
            text = path.read_text()
            assert "cpu:0" in text or "Y3B1" in text or '"' in text
            path.write_text(text.replace("cpu:0", "TPU_7(process=3,(1,1,0,0))"))
        else:
            path.unlink()
    for step in (1, 2):
        manifest.sign(checkpoints.folder, step, (1, 2))
        found, _ = Checkpoints(tmp_path).restore(step, shapes(state(step)), shapes({"best": {}}))
        np.testing.assert_array_equal(
            found.params["dense"]["kernel"], state(step).params["dense"]["kernel"]
        )
