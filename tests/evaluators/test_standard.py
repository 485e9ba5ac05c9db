"""The standard evaluator counts every example once, whatever the batches, in float64."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from evaluators import standard
from tests.training import run_folder
from training.contracts import Mean, stream
from training.figures import Figure


class Counting:
    """Evaluates "loss" to the label and "seen" to 1, over the mask; remembers the keys."""

    def __init__(self, members: int = 1):
        self.algorithm: Any = SimpleNamespace(members=members)
        self.keys: list[Any] = []

    def put(self, batch: dict[str, Any]) -> dict[str, Any]:
        return batch

    def evaluate(self, state: Any, batch: dict[str, Any], key: jax.Array) -> dict[str, Mean]:
        self.keys.append(jax.random.key_data(key))
        mask = batch["mask"]
        total = np.float32((batch["label"] * mask).sum())
        count = np.float32(mask.sum())
        if self.algorithm.members > 1:
            factors = np.arange(1, self.algorithm.members + 1, dtype=np.float32)
            return {"loss": Mean(total * factors, count * np.ones_like(factors))}
        return {"loss": Mean(total, count)}


def run(compiled: Counting, size: int) -> Any:
    pipeline = run_folder.pipeline(size)
    build = standard.build(standard.Config(), compiled.algorithm, pipeline, None)
    state: Any = run_folder.state(compiled.algorithm.members)
    return build(compiled, state)


@pytest.mark.parametrize("size", [1, 7, 64, 360, 1000])
def test_the_mean_does_not_depend_on_the_batch_size(size: int):
    report = run(Counting(), size)
    assert report.scalars == {"loss": pytest.approx(run_folder.digits()[1].mean(), abs=1e-12)}
    assert isinstance(report.scalars["loss"], float)
    figures: dict[str, Figure] = dict(report.figures)
    assert figures == {}


def test_members_get_a_mean_each():
    loss = run(Counting(members=3), 64).scalars["loss"]
    np.testing.assert_allclose(loss, run_folder.digits()[1].mean() * np.array([1, 2, 3]))


def test_every_batch_has_its_own_key_of_the_run():
    compiled = Counting()
    run(compiled, 100)
    expected = [stream(jax.random.key(0), "evaluate", i) for i in range(4)]
    np.testing.assert_array_equal(compiled.keys, [jax.random.key_data(k) for k in expected])


def test_sums_are_merged_in_float64():
    class Large(Counting):
        def evaluate(self, state: Any, batch: dict[str, Any], key: jax.Array) -> dict[str, Mean]:
            return {"loss": Mean(np.float32(2**24 if len(self.keys) == 0 else 1), np.float32(1))}

        def put(self, batch: dict[str, Any]) -> dict[str, Any]:
            return batch

    class Once(Large):
        def evaluate(self, state: Any, batch: dict[str, Any], key: jax.Array) -> dict[str, Mean]:
            mean = super().evaluate(state, batch, key)
            self.keys.append(key)
            return mean

    # In float32, 2**24 + 1 is 2**24.
    assert run(Once(), 36).scalars["loss"] == (2**24 + 9) / 10


def test_the_mean_of_nothing_is_nan():
    class Masked(Counting):
        def put(self, batch: dict[str, Any]) -> dict[str, Any]:
            return {**batch, "mask": np.zeros_like(batch["mask"])}

    assert np.isnan(run(Masked(), 64).scalars["loss"])
