"""Checkpoints: what was written is what comes back, and a damaged one is passed over by name."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training.checkpoint import Checkpoints, RunState, abstract, pack_means, unpack_means
from training.contracts import ConfigError, DataError, Mean, TrainState

HERE = jax.sharding.SingleDeviceSharding(jax.devices()[0])


def state(step: int) -> TrainState:
    params = {"dense": {"kernel": jnp.arange(6.0).reshape(2, 3) / (step + 1)}}
    carry = {"half": jnp.full(3, step / 3, jnp.bfloat16)}
    return TrainState(jnp.int32(step), jax.random.key(1), params, (), {}, carry)


def shapes(tree):
    return abstract(
        jax.eval_shape(lambda: tree), jax.tree.map(lambda _: HERE, jax.eval_shape(lambda: tree))
    )


@pytest.fixture
def folder(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(state(step), {"best": {}}, RunState(step=step, metrics_bytes=10 * step))
    checkpoints.finish()
    checkpoints.close()
    return tmp_path


def test_the_last_two_are_kept_each_with_its_manifest(folder):
    checkpoints = Checkpoints(folder)
    assert checkpoints.steps() == [2, 3] and checkpoints.latest() == 3
    assert sorted(p.name for p in (folder / "checkpoints").glob("*.sha256")) == [
        "2.sha256",
        "3.sha256",
    ]


def test_arrays_keys_and_run_state_come_back_as_they_were(folder):
    checkpoints = Checkpoints(folder)
    found, _ = checkpoints.restore(3, shapes(state(3)), shapes({"best": {}}))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(state(3)), strict=True):
        assert a.dtype == b.dtype
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)
    assert checkpoints.restore_run(2) == RunState(step=2, metrics_bytes=20)


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, lambda path: path.unlink()])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(damage, folder, caplog):
    largest = max(
        (p for p in (folder / "checkpoints" / "3").rglob("*") if p.is_file()),
        key=lambda p: p.stat().st_size,
    )
    damage(largest)
    logging.getLogger("reprise").propagate = True
    with caplog.at_level(logging.WARNING):
        assert Checkpoints(folder).latest() == 2
    assert "checkpoint 3 is damaged" in caplog.text and largest.name in caplog.text


def test_an_unfinished_save_is_no_checkpoint(folder):
    (folder / "checkpoints" / "4.orbax-checkpoint-tmp").mkdir()
    assert Checkpoints(folder).latest() == 3


def test_other_shapes_are_one_line(folder):
    other = state(3).replace(params={"dense": {"kernel": jnp.zeros((5, 5))}})
    with pytest.raises(DataError, match="cannot be restored"):
        Checkpoints(folder).restore(3, shapes(other), shapes({"best": {}}))


def test_a_later_format_is_refused():
    with pytest.raises(ConfigError, match="format 99"):
        RunState.from_json({"format": 99})


def test_open_means_survive_json_exactly():
    means = {"loss": Mean(np.float64(1 / 3), np.float64(7)), "m": Mean(np.ones(2), np.ones(2))}
    import json

    back = unpack_means(json.loads(json.dumps(pack_means(means))))
    for name, mean in means.items():
        np.testing.assert_array_equal(back[name].total, mean.total)
        np.testing.assert_array_equal(back[name].count, mean.count)
