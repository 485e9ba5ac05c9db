"""Grouped heads, packed documents, and kernels that a program cannot have."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers import attention, devices
from models.layers.attention import (
    attend,
    attention_weights,
    length_mask,
    segment_mask,
    weighted_values,
)
from models.layers.multi_head import MultiHeadAttention
from tests.models import run
from tests.oracles import attention as oracle

B, L, H, N, K = 2, 6, 6, 2, 4


def arrays():
    rng = np.random.default_rng(0)
    query = rng.normal(size=(B, L, H, K)).astype("f4")
    key, value = rng.normal(size=(2, B, L, N, K)).astype("f4")
    return query, key, value


def repeated(array):
    """Head n serves the H / N query heads from n H / N on."""
    return np.repeat(array, H // N, axis=2)


@pytest.mark.parametrize("causal", [False, True])
def test_grouped_heads_are_repeated_heads(causal: bool) -> None:
    query, key, value = arrays()
    rng = np.random.default_rng(1)
    mask = rng.random((B, H, L, L)) < 0.7
    bias = rng.normal(size=(B, H, L, L)).astype("f4")
    seen = mask & (np.tri(L, dtype=bool) if causal else True)
    out, weights = oracle.attention(query, repeated(key), repeated(value), seen, bias)
    given = {"mask": jnp.asarray(mask), "bias": jnp.asarray(bias), "causal": causal}
    query, key, value = map(jnp.asarray, (query, key, value))
    found = attention_weights(query, key, **given)
    np.testing.assert_allclose(found, weights, atol=1e-5)
    np.testing.assert_allclose(weighted_values(found, value), out, atol=1e-5)
    np.testing.assert_allclose(attend(query, key, value, **given), out, atol=1e-5)


def test_layer_of_grouped_heads_has_fewer_keys_and_values() -> None:
    x = jnp.zeros((1, 3, 12))
    module = MultiHeadAttention(num_heads=6, kv_heads=2)
    shapes = jax.tree.map(jnp.shape, run.init(module, x)["params"])
    assert shapes["key"]["kernel"] == shapes["value"]["kernel"] == (12, 2, 2)
    assert shapes["query"]["kernel"] == (12, 6, 2)
    with pytest.raises(ValueError, match="6 heads cannot share 4 of keys and values"):
        MultiHeadAttention(num_heads=6, kv_heads=4).init(jax.random.key(0), x, train=False)


SEGMENTS = np.array([[1, 1, 2, 2, 2, 0], [1, 2, 2, 3, 3, 3]])


def test_segments_see_themselves_and_padding_nothing() -> None:
    mask = np.asarray(segment_mask(jnp.asarray(SEGMENTS)))[:, 0]
    for b, i, j in np.ndindex(mask.shape):
        expected = SEGMENTS[b, i] == SEGMENTS[b, j] and SEGMENTS[b, j] > 0
        assert mask[b, i, j] == expected


@pytest.mark.parametrize("causal", [False, True])
def test_segments_are_a_block_diagonal_mask(causal: bool) -> None:
    query, key, value = map(jnp.asarray, arrays())
    segments = jnp.asarray(SEGMENTS)
    out = attend(query, key, value, segments=segments, causal=causal)
    mask = segment_mask(segments)
    expected = attend(query, key, value, mask=mask, causal=causal)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    assert not np.any(out[0, 5])


@pytest.mark.parametrize(
    ("kernel", "dtype", "message"),
    [
        ("cudnn", "bfloat16", "'cudnn' is a GPU's; this program is for cpu"),
        ("tpu", "bfloat16", "'tpu' is a TPU's; this program is for cpu"),
    ],
)
def test_a_kernel_of_another_machine_is_refused(kernel: str, dtype: str, message: str) -> None:
    query, key, value = (jnp.asarray(a, dtype) for a in arrays())
    with pytest.raises(ValueError, match=message):
        attend(query, key, value, kernel=kernel)


def test_cudnn_computes_in_half_precision_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "platform", lambda: "gpu")
    query, key, value = map(jnp.asarray, arrays())
    with pytest.raises(ValueError, match="needs bfloat16 or float16, not float32"):
        attend(query, key, value, kernel="cudnn")


def test_cudnn_is_asked_for_flash_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its program cannot be run here; what JAX is asked to compute can be seen."""
    monkeypatch.setattr(devices, "platform", lambda: "gpu")
    asked = []

    def spy(query, key, value, bias, mask, *, is_causal, implementation):
        asked.append((implementation, is_causal, mask is None))
        return jnp.ones_like(query)

    monkeypatch.setattr(jax.nn, "dot_product_attention", spy)
    query, key, value = (jnp.asarray(a, jnp.bfloat16) for a in arrays())
    attend(query, key, value, causal=True, kernel="cudnn")
    out = attend(query, key, value, segments=jnp.asarray(SEGMENTS), causal=True, kernel="cudnn")
    assert asked == [("cudnn", True, True), ("cudnn", True, False)]
    assert not np.any(out[0, 5]) and np.all(out[0, 4] == 1)


@pytest.mark.parametrize("queries", [64, 1])
@pytest.mark.parametrize("seen", ["all", "padding", "segments", "bias", "every head's own"])
def test_cudnn_s_own_rules_accept_what_models_ask(seen, queries, monkeypatch) -> None:
    """JAX traces its call of the library, whose version is all that cannot be asked for here."""
    from jax._src.cudnn import fused_attention_stablehlo as library

    monkeypatch.setattr(devices, "platform", lambda: "gpu")
    monkeypatch.setattr(library, "check_cudnn_version", lambda *args, **options: 91000)
    monkeypatch.setattr(library, "check_compute_capability", lambda *args, **options: True)
    options: dict = {
        "all": {"causal": True},
        "padding": {"mask": length_mask(jnp.array([64, 3]), 64)},
        "segments": {"segments": jnp.ones((2, 64), jnp.int32), "causal": True},
        "bias": {"bias": jnp.zeros((1, 4, 1, 64)), "mask": length_mask(jnp.array([64, 3]), 64)},
        "every head's own": {"mask": jnp.ones((2, 4, queries, 64), bool)},
    }[seen]
    if queries == 1:
        options.pop("segments", None)
    query, key = (jax.ShapeDtypeStruct((2, n, 4, 64), jnp.bfloat16) for n in (queries, 64))
    program = functools.partial(attend, **options, kernel="cudnn")
    assert jax.eval_shape(program, query, key, key).shape == (2, queries, 4, 64)


def test_tpu_kernel_says_what_it_cannot_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "platform", lambda: "tpu")
    query, key, value = map(jnp.asarray, arrays())
    with pytest.raises(ValueError, match="'tpu' takes no bias"):
        attend(query, key, value, kernel="tpu")
    assert "auto" in attention.KERNELS
