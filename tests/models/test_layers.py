"""Norms, positions, the feed-forward network and stochastic depth against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers.mlp import ACTIVATIONS, MLP, activation
from models.layers.norms import batch_norm, layer_norm
from models.layers.positions import LearnedPositions, sincos_2d, sinusoidal
from models.layers.precision import compute_dtype
from models.layers.stochastic_depth import StochasticDepth, linear_rates
from tests.models import run
from tests.oracles import layers as oracle


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


def test_layer_norm_equals_its_equation() -> None:
    x, scale, bias = normal(3, 4, 8), normal(8, seed=1), normal(8, seed=2)
    params = {"scale": scale, "bias": bias}
    out = layer_norm("norm", jnp.float32).apply({"params": params}, x)
    np.testing.assert_allclose(out, oracle.layer_norm(x, scale, bias), atol=1e-5)


def test_layer_norm_keeps_its_digits_far_from_zero() -> None:
    """E[x^2] - mean^2 is all rounding error here; the two-pass variance is not."""
    x = normal(2, 64) + np.float32(3000.0)
    params = {"scale": np.ones(64, "f4"), "bias": np.zeros(64, "f4")}
    out = layer_norm("norm", jnp.float32).apply({"params": params}, x)
    np.testing.assert_allclose(out, oracle.layer_norm(x, 1.0, 0.0), atol=2e-3)


def test_layer_norm_in_bfloat16_takes_statistics_in_float32() -> None:
    x = jnp.asarray(normal(4, 512) + 20.0, jnp.bfloat16)
    params = {"scale": np.ones(512, "f4"), "bias": np.zeros(512, "f4")}
    out = layer_norm("norm", jnp.bfloat16).apply({"params": params}, x)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(out, "f4"), oracle.layer_norm(x, 1, 0), atol=0.02)


def test_batch_norm_equals_algorithm_1_and_remembers() -> None:
    x, scale, bias = normal(6, 3, 3, 4) * 2 + 1, normal(4, seed=1), normal(4, seed=2)
    variables = {
        "params": {"scale": scale, "bias": bias},
        "batch_stats": {"mean": np.full(4, 5.0, "f4"), "var": np.full(4, 3.0, "f4")},
    }
    training = batch_norm("norm", jnp.float32, train=True, momentum=0.8)
    out, changed = training.apply(variables, x, mutable=["batch_stats"])
    expected, mean, variance = oracle.batch_norm(x, scale, bias)
    np.testing.assert_allclose(out, expected, atol=1e-4)
    np.testing.assert_allclose(changed["batch_stats"]["mean"], 0.8 * 5 + 0.2 * mean, rtol=1e-5)
    np.testing.assert_allclose(changed["batch_stats"]["var"], 0.8 * 3 + 0.2 * variance, rtol=1e-4)

    evaluating = batch_norm("norm", jnp.float32, train=False)
    out, changed = evaluating.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(out, scale * (x - 5) / np.sqrt(3 + 1e-5) + bias, atol=1e-4)
    jax.tree.map(np.testing.assert_array_equal, changed["batch_stats"], variables["batch_stats"])


def test_batch_norm_statistics_stay_float32_in_bfloat16() -> None:
    module = batch_norm("norm", jnp.bfloat16, train=True)
    x = jnp.ones((2, 3, 3, 4), jnp.bfloat16)
    out, variables = module.init_with_output(jax.random.key(0), x)
    assert out.dtype == jnp.bfloat16
    assert {str(a.dtype) for a in jax.tree.leaves(variables)} == {"float32"}


def test_sinusoidal_positions_equal_section_3_5() -> None:
    table = sinusoidal(11, 8)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, oracle.sinusoidal(11, 8), atol=1e-6)
    with pytest.raises(ValueError, match="even width, not 7"):
        sinusoidal(3, 7)


def test_sincos_2d_positions_equal_their_definition() -> None:
    table = sincos_2d(3, 5, 16)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, oracle.sincos_2d(3, 5, 16), atol=1e-6)
    with pytest.raises(ValueError, match="divisible by 4, not 10"):
        sincos_2d(2, 2, 10)


def test_learned_positions_start_with_the_std_asked_for() -> None:
    x = jnp.zeros((1, 200, 50))
    for std in (0.02, 0.5):
        module = LearnedPositions(std)
        out, variables = module.init_with_output(jax.random.key(0), x)
        embedding = variables["params"]["embedding"]
        assert abs(float(embedding.std()) / std - 1) < 0.03
        np.testing.assert_array_equal(out[0], embedding)
    half = module.apply(variables, x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16


def test_mlp_equals_equation_2() -> None:
    module = MLP(6, activation="gelu")
    x = normal(2, 3, 4)
    params = run.init(module, x)["params"]
    assert jax.tree.map(jnp.shape, params) == {
        "hidden": {"kernel": (4, 6), "bias": (6,)},
        "out": {"kernel": (6, 4), "bias": (4,)},
    }
    hidden = oracle.gelu(x @ np.asarray(params["hidden"]["kernel"], np.float64))
    expected = hidden @ np.asarray(params["out"]["kernel"], np.float64)
    np.testing.assert_allclose(module.apply({"params": params}, x, False), expected, atol=1e-5)


def test_activations_are_told_apart() -> None:
    x = jnp.linspace(-3.0, 3.0, 31)
    curves = {name: np.asarray(activation(name)(x)) for name in ACTIVATIONS}
    assert len({tuple(curve.round(7)) for curve in curves.values()}) == len(ACTIVATIONS)
    np.testing.assert_allclose(curves["gelu"], oracle.gelu(x), atol=1e-6)
    np.testing.assert_allclose(curves["gelu_tanh"], oracle.gelu(x), atol=1e-3)
    with pytest.raises(ValueError, match="'swoosh': expected one of relu"):
        activation("swoosh")


def test_mlp_drops_only_in_training() -> None:
    module, x = MLP(64, dropout_rate=0.5), jnp.ones((2, 3, 32))
    variables = run.init(module, x)
    plain = module.apply(variables, x, train=False)
    np.testing.assert_array_equal(plain, module.apply(variables, x, train=False))
    dropped = module.apply(variables, x, train=True, rngs={"dropout": jax.random.key(1)})
    assert 0.3 < float((dropped == 0).mean()) < 0.7


def test_stochastic_depth_skips_whole_examples_and_keeps_the_mean() -> None:
    branch, rate = jnp.asarray(normal(4000, 3, 2)) + 2.0, 0.3
    out = StochasticDepth().apply(
        {}, branch, jnp.float32(rate), True, rngs={"dropout": jax.random.key(0)}
    )
    kept = np.any(out != 0, axis=(1, 2))
    np.testing.assert_allclose(out[kept], branch[kept] / (1 - rate), rtol=1e-6)
    assert not np.any(out[~kept])
    # Five standard deviations of a mean of 4000 coin tosses.
    assert abs(kept.mean() - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / 4000)
    np.testing.assert_allclose(out.mean(0), branch.mean(0), atol=0.12)


def test_stochastic_depth_is_the_identity_in_evaluation_and_at_rate_0() -> None:
    branch, module = jnp.asarray(normal(5, 2)), StochasticDepth()
    np.testing.assert_array_equal(module.apply({}, branch, 0.9, False), branch)
    kept = module.apply({}, branch, 0.0, True, rngs={"dropout": jax.random.key(0)})
    np.testing.assert_array_equal(kept, branch)


def test_stochastic_depth_rates_grow_linearly() -> None:
    np.testing.assert_allclose(linear_rates(5, 0.2), [0.0, 0.05, 0.1, 0.15, 0.2], atol=1e-7)
    assert linear_rates(1, 0.2).tolist() == [0.0]


def test_compute_dtype_names_the_accepted() -> None:
    assert compute_dtype("bfloat16") == jnp.bfloat16
    with pytest.raises(ValueError, match="dtype 'float8': expected one of float32, bfloat16"):
        compute_dtype("float8")
