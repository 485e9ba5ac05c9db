"""Positions: what each adds or turns, against its paper's formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers import positions
from tests.oracles import layers
from tests.oracles import positions as oracle


def test_sinusoids_of_any_positions_are_the_tables_rows() -> None:
    where = jnp.asarray([[0, 3, 7], [600, 2, 2]])
    table = layers.sinusoidal(601, 10)
    np.testing.assert_allclose(positions.sinusoidal_at(where, 10), table[where], atol=1e-4)
    with pytest.raises(ValueError, match="even width, not 5"):
        positions.sinusoidal_at(where, 5)


def test_rotary_turns_pairs() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 2, 6)).astype("f4")
    where = np.array([[0, 1, 2], [9, 4, 30]])
    turned = positions.rotary(jnp.asarray(x), jnp.asarray(where))
    np.testing.assert_allclose(turned, oracle.rotary(x, where), atol=1e-5)
    np.testing.assert_allclose(turned[0, 0], x[0, 0], atol=1e-7)
    with pytest.raises(ValueError, match="even head width, not 3"):
        positions.rotary(jnp.asarray(x[..., :3]), jnp.asarray(where))


def test_rotary_scores_depend_on_the_distance_alone() -> None:
    rng = np.random.default_rng(0)
    query, key = jnp.asarray(rng.normal(size=(2, 1, 1, 1, 8)), jnp.float32)
    at = lambda x, p: positions.rotary(x, jnp.asarray([p]))  # noqa: E731
    score = lambda i, j: float((at(query, i) * at(key, j)).sum())  # noqa: E731
    np.testing.assert_allclose(score(3, 1), score(103, 101), atol=1e-4)
    assert abs(score(3, 1) - score(3, 2)) > 1e-3


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_rotary_keeps_the_dtype_and_turns_in_float32(dtype) -> None:
    x = jnp.ones((1, 1, 1, 4), dtype)
    turned = positions.rotary(x, jnp.asarray([5001]))
    assert turned.dtype == dtype
    exact = oracle.rotary(np.ones((1, 1, 1, 4)), [[5001]])
    np.testing.assert_allclose(np.asarray(turned, "f4"), exact, atol=0.01)


def test_alibi_falls_linearly_with_slopes_of_powers_of_two() -> None:
    distance = jnp.arange(5) - jnp.arange(5)[:, None]
    np.testing.assert_allclose(positions.alibi(distance, 8), oracle.alibi(5, 8), rtol=1e-6)


def test_alibi_of_other_numbers_of_heads_takes_slopes_between() -> None:
    """The paper's rule for 12 heads: those of 8, then every other one of 16."""
    slopes = positions.alibi_slopes(12)
    np.testing.assert_allclose(slopes[:8], 2.0 ** -np.arange(1, 9))
    np.testing.assert_allclose(slopes[8:], 2.0 ** -np.array([0.5, 1.5, 2.5, 3.5]))
    assert len(positions.alibi_slopes(1)) == 1


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("buckets", "furthest"), [(32, 128), (8, 20)])
def test_buckets_are_t5s(buckets: int, furthest: int, causal: bool) -> None:
    distance = np.arange(-300, 301)
    expected = [oracle.bucket(int(d), buckets, furthest, causal) for d in distance]
    found = positions.relative_bucket(jnp.asarray(distance), buckets, furthest, causal)
    np.testing.assert_array_equal(found, expected)
    assert set(expected) == set(range(buckets)) - ({buckets // 2} if not causal else set())


def test_relative_bias_looks_its_bucket_up_for_each_head() -> None:
    module = positions.RelativeBias(heads=3, causal=True, buckets=8, furthest=20)
    variables = module.init(jax.random.key(0))
    embedding = variables["params"]["embedding"]
    assert embedding.shape == (8, 3)
    distance = jnp.asarray([[0, -1], [5, -19]])
    bias = module.apply(variables)(distance)
    bucket = positions.relative_bucket(distance, 8, 20, True)
    for h in range(3):
        np.testing.assert_array_equal(bias[h], embedding[bucket, h])
