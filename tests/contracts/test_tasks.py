"""Every task, found by listing the tree: pure functions of arrays that honour the mask."""

import dataclasses
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.contracts import examples
from tests.contracts.examples import BATCH
from tests.models import run
from tools import find
from training.contracts import Aux, Mean

NAMES = find.names("task")
KEY = jax.random.key(0)


def example(name: str) -> examples.Example:
    return examples.of_model(examples.of_task(name))


def batch(name: str, seed: int = 0) -> dict[str, np.ndarray]:
    return example(name).batch(seed)


@cache
def started(name: str) -> tuple[Any, Any, Any]:
    """(task, params, mutable) over a tiny model."""
    part, model_name = find.part("task", name), examples.of_task(name)
    module, info = find.part("model", model_name), examples.of_model(model_name).info
    fields = {**module.TINY, **examples.FIELDS.get(name, {})}
    model = module.build(module.Config(**fields), info)
    task = part.build(part.Config(**part.TINY), model, info)
    params, mutable = run.jit(task.init)(KEY, batch(name))
    return task, params, mutable


def losses(task: Any) -> dict[str, Any]:
    return dict(task.losses) if hasattr(task, "losses") else {"loss": task.loss}


def evaluated(name: str, loss: Any, data: dict[str, np.ndarray], train: bool) -> tuple[Any, Aux]:
    _, params, mutable = started(name)
    return run.jit(loss, static_argnums=5)(params, mutable, data, KEY, jnp.int32(0), train)


def test_tasks_are_found() -> None:
    assert "classification" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_file_has_what_every_part_has(name: str) -> None:
    part = find.part("task", name)
    assert dataclasses.is_dataclass(part.Config) and part.Config.__dataclass_params__.frozen
    fields = {f.name for f in dataclasses.fields(part.Config)}
    assert set(part.TINY) <= fields
    documented = part.Config.__doc__ or ""
    assert not [f for f in fields if f not in documented]


@pytest.mark.parametrize("name", NAMES)
def test_what_it_needs_is_in_its_batches(name: str) -> None:
    task, _, _ = started(name)
    assert task.needs and set(task.needs) <= set(batch(name))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("train", [False, True])
def test_loss_is_a_finite_scalar_with_means(name: str, train: bool) -> None:
    task, _, mutable = started(name)
    for loss in losses(task).values():
        value, aux = evaluated(name, loss, batch(name), train)
        assert value.shape == () and value.dtype == jnp.float32 and np.isfinite(value)
        assert aux.metrics
        for mean in aux.metrics.values():
            assert isinstance(mean, Mean) and np.isfinite(mean.compute()).all()
        assert jax.tree.structure(aux.mutable) == jax.tree.structure(mutable)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_is_a_function_of_its_arguments(name: str) -> None:
    task, params, mutable = started(name)
    for loss in losses(task).values():
        compiled = run.jit(loss, static_argnums=5)
        values = [
            compiled(params, mutable, batch(name), KEY, jnp.int32(s), False)[0] for s in (0, 1)
        ]
        assert values[0] == values[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("train", [False, True])
def test_padding_counts_nowhere(name: str, train: bool) -> None:
    """The sums over a batch with two padded examples are those over the others alone.

    In training only where nothing is shared by the examples of a batch.
    """
    task, _, mutable = started(name)
    if train and mutable:
        train = False
    data, kept = batch(name), BATCH - 2
    mask = np.arange(BATCH) < kept
    alone = example(name).rows(data, slice(kept))
    for loss in losses(task).values():
        value, aux = evaluated(name, loss, {**data, "mask": mask}, train)
        expected, expected_aux = evaluated(name, loss, alone, train)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        assert set(aux.metrics) == set(expected_aux.metrics)
        for key, mean in aux.metrics.items():
            np.testing.assert_allclose(mean.total, expected_aux.metrics[key].total, rtol=1e-5)
            np.testing.assert_array_equal(mean.count, expected_aux.metrics[key].count)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["predict", "explain"])
def test_predictions_have_an_entry_an_example(name: str, method: str) -> None:
    task, params, mutable = started(name)
    if method == "explain" and not hasattr(task, "explain"):
        return
    compiled, data = run.jit(getattr(task, method)), batch(name)
    arrays = compiled(params, mutable, data, KEY)
    assert arrays and all(a.shape[0] == BATCH for a in arrays.values())
    reversed_data = example(name).rows(data, slice(None, None, -1))
    for key, array in compiled(params, mutable, reversed_data, KEY).items():
        np.testing.assert_allclose(array, arrays[key][::-1], rtol=1e-4, atol=1e-6)
