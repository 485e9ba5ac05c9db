"""Every algorithm: pure functions of a state whose structure never changes, traced once.

An algorithm is tried on the first config that uses it, made small by --smoke; the ensemble, which
wraps any other, on the default config with two members.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

from tools import find, parts, resolve
from training import mesh
from training.compiled import Compiled
from training.contracts import Mean, TrainState

NAMES = find.names("algorithm")


@dataclass
class Counted:
    """An algorithm that counts how often its update is traced."""

    algorithm: Any
    traces: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.algorithm, name)

    def update(self, state: TrainState, batch: Any) -> Any:
        self.traces += 1
        return self.algorithm.update(state, batch)


@cache
def values(name: str) -> dict[str, Any]:
    changes = ["train.ensemble=2"] if name == "ensemble" else []
    for config in ("vision/vit_digits", *find.configs()):
        file = resolve.load_file(f"configs/{config}.py")
        small = resolve.resolve(file, changes, smoke=True)
        if name in (small["algorithm"]["name"], "ensemble"):
            return small
    raise AssertionError(f"no config uses the algorithm {name}")


@cache
def built(name: str) -> tuple[parts.Parts, Compiled]:
    made = parts.build(values(name))
    devices = mesh.make(made.settings.mesh)
    return made, Compiled(made.algorithm, made.train, devices, made.settings.train)


def state_after(name: str, steps: int) -> TrainState:
    made, compiled = built(name)
    state = compiled.init(0)
    active = np.ones(made.algorithm.members, bool)
    batches = made.train.batches(0)
    for _ in range(steps):
        state, _ = compiled.update(state, compiled.put_stacked(next(batches)), active)
    return state


def held_out(name: str) -> dict[str, np.ndarray]:
    """The last batch of the test split, which is partly padding."""
    made, _ = built(name)
    *_, last = made.pipeline("test").batches(0)
    assert not last["mask"].all()
    return last


def identical(one: Any, two: Any) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for path, leaf in jax.tree_util.tree_leaves_with_path(one):
        other = dict(jax.tree_util.tree_leaves_with_path(two))[path]
        np.testing.assert_array_equal(raw(leaf), raw(other), err_msg=jax.tree_util.keystr(path))


def raw(leaf: Any) -> Any:
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def test_algorithms_are_found() -> None:
    assert {"supervised", "ensemble"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_state_out_is_like_state_in(name: str) -> None:
    made, compiled = built(name)
    batch = dict(made.train.specs[0])
    after, metrics = jax.eval_shape(made.algorithm.update, compiled.shapes, batch)
    assert jax.tree.structure(after) == jax.tree.structure(compiled.shapes)
    kinds = [[(x.shape, x.dtype) for x in jax.tree.leaves(s)] for s in (compiled.shapes, after)]
    assert kinds[0] == kinds[1]
    assert all(isinstance(mean, Mean) for mean in metrics.values())
    assert "nonfinite" in metrics


@pytest.mark.parametrize("name", NAMES)
def test_one_trace_serves_many_steps(name: str) -> None:
    made, _ = built(name)
    counted = Counted(made.algorithm)
    devices = mesh.make(made.settings.mesh)
    compiled = Compiled(counted, made.train, devices, made.settings.train)
    state, active = compiled.init(0), np.ones(made.algorithm.members, bool)
    batches = made.train.batches(0)
    for _ in range(5):
        state, _ = compiled.update(state, compiled.put_stacked(next(batches)), active)
    assert counted.traces == 1


@pytest.mark.parametrize("name", NAMES)
def test_an_update_counts_one_step_and_keeps_the_key(name: str) -> None:
    before, after = state_after(name, 0), state_after(name, 3)
    assert np.all(np.asarray(after.step) == 3)
    np.testing.assert_array_equal(raw(before.key), raw(after.key))
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), before.params, after.params)
    assert any(jax.tree.leaves(changed))


@pytest.mark.parametrize("name", NAMES)
def test_an_update_depends_on_its_arguments_alone(name: str) -> None:
    identical(state_after(name, 3), state_after(name, 3))


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_all_that_evaluation_reads(name: str) -> None:
    made, compiled = built(name)
    state, batch, key = state_after(name, 2), held_out(name), jax.random.key(1)
    weights = made.algorithm.weights(state)
    assert len(jax.tree.leaves(weights)) < len(jax.tree.leaves(state))
    identical(compiled.evaluate(state, batch, key), compiled.evaluate(weights, batch, key))
    identical(compiled.predict(state, batch, key), compiled.predict(weights, batch, key))
    identical(made.algorithm.weights(weights), weights)


@pytest.mark.parametrize("name", NAMES)
def test_padding_counts_for_nothing(name: str) -> None:
    _, compiled = built(name)
    state, batch, key = state_after(name, 1), held_out(name), jax.random.key(1)
    garbage = {
        k: v if k in ("mask", "index") else np.where(_like(batch["mask"], v), v, v[:1] * 0 + 3)
        for k, v in batch.items()
    }
    means = compiled.evaluate(state, batch, key)
    identical(means, compiled.evaluate(state, garbage, key))
    assert all(np.all(np.asarray(m.count) <= batch["mask"].sum()) for m in means.values())


def _like(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    return mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim))


@pytest.mark.parametrize("name", NAMES)
def test_a_member_is_one_state(name: str) -> None:
    made, _ = built(name)
    algorithm, state = made.algorithm, state_after(name, 1)
    assert np.shape(state.step) == ((algorithm.members,) if algorithm.members > 1 else ())
    for index in range(algorithm.members):
        member = algorithm.member(state, index)
        assert np.shape(member.step) == ()
        assert jax.tree.structure(member.params) == jax.tree.structure(state.params)
    with pytest.raises((ValueError, IndexError)):
        algorithm.member(state, algorithm.members)
