"""What is not finite never reaches the parameters, is kept to look into, can be gone back from."""

import dataclasses
import json
import logging
from typing import Any

import jax
import numpy as np
import pytest

from tests.toys import members, two_networks
from tests.training.runs import disturbed, final_arrays, lines, settings, terminate_at
from training.config import Train
from training.contracts import DivergedError, Pipeline, PreemptedError
from training.gradients import Optimizer
from training.loop import fit
from training.nonfinite import watched

TRAIN = Train(steps=24, log_every=4, save_every=6, nonfinite="rollback")
BAD = 13  # number of the bad batch: the one of step 14


def poisoned(*numbers: int, disturb: Any = None) -> Pipeline:
    """The toy's batches, of which some are not a number in one place."""
    pipeline = members.training()

    def batches(start: int):
        for number, batch in enumerate(pipeline.batches(start), start):
            if number in numbers:
                batch["input"][3, 1] = np.nan
            yield batch

    found = dataclasses.replace(pipeline, batches=batches)
    return found if disturb is None else disturbed(found, disturb)


def run(folder: Any, pipeline: Pipeline, train: Train = TRAIN) -> dict[str, Any]:
    return fit(members.alone(), pipeline, [], settings(train), str(folder))


def kept(folder: Any, step: int = BAD + 1) -> dict[str, Any]:
    return json.loads((folder / "nonfinite" / f"step_{step:08d}.json").read_text())


@pytest.mark.parametrize("mode", ["stop", "skip", "rollback"])
def test_the_step_the_batch_and_the_first_bad_array_are_kept(mode, tmp_path):
    train = dataclasses.replace(TRAIN, nonfinite=mode)
    if mode == "stop":
        with pytest.raises(DivergedError, match=rf"at step {BAD + 1}: .*nonfinite/step_0*14\.json"):
            run(tmp_path, poisoned(BAD), train)
    else:
        run(tmp_path, poisoned(BAD), train)
    report = kept(tmp_path)
    assert report["step"] == BAD + 1 and report["batch_number"] == BAD
    assert report["first"] == "batch/input"
    assert "gradients/hidden/kernel" in report["arrays"]
    batch = np.load(tmp_path / "nonfinite" / report["batch"])
    expected = next(poisoned(BAD).batches(BAD))
    for name, array in expected.items():
        np.testing.assert_array_equal(batch[name], array)


def test_one_report_of_many_skipped_steps(tmp_path, caplog):
    logging.getLogger("reprise").propagate = True
    run(tmp_path, poisoned(5, 9, BAD), dataclasses.replace(TRAIN, nonfinite="skip"))
    assert [p.name for p in (tmp_path / "nonfinite").glob("*.json")] == ["step_00000006.json"]
    assert "3 updates were refused as not finite, of a run of 24" in caplog.text


def test_the_bad_step_of_a_call_of_several(tmp_path):
    train = dataclasses.replace(TRAIN, nonfinite="skip", steps_per_call=2)
    run(tmp_path, poisoned(BAD), train)
    assert kept(tmp_path)["steps_of_the_call"] == [BAD, BAD + 1]
    assert kept(tmp_path)["batch_number"] == BAD


def test_going_back_passes_over_the_bad_batch(tmp_path):
    """Back at the checkpoint of step 12 the next batch is number 14: nothing else is different."""
    run(tmp_path / "bad", poisoned(BAD))
    pipeline = members.training()

    def jumping(start: int):
        for number in range(start, 10**6):
            yield next(pipeline.batches(number if number < 12 else number + 2))

    run(tmp_path / "clean", dataclasses.replace(pipeline, batches=jumping))
    assert lines(tmp_path / "bad") == lines(tmp_path / "clean")
    for a, b in zip(
        final_arrays(tmp_path / "bad", "supervised", TRAIN),
        final_arrays(tmp_path / "clean", "supervised", TRAIN),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    events = [e for e in lines(tmp_path / "bad", "timings.jsonl") if e.get("event") == "rollback"]
    assert [e["to"] for e in events] == [12]


def test_stopped_after_going_back(tmp_path):
    """Before and after the next checkpoint; batch 15 is read at once after the rollback."""
    run(tmp_path / "whole", poisoned(BAD))
    for at in (15, 22):
        with pytest.raises(PreemptedError):
            run(tmp_path / str(at), poisoned(BAD, disturb=terminate_at(at)))
        run(tmp_path / str(at), poisoned(BAD))
        assert lines(tmp_path / str(at)) == lines(tmp_path / "whole")


def test_back_to_the_beginning_where_nothing_was_saved(tmp_path):
    train = dataclasses.replace(TRAIN, save_every=0)
    run(tmp_path, poisoned(2), train)
    assert [r["step"] for r in lines(tmp_path)] == [4, 8, 12, 16, 20, 24]
    assert all(r["nonfinite"] == 0 for r in lines(tmp_path))


def test_so_many_rollbacks_and_no_more(tmp_path, caplog):
    logging.getLogger("reprise").propagate = True
    train = dataclasses.replace(TRAIN, max_rollbacks=2)
    with caplog.at_level(logging.WARNING), pytest.raises(DivergedError, match="after 2 rollbacks"):
        run(tmp_path, poisoned(*range(BAD, 100)), train)
    assert "rollback 2 of at most 2" in caplog.text
    # One report for each time, though all came to the same step.
    reports = sorted(p.parent.name for p in (tmp_path / "nonfinite").rglob("*.npz"))
    assert reports == ["nonfinite", "rollback_1", "rollback_2"]
    assert sorted(p.name for p in (tmp_path / "checkpoints").glob("*.sha256")) == [
        "12.sha256",
        "6.sha256",
    ]


def test_every_optimizer_of_an_algorithm_is_watched():
    algorithm, pipeline = two_networks.build()
    seen = {}
    watching = watched(algorithm, lambda names, flags: seen.update(zip(names, flags, strict=True)))
    batch = next(pipeline.batches(0))
    state = algorithm.init(jax.random.key(0), batch)
    bad = np.stack([np.full_like(batch["value"], np.inf)] * two_networks.REPEATS)
    jax.block_until_ready(jax.jit(watching.update)(state, {"value": bad}))
    jax.effects_barrier()
    assert seen["gradients/critic/kernel"]
    assert not seen["gradients/generator/bias"]
    assert all(isinstance(o, Optimizer) for o in watching.optimizers.values())
    assert watched(pipeline, None) is pipeline
