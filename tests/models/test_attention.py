"""Attention against its definition, and what its mask, kernel and sown weights promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers import attention
from models.layers.attention import attend, attention_weights, weighted_values
from models.layers.multi_head import MultiHeadAttention
from tests.models import run
from tests.oracles import attention as oracle

B, L, M, H, K = 2, 5, 7, 3, 4


def arrays(seed: int = 0, keys: int = M):
    rng = np.random.default_rng(seed)
    query = rng.normal(size=(B, L, H, K)).astype("f4")
    key, value = rng.normal(size=(2, B, keys, H, K)).astype("f4")
    mask = rng.random((B, H, L, keys)) < 0.6
    mask[0, 0, 0] = False
    bias = rng.normal(size=(B, H, L, keys)).astype("f4")
    return query, key, value, mask, bias


@pytest.mark.parametrize("kernel", ["auto", "xla"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_kernels_equal_equation_1(kernel: str, masked: bool, biased: bool) -> None:
    query, key, value, mask, bias = arrays()
    options = {"mask": mask if masked else None, "bias": bias if biased else None}
    out, weights = oracle.attention(query, key, value, **options)
    options = {k: None if v is None else jnp.asarray(v) for k, v in options.items()}
    query, key, value = map(jnp.asarray, (query, key, value))
    np.testing.assert_allclose(attention_weights(query, key, **options), weights, atol=1e-5)
    np.testing.assert_allclose(attend(query, key, value, kernel=kernel, **options), out, atol=1e-5)
    shown = weighted_values(attention_weights(query, key, **options), value)
    np.testing.assert_allclose(shown, out, atol=1e-5)


@pytest.mark.parametrize("kernel", ["auto"])
@pytest.mark.parametrize("keys", [L, L + 2])
@pytest.mark.parametrize("masked", [False, True])
def test_causal_is_the_triangular_mask(kernel: str, keys: int, masked: bool) -> None:
    """The last query sees every key, and each query before it one fewer."""
    query, key, value, mask, _ = arrays(keys=keys)
    triangle = np.arange(keys)[None] <= np.arange(L)[:, None] + keys - L
    expected = np.broadcast_to(triangle, mask.shape) & (mask if masked else True)
    out, weights = oracle.attention(query, key, value, expected)
    given = {"mask": jnp.asarray(mask) if masked else None, "causal": True}
    np.testing.assert_allclose(attention_weights(query, key, **given), weights, atol=1e-5)
    np.testing.assert_allclose(attend(query, key, value, kernel=kernel, **given), out, atol=1e-5)


@pytest.mark.parametrize("kernel", ["auto"])
def test_mask_broadcasts_over_heads_and_queries(kernel: str) -> None:
    query, key, value, _, _ = arrays()
    padding = np.arange(M) < np.array([4, M])[:, None]
    full = np.broadcast_to(padding[:, None, None], (B, H, L, M))
    narrow = attend(query, key, value, mask=jnp.asarray(padding[:, None, None]), kernel=kernel)
    wide = attend(query, key, value, mask=jnp.asarray(full), kernel=kernel)
    np.testing.assert_array_equal(narrow, wide)


@pytest.mark.parametrize("kernel", ["auto"])
def test_masked_keys_have_no_gradient(kernel: str) -> None:
    """What a mask hides can have no influence, so that the output's derivative by it is zero."""
    query, key, value, _, _ = arrays()
    mask = jnp.asarray(np.arange(M) < 4)[None, None, None]

    def total(key, value):
        return (attend(query, key, value, mask=mask, kernel=kernel) ** 2).sum()

    for gradient in jax.grad(total, (0, 1))(jnp.asarray(key), jnp.asarray(value)):
        assert not np.any(gradient[:, 4:])
        assert np.all(np.any(gradient[:, :4], axis=(0, 2, 3)))


@pytest.mark.parametrize("kernel", ["auto"])
def test_a_query_that_sees_nothing_is_zero_with_finite_gradients(kernel: str) -> None:
    query, key, value, _, _ = arrays()
    mask = jnp.zeros((1, 1, 1, M), bool)
    assert not np.any(attend(query, key, value, mask=mask, kernel=kernel))

    def total(query, key, value):
        shown = weighted_values(attention_weights(query, key, mask=mask), value)
        return (shown + attend(query, key, value, mask=mask, kernel=kernel)).sum()

    for gradient in jax.grad(total, (0, 1, 2))(*map(jnp.asarray, (query, key, value))):
        assert not np.any(gradient)


def test_unknown_kernel_names_the_known_ones() -> None:
    query, key, value, _, _ = arrays()
    with pytest.raises(ValueError, match=r"'magic': expected one of auto, xla, cudnn, tpu"):
        attend(query, key, value, kernel="magic")


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_softmax_is_float32_in_half_precision(dtype) -> None:
    """Scores hundreds apart, whose differences a half-precision softmax would have rounded away."""
    query, key, value = (jnp.asarray(a * 30, dtype) for a in arrays()[:3])
    weights = attention_weights(query, key)
    assert weights.dtype == jnp.float32
    exact = oracle.attention(query, key, value)
    np.testing.assert_allclose(weights, exact[1], atol=1e-4)
    out = attend(query, key, value)
    assert out.dtype == dtype
    np.testing.assert_allclose(np.asarray(out, "f4"), exact[0], atol=0.5, rtol=0.02)


def layer(**options):
    module = MultiHeadAttention(num_heads=H, **options)
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(B, L, 12)), jnp.float32)
    context = jnp.asarray(rng.normal(size=(B, M, 12)), jnp.float32)
    params = run.params(module, x, context)
    return module, params, x, context


def test_multi_head_layer_equals_section_3_2_2() -> None:
    module, params, x, context = layer()
    assert jax.tree.map(jnp.shape, params) == {
        "query": {"kernel": (12, H, 4), "bias": (H, 4)},
        "key": {"kernel": (12, H, 4), "bias": (H, 4)},
        "value": {"kernel": (12, H, 4), "bias": (H, 4)},
        "out": {"kernel": (H, 4, 12), "bias": (12,)},
    }
    out = run.apply(module, {"params": params}, x, context, train=False)
    np.testing.assert_allclose(out, oracle.multi_head(params, x, context), atol=1e-4)
    itself = run.apply(module, {"params": params}, x, train=False)
    np.testing.assert_allclose(itself, oracle.multi_head(params, x, x), atol=1e-4)


def test_head_width_and_bias_are_options() -> None:
    module = MultiHeadAttention(num_heads=5, head_width=2, use_bias=False)
    shapes = jax.eval_shape(
        lambda k: module.init(k, jnp.zeros((1, 3, 12)), train=False), jax.random.key(0)
    )
    assert jax.tree.map(lambda a: a.shape, shapes["params"]) == {
        **{name: {"kernel": (12, 5, 2)} for name in ("query", "key", "value")},
        "out": {"kernel": (5, 2, 12)},
    }


def test_weights_are_sown_only_where_they_are_asked_for() -> None:
    """Without a mutable collection nothing of the shape [b, h, l, m] leaves the kernel."""
    module, params, x, context = layer()
    plain = run.apply(module, {"params": params}, x, context, train=False)
    out, sown = run.apply(
        module, {"params": params}, x, context, train=False, mutable=["intermediates"]
    )
    (weights,) = sown["intermediates"]["attention"]
    assert weights.shape == (B, H, L, M)
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(out, plain, atol=1e-6)


def test_layer_uses_the_kernel_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def spy(*args):
        called.append("spy")
        return attention.KERNELS["xla"](*args)

    monkeypatch.setattr(attention, "KERNELS", {**attention.KERNELS, "spy": spy})
    module, params, x, context = layer(kernel="spy")
    called.clear()
    run.apply(module, {"params": params}, x, context, train=True)
    assert called == ["spy"]


def test_dropout_hits_the_weights_in_training_only() -> None:
    module, params, x, context = layer(dropout_rate=0.5)
    plain = run.apply(module, {"params": params}, x, context, train=False)
    np.testing.assert_allclose(plain, oracle.multi_head(params, x, context), atol=1e-4)
    dropped = [
        run.apply(module, {"params": params}, x, context, seed=seed, train=True) for seed in (3, 4)
    ]
    assert not np.allclose(plain, dropped[0]) and not np.allclose(*dropped)


def test_width_must_divide_by_heads() -> None:
    with pytest.raises(ValueError, match="width 10 is not divisible by 3 heads"):
        MultiHeadAttention(num_heads=3).init(jax.random.key(0), jnp.zeros((1, 2, 10)), train=False)
