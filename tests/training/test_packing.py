"""A call's metrics as one array."""

import jax
import jax.numpy as jnp
import numpy as np

from training.contracts import Mean
from training.packing import Packed


def test_what_is_packed_in_a_compiled_function_is_read_back():
    means = {
        "loss": Mean(jnp.float32(3.5), jnp.float32(2)),
        "accuracy": Mean(jnp.array([1.0, 4.0, 2.0]), jnp.array([8, 8, 8])),
        "table": Mean(jnp.arange(4.0).reshape(2, 2), jnp.full((2, 2), 2.0)),
    }
    found = jax.jit(Packed.of)(means).read()
    assert list(found) == ["accuracy", "loss", "table"]
    for name, mean in means.items():
        np.testing.assert_array_equal(found[name].total, mean.total)
        np.testing.assert_array_equal(found[name].count, mean.count)
        assert found[name].total.dtype == np.float64
    assert found["loss"].compute() == 1.75


def test_an_update_without_metrics_packs_nothing():
    assert jax.jit(Packed.of)({}).read() == {}
