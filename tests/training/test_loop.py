"""A toy of each kind of algorithm through the one `fit`: no step is lost and none doubled."""

import json
import signal

import jax
import numpy as np
import pytest

from tests.training.runs import final_arrays, lines, restored, run, selecting, terminate_at
from training import loop
from training.config import Train
from training.contracts import (
    ConfigError,
    DivergedError,
    InterruptedRunError,
    PreemptedError,
)
from training.stopping import Select, Stopping

KINDS = ("supervised", "two_networks", "acting", "inner_loop")
STEPS = Train(steps=24, log_every=6, save_every=10, seed=3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """folder(kind): an unbroken run of each kind, made once."""
    made = {}

    def folder(kind):
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            run(made[kind], kind, STEPS, every=8)
        return made[kind]

    return folder


def test_an_update_is_read_before_an_evaluation_begins(tmp_path, monkeypatch):
    """Else its time on the device is counted as the evaluation's, and the rates are wrong."""
    seen = []
    read, evaluate = loop.Run.merge, loop.Run.record
    monkeypatch.setattr(
        loop.Run, "merge", lambda self, step, means: (seen.append(step), read(self, step, means))
    )
    monkeypatch.setattr(
        loop.Run,
        "record",
        lambda self, split, found: (seen.append(split), evaluate(self, split, found)),
    )
    run(tmp_path, "supervised", Train(steps=6, log_every=6, seed=3), every=2)
    assert seen == [1, 2, "val", 3, 4, "val", 5, 6, "val"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_algorithm_goes_through_one_fit(kind, whole):
    folder = whole(kind)
    records = lines(folder)
    assert [r["step"] for r in records if r["split"] == "train"] == [6, 12, 18, 24]
    assert [r["step"] for r in records if r["split"] == "val"] == [8, 16, 24]
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "done" and result["steps"] == 24
    assert (folder / "report.html").stat().st_size > 1000


@pytest.mark.parametrize(
    ("kind", "at"),
    [("supervised", 2), ("supervised", 10), *((kind, 15) for kind in KINDS)],
)
def test_a_preempted_run_ends_as_if_it_had_never_stopped(kind, at, whole, tmp_path):
    with pytest.raises(PreemptedError, match="run again"):
        run(tmp_path, kind, STEPS, every=8, disturb=terminate_at(at))
    run(tmp_path, kind, STEPS, every=8)
    assert lines(tmp_path) == lines(whole(kind))
    for a, b in zip(
        final_arrays(tmp_path, kind, STEPS), final_arrays(whole(kind), kind, STEPS), strict=True
    ):
        np.testing.assert_array_equal(a, b)


class CrashError(Exception):
    """A bug, or a power cut: nothing is saved on the way out."""


@pytest.mark.parametrize("at", [3, 18])
def test_after_a_crash_nothing_is_lost_and_nothing_doubled(at, tmp_path):
    def crash(number):
        if number == at:
            raise CrashError

    train = selecting(steps=24, log_every=3, save_every=5)
    whole = run(tmp_path / "whole", "supervised", train)
    with pytest.raises(CrashError):
        run(tmp_path / "cut", "supervised", train, disturb=crash)
    again = run(tmp_path / "cut", "supervised", train)
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    assert again["value"] == whole["value"] and again["selected"] == whole["selected"]


def test_sigint_saves_and_says_so(tmp_path):
    with pytest.raises(InterruptedRunError, match="saved at step"):
        run(tmp_path, "supervised", STEPS, disturb=terminate_at(5, signal.SIGINT))
    assert any((tmp_path / "checkpoints").glob("*.sha256"))


def test_a_finished_run_is_not_trained_again(tmp_path):
    def never(number):
        raise AssertionError("a finished run read a batch")

    first = run(tmp_path, "supervised", STEPS)
    assert run(tmp_path, "supervised", STEPS, disturb=never) == first


def test_a_longer_run_goes_on_where_the_schedule_allows(tmp_path):
    run(tmp_path / "long", "supervised", Train(steps=16, log_every=4))
    run(tmp_path / "grown", "supervised", Train(steps=8, log_every=4))
    run(tmp_path / "grown", "supervised", Train(steps=16, log_every=4))
    assert lines(tmp_path / "grown") == lines(tmp_path / "long")


def test_a_longer_run_that_is_stopped_is_not_done(tmp_path):
    run(tmp_path / "long", "supervised", Train(steps=16, log_every=4))
    run(tmp_path / "grown", "supervised", Train(steps=8, log_every=4))
    with pytest.raises(PreemptedError):
        run(
            tmp_path / "grown", "supervised", Train(steps=16, log_every=4),
            disturb=terminate_at(11, signal.SIGTERM),
        )  # fmt: skip
    assert run(tmp_path / "grown", "supervised", Train(steps=16, log_every=4))["steps"] == 16
    assert lines(tmp_path / "grown") == lines(tmp_path / "long")


@pytest.mark.parametrize("left", ["result.json", "metrics.jsonl"])
def test_a_folder_that_lost_its_config_is_refused(left, tmp_path):
    run(tmp_path, "supervised", STEPS)
    (tmp_path / "config.json").unlink()
    if left != "result.json":
        (tmp_path / "result.json").unlink()
    with pytest.raises(ConfigError, match=r"without its config\.json"):
        run(tmp_path, "supervised", STEPS)


def test_another_config_is_refused_with_the_keys_that_differ(tmp_path):
    run(tmp_path, "supervised", STEPS)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(ConfigError, match=r"train\.seed: 3 there, 4 now"):
        run(tmp_path, "supervised", Train(steps=24, log_every=6, save_every=10, seed=4))
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("kind", KINDS)
def test_several_steps_in_one_call_change_no_number(kind, tmp_path):
    one = Train(steps=24, log_every=6)
    several = Train(steps=24, log_every=6, steps_per_call=3)
    run(tmp_path / "one", kind, one, every=12)
    run(tmp_path / "several", kind, several, every=12)
    for a, b in zip(lines(tmp_path / "one"), lines(tmp_path / "several"), strict=True):
        assert a.keys() == b.keys()
        for name in a:
            if isinstance(a[name], float):
                np.testing.assert_allclose(a[name], b[name], rtol=2e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("key", ["steps", "log_every", "save_every"])
def test_an_interval_that_is_no_whole_number_of_calls_is_an_error(key, tmp_path):
    fields = {"steps": 24, "log_every": 6, "save_every": 12, "steps_per_call": 3, key: 7}
    with pytest.raises(ConfigError, match=rf"train\.{key} is 7, not a multiple.* 6 would be"):
        run(tmp_path, "supervised", Train(**fields), every=12)


def test_members_stop_one_by_one_and_stay_as_they_were(tmp_path):
    train = Train(
        steps=200,
        log_every=50,
        ensemble=4,
        select=Select("val/loss", "min"),
        stopping=Stopping(rule="patience", patience=3),
        test_weights="best",
    )
    result = run(tmp_path, "supervised", train, every=2, ensemble=4)
    by_member = [r["loss"] for r in lines(tmp_path, "members.jsonl") if r["split"] == "val"]
    curves = np.array(by_member).T
    stops = []
    for member, curve in enumerate(curves):
        best = int(np.argmin(curve))
        assert result["selected"]["step"][member] == 2 * (best + 1)
        np.testing.assert_allclose(result["selected"]["value"][member], curve[best], rtol=1e-6)
        # Frozen once stopped: every later value is the same.
        stop = min(best + 3, len(curve) - 1)
        assert (curve[stop:] == curve[stop]).all()
        stops.append(stop)
    assert len(set(stops)) > 1, "all members stopped together: the test shows nothing"
    assert result["steps"] == 2 * (max(stops) + 1) < 200


def test_an_ensemble_resumes_bit_for_bit_with_its_stopping(tmp_path):
    train = selecting(
        steps=40, log_every=10, save_every=10, ensemble=3,
        stopping=Stopping(rule="patience", patience=2),
    )  # fmt: skip
    run(tmp_path / "whole", "supervised", train, every=2, ensemble=3)
    with pytest.raises(PreemptedError):
        run(tmp_path / "cut", "supervised", train, 2, 3, terminate_at(9))
    run(tmp_path / "cut", "supervised", train, every=2, ensemble=3)
    for name in ("metrics.jsonl", "members.jsonl"):
        assert lines(tmp_path / "cut", name) == lines(tmp_path / "whole", name)


@pytest.mark.parametrize("mode", ["stop", "skip"])
def test_a_batch_that_is_not_finite_never_reaches_the_parameters(mode, tmp_path):
    from tests.toys import members
    from tests.training.runs import settings
    from training.loop import fit

    pipeline = members.training()

    def poisoned(start):
        for number, batch in enumerate(pipeline.batches(start), start):
            bad = batch["input"] * np.float32(np.nan)
            yield {**batch, "input": bad} if number == 5 else batch

    import dataclasses

    train = Train(steps=12, log_every=4, nonfinite=mode)
    poisoned_pipeline = dataclasses.replace(pipeline, batches=poisoned)
    arguments = (members.alone(), poisoned_pipeline, [], settings(train), str(tmp_path))
    if mode == "stop":
        with pytest.raises(DivergedError, match="not finite"):
            fit(*arguments)
        return
    fit(*arguments)
    records = lines(tmp_path)
    assert [r["nonfinite"] for r in records] == [0.0, 0.25, 0.0]
    assert all(r["loss"] is not None for r in records)
    state, _ = restored(tmp_path, "supervised", train)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
