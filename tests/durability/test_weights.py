"""train.init_from: another run's weights, as far as they fit, as the start of a new one."""

import logging
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.training.runs import lines, run, terminate_at, toy
from training import gradients, mesh
from training.checkpoint import Checkpoints, RunState, abstract
from training.compiled import Compiled
from training.config import Mesh, Train
from training.contracts import ConfigError, DataError, PreemptedError, TrainState
from training.transfer import resize_positions, start_from


def state(seed: int, classes: int = 4, length: int = 17, ema: bool = False) -> TrainState:
    """A network with a head and a table of positions, and its optimizer's arrays."""
    rng = np.random.default_rng(seed)
    params = {
        "encoder": {"kernel": rng.normal(size=(8, 6)), "bias": np.zeros(6)},
        "head": {"kernel": rng.normal(size=(6, classes)), "bias": np.zeros(classes)},
        "positions": {"embedding": rng.normal(size=(length, 8))},
    }
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params)
    optimizer = gradients.Optimizer(
        optax.adam(0.1), lambda step: 0.1, ema_decay=0.9 if ema else None
    )
    opt_state, carry = gradients.init(optimizer, params)
    mutable = {"batch_stats": {"mean": jnp.full(6, float(seed))}}
    return TrainState(jnp.int32(seed), jax.random.key(seed), params, opt_state, mutable, carry)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A run's folder with the checkpoints 5 and 7."""
    checkpoints = Checkpoints(tmp_path)
    for step in (5, 7):
        checkpoints.save(state(step), {"best": {}}, RunState(step=step))
        checkpoints.finish()
    checkpoints.close()
    return tmp_path


def told(caplog) -> str:
    return next(r.getMessage() for r in caplog.records if "arrays taken" in r.getMessage())


@pytest.fixture(autouse=True)
def logged(caplog):
    logging.getLogger("reprise").propagate = True
    caplog.set_level(logging.INFO)


def test_everything_fits(source, caplog):
    fresh = state(0, ema=True)
    found, there = start_from(fresh, str(source)), state(7)
    for part in ("params", "mutable"):
        jax.tree.map(np.testing.assert_array_equal, getattr(found, part), getattr(there, part))
    # The average starts at the parameters, as it does in a run of one's own.
    jax.tree.map(np.testing.assert_array_equal, found.carry["ema"], found.params)
    assert found.carry["ema"]["head"]["kernel"] is not found.params["head"]["kernel"]
    jax.tree.map(np.testing.assert_array_equal, found.opt_state, fresh.opt_state)
    assert (
        found.step == 0 and (jax.random.key_data(found.key) == jax.random.key_data(fresh.key)).all()
    )
    assert "step 7: 6 of 6 arrays taken; resized: none; left fresh: none; not used: none" in told(
        caplog
    )


def test_a_step_of_it(source):
    found = start_from(state(0), f"{source}@5")
    np.testing.assert_array_equal(found.params["head"]["kernel"], state(5).params["head"]["kernel"])


def test_a_new_head_and_more_positions(source, caplog):
    fresh = state(0, classes=10, length=65)
    found, there = start_from(fresh, str(source)), state(7)
    jax.tree.map(np.testing.assert_array_equal, found.params["encoder"], there.params["encoder"])
    jax.tree.map(np.testing.assert_array_equal, found.params["head"], fresh.params["head"])
    old, new = there.params["positions"]["embedding"], found.params["positions"]["embedding"]
    assert new.shape == (65, 8)
    np.testing.assert_array_equal(new[0], old[0])
    text = told(caplog)
    assert "3 of 6 arrays taken" in text
    assert "resized: params/positions/embedding (17, 8) to (65, 8)" in text
    assert "left fresh: params/head/bias (10,) (there (4,)), params/head/kernel (6, 10)" in text


def test_arrays_that_only_one_of_both_has(source, caplog):
    fresh = state(0)
    params = {**fresh.params, "neck": {"scale": jnp.ones(3)}}
    del params["positions"]
    start_from(fresh.replace(params=params), str(source))
    assert "left fresh: params/neck/scale (3,); not used: params/positions/embedding" in told(
        caplog
    )


@pytest.mark.parametrize("tokens", [0, 1, 2])
def test_positions_are_interpolated_over_two_dimensions(tokens):
    """A plane stays the plane, inside of the outermost old positions."""

    def table(side: int) -> np.ndarray:
        y, x = np.mgrid[:side, :side].reshape(2, -1)
        plane = np.stack([(x + 0.5) / side, (y + 0.5) / side], -1)
        return np.concatenate([np.full((tokens, 2), 9.0), plane]).astype(np.float32)

    resized = np.asarray(resize_positions(jnp.asarray(table(4)), 64 + tokens))
    inner = (abs(table(8)[tokens:] - 0.5) <= 0.375).all(-1)
    assert inner.sum() == 36
    np.testing.assert_allclose(resized[tokens:][inner], table(8)[tokens:][inner], atol=1e-6)
    np.testing.assert_array_equal(resized[:tokens], 9.0)


def test_positions_of_a_sequence_are_interpolated_over_one():
    line = jnp.linspace(0, 1, 12)[:, None]
    found = np.asarray(resize_positions(line, 24))[:, 0]
    assert found.shape == (24,) and (np.diff(found) >= 0).all()


@pytest.mark.parametrize("length", [9, 25])
def test_positions_of_a_text_are_taken_from_the_first_on(tmp_path, length):
    """Interpolated, the third word's would be another word's; 25, 16 and 9 could be grids."""

    def text(seed: int, length: int) -> TrainState:
        made = state(seed, length=length)
        rng = np.random.default_rng(seed)
        tokens = {"embedding": jnp.asarray(rng.normal(size=(11, 8)), jnp.float32)}
        return made.replace(params={**made.params, "tokens": tokens})

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(text(7, 16), {"best": {}}, RunState(step=7))
    checkpoints.finish()
    checkpoints.close()
    fresh = text(0, length)
    found = start_from(fresh, str(tmp_path)).params["positions"]["embedding"]
    old, kept = text(7, 16).params["positions"]["embedding"], min(16, length)
    np.testing.assert_array_equal(found[:kept], old[:kept])
    np.testing.assert_array_equal(found[kept:], fresh.params["positions"]["embedding"][kept:])


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda f: f"{f}/nowhere", ConfigError, r"no checkpoints .*tools\.import_weights"),
        (lambda f: f"{f}@6", ConfigError, r"its checkpoints are of the steps \[5, 7\]"),
        (lambda f: f"{f}@5", DataError, "is damaged: .* is missing"),
    ],
)
def test_what_cannot_be_taken_is_one_line(change, error, says, source):
    if error is DataError:
        next(p for p in (source / "checkpoints" / "5").rglob("*") if p.is_file()).unlink()
    with pytest.raises(error, match=says):
        start_from(state(0), change(source))


def test_nothing_fits(source):
    params = {"other": {"kernel": jnp.ones((2, 2))}}
    fresh = state(0).replace(params=params, mutable={}, carry={})
    with pytest.raises(ConfigError, match=r"nothing fits: there .*kernel.*; here params/other"):
        start_from(fresh, str(source))


def test_a_run_that_starts_from_another_no_longer_needs_it(tmp_path):
    run(tmp_path / "first", "supervised", Train(steps=12, log_every=6))
    train = Train(steps=12, log_every=6, seed=4, init_from=str(tmp_path / "first"))
    run(tmp_path / "whole", "supervised", train)
    with pytest.raises(PreemptedError):
        run(tmp_path / "cut", "supervised", train, disturb=terminate_at(5))
    algorithm, pipeline, _ = toy("supervised")
    compiled = Compiled(algorithm, pipeline, mesh.make(Mesh()), train)
    shapes = abstract(compiled.shapes, compiled.shardings)
    chosen = abstract(compiled.selection_shapes, compiled.selection_shardings)
    first, begun = Checkpoints(tmp_path / "first"), Checkpoints(tmp_path / "cut")
    there, _ = first.restore(12, shapes, chosen)
    here, _ = begun.restore(0, shapes, chosen)
    jax.tree.map(np.testing.assert_array_equal, here.params, there.params)
    shutil.rmtree(tmp_path / "first")
    run(tmp_path / "cut", "supervised", train)
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
