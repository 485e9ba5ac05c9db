"""Segment operations against loops: empty segments, padding, masks, stability, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.graph.common.inputs import Dropout, InputDense, keep_mask
from models.graph.common.norms import NodeBatchNorm
from models.layers import segments
from tests.models import graphs

IDS = np.array([0, 0, 2, 2, 2, 3, 5, 5], np.int32)  # of 5 segments; the last two rows are padding
ROWS = np.random.default_rng(0).normal(size=(8, 3)).astype("f4")


@pytest.mark.parametrize(
    ("name", "reduce"),
    [("sum", lambda rows: rows.sum(0)), ("mean", lambda rows: rows.mean(0)),
     ("max", lambda rows: rows.max(0))],
)  # fmt: skip
def test_pools_equal_loops_and_an_empty_segment_is_zero(name, reduce):
    found = segments.POOLS[name](jnp.asarray(ROWS), jnp.asarray(IDS), 5)
    for i in range(5):
        rows = ROWS[i == IDS]
        expected = reduce(rows) if len(rows) else np.zeros(3)
        np.testing.assert_allclose(found[i], expected, rtol=1e-6)
    pooled = segments.pool(jnp.asarray(ROWS), jnp.asarray(IDS), 5, name)
    np.testing.assert_array_equal(pooled, found)
    whole = segments.pool(jnp.asarray(ROWS), None, 1, name)
    np.testing.assert_allclose(whole[0], reduce(ROWS), rtol=1e-5)


def test_an_unknown_pool_is_refused():
    with pytest.raises(ValueError, match="pool 'median': expected one of sum, mean, max"):
        segments.pool(jnp.asarray(ROWS), None, 1, "median")


def test_softmax_sums_to_one_in_each_segment_far_from_zero():
    scores = ROWS * 50 + 400
    found = np.asarray(segments.segment_softmax(scores, IDS, 5))
    for i in (0, 2, 3):
        one = np.asarray(scores[i == IDS], np.float64)
        expected = np.exp(one - one.max(0)) / np.exp(one - one.max(0)).sum(0)
        np.testing.assert_allclose(found[i == IDS], expected, atol=1e-6)


def test_masked_scores_get_nothing_and_take_nothing():
    mask = np.array([True, False, True, True, False, True, False, False])
    scores = np.where(mask[:, None], ROWS, 1e4).astype("f4")
    found = np.asarray(segments.segment_softmax(scores, IDS, 5, mask))
    assert not found[~mask].any()
    expected = segments.segment_softmax(scores[mask], IDS[mask], 5)
    np.testing.assert_allclose(found[mask], expected, rtol=1e-6)
    gradient = jax.grad(lambda s: segments.segment_softmax(s, IDS, 5, mask)[0].sum())(scores)
    assert np.isfinite(gradient).all()


def test_attention_is_the_weighted_sum_of_values():
    values = np.random.default_rng(1).normal(size=(8, 3, 2)).astype("f4")
    found = segments.attention_aggregate(ROWS, values, IDS, 5)
    weights = np.asarray(segments.segment_softmax(ROWS, IDS, 5))
    for i in range(5):
        expected = (weights[i == IDS, :, None] * values[i == IDS]).sum(0)
        np.testing.assert_allclose(found[i], expected, atol=1e-6)


def test_sparse_features_equal_dense_ones():
    dense = graphs.graph(9, seed=3)
    module = InputDense(graphs.FEATURES, 4, use_bias=True)
    variables = module.init(jax.random.key(0), dense, 9, train=False)
    expected = dense["nodes"] @ np.asarray(variables["params"]["kernel"])
    for given in (dense, graphs.sparse(dense)):
        np.testing.assert_allclose(module.apply(variables, given, 9, False), expected, atol=1e-6)


def test_dropped_bits_are_as_many_as_asked_for_and_independent():
    """Of neighbours, of keys, of rows; five standard deviations of 40000 coin tosses are .0125."""
    for rate in (0.5, 0.6):
        keep = np.asarray(keep_mask(jax.random.key(0), rate, (200, 200)))
        other = np.asarray(keep_mask(jax.random.key(1), rate, (200, 200)))
        assert abs(keep.mean() - (1 - rate)) < 0.0125
        expected = (1 - rate) ** 2
        for pair in ((keep[1:], keep[:-1]), (keep[:, 1:], keep[:, :-1]), (keep, other)):
            assert abs((pair[0] & pair[1]).mean() - expected) < 0.0125
    again = keep_mask(jax.random.key(1), 0.6, (200, 200))
    np.testing.assert_array_equal(again, other)


def test_dropout_scales_what_it_keeps_in_training_only():
    x = jnp.asarray(ROWS)
    out = Dropout(0.5).apply({}, x, True, rngs={"dropout": jax.random.key(0)})
    np.testing.assert_allclose(out[out != 0], 2 * x[out != 0])
    assert (out == 0).any()
    np.testing.assert_array_equal(Dropout(0.5).apply({}, x, False), x)


@pytest.mark.parametrize("packs", [1, 2])
def test_batch_norm_counts_real_nodes_of_all_packs(packs):
    x = np.random.default_rng(0).normal(size=(packs, 8, 3)).astype("f4") + 2
    mask = np.arange(8) < np.array([6, 3])[:packs, None]
    module = NodeBatchNorm(axis_name="packs", momentum=0.8)
    variables = NodeBatchNorm().init(jax.random.key(0), x[0], mask[0], train=False)

    def one(x, mask):
        return module.apply(variables, x, mask, True, mutable=["batch_stats"])

    out, changed = jax.vmap(one, out_axes=(0, None), axis_name="packs")(x, mask)
    seen = np.asarray(x[mask], np.float64)
    expected = (x - seen.mean(0)) / np.sqrt(seen.var(0) + 1e-5)
    np.testing.assert_allclose(np.asarray(out)[mask], expected[mask], atol=1e-4)
    np.testing.assert_allclose(changed["batch_stats"]["mean"], 0.2 * seen.mean(0), rtol=1e-4)
    still = NodeBatchNorm().apply(variables, x[0], mask[0], False)
    np.testing.assert_allclose(still, x[0] / np.sqrt(1 + 1e-5), rtol=1e-5)
