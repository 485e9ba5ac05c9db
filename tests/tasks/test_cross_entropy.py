"""Cross-entropy and ranks against their float64 definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tasks.common.cross_entropy import cross_entropy, hard_labels, in_top
from tests.oracles import cross_entropy as oracle

N, K = 40, 7
RNG = np.random.default_rng(0)
LOGITS = (RNG.normal(size=(N, K)) * 4).astype("f4")
CLASSES = RNG.integers(0, K, N).astype("i4")
MIXED = RNG.dirichlet(np.ones(K), N).astype("f4")


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("labels", [CLASSES, MIXED], ids=["classes", "mixed"])
def test_cross_entropy_equals_its_definition(labels: np.ndarray, smoothing: float) -> None:
    loss = jax.jit(cross_entropy, static_argnums=2)(LOGITS, labels, smoothing)
    assert loss.dtype == jnp.float32
    expected = oracle.cross_entropy(LOGITS, labels, smoothing)
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-6)


def test_a_class_is_a_distribution_with_one_entry() -> None:
    one_hot = jax.nn.one_hot(CLASSES, K)
    for smoothing in (0.0, 0.2):
        losses = [cross_entropy(jnp.asarray(LOGITS), y, smoothing) for y in (CLASSES, one_hot)]
        np.testing.assert_allclose(*losses, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(hard_labels(LOGITS, one_hot), CLASSES)


def test_large_logits_of_any_dtype_stay_finite() -> None:
    logits = jnp.array([[1e4, -1e4, 0.0]], jnp.bfloat16)
    gradient = jax.grad(lambda x: cross_entropy(x, jnp.array([1])).sum())(logits)
    loss = cross_entropy(logits, jnp.array([1]))
    assert loss.dtype == jnp.float32 and 1.9e4 < float(loss[0]) < 2.1e4
    assert np.isfinite(np.asarray(gradient, "f4")).all()


def test_leading_axes_are_free() -> None:
    """A token's loss is an example's: [b, l, k] is [b l, k] folded."""
    flat = cross_entropy(jnp.asarray(LOGITS), jnp.asarray(CLASSES), 0.1)
    folded = cross_entropy(LOGITS.reshape(4, 10, K), CLASSES.reshape(4, 10), 0.1)
    np.testing.assert_allclose(folded.reshape(-1), flat, rtol=1e-6)
    folded = in_top(LOGITS.reshape(4, 10, K), CLASSES.reshape(4, 10), 2)
    np.testing.assert_array_equal(folded.reshape(-1), in_top(jnp.asarray(LOGITS), CLASSES, 2))


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("ties", [False, True])
def test_in_top_is_a_stable_sort(k: int, ties: bool) -> None:
    logits = LOGITS.round() if ties else LOGITS
    expected = oracle.in_top(logits, CLASSES, k)
    np.testing.assert_array_equal(in_top(jnp.asarray(logits), jnp.asarray(CLASSES), k), expected)
    if k == 1:
        np.testing.assert_array_equal(expected, logits.argmax(-1) == CLASSES)


def test_nan_is_never_right() -> None:
    logits = jnp.full((2, K), jnp.nan)
    assert not np.any(in_top(logits, jnp.array([0, 6]), 5))
