"""The TPU's attention kernel, its steps run on a CPU, and when it is chosen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers import attention, attention_tpu, devices
from models.layers.attention_sparse import BigBird, Window, pattern_mask
from tests.oracles import attention as oracle
from training import mesh
from training.config import Mesh


def arrays(length: int, keys: int):
    rng = np.random.default_rng(0)
    query = rng.normal(size=(2, length, 1, 8)).astype("f4")
    key, value = rng.normal(size=(2, 2, keys, 1, 8)).astype("f4")
    return query, key, value


@pytest.mark.parametrize(
    ("length", "keys", "causal", "masked"), [(128, 128, False, False), (130, 200, True, True)]
)
def test_it_is_equation_1_with_its_gradients(length, keys, causal, masked):
    """Whole blocks, and padded ones: masked keys, an example that sees none, a causal offset."""
    query, key, value = arrays(length, keys)
    valid = np.arange(keys)[None] < np.array([[150], [0]]) if masked else np.ones((2, keys), bool)
    triangle = np.tri(length, keys, keys - length, dtype=bool) if causal else True
    seen = np.broadcast_to(valid[:, None, None] & triangle, (2, 1, length, keys))
    expected, _ = oracle.attention(query, key, value, seen)
    mask = jnp.asarray(valid)[:, None, None] if masked else None

    @jax.jit
    def both(*inputs):
        def kernel(*inputs):
            out = attention_tpu.attend(*inputs, mask, causal, interpret=True)
            return (out**2).sum(), out

        def plain(*inputs):
            return (attention.KERNELS["xla"](*inputs, mask, None, causal) ** 2).sum()

        (_, out), gradients = jax.value_and_grad(kernel, (0, 1, 2), has_aux=True)(*inputs)
        return out, gradients, jax.grad(plain, (0, 1, 2))(*inputs)

    out, gradients, plain = both(*map(jnp.asarray, (query, key, value)))
    np.testing.assert_allclose(out, expected, atol=1e-5)
    for got, wanted in zip(gradients, plain, strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-5)
    if masked:
        assert not np.any(out[1])
        assert not np.any(gradients[1][:, 150:])


SEGMENTS = np.repeat([[1, 2, 0], [1, 1, 3]], [100, 80, 20], axis=1)


@pytest.mark.parametrize(
    ("causal", "window", "segments", "mask"),
    [
        (True, 40, SEGMENTS, None),
        (False, 40, None, None),
        (True, None, None, np.arange(200)[None] >= np.array([[30], [0]])),
    ],
)
def test_windows_segments_and_shared_heads_are_dense_attention(causal, window, segments, mask):
    """Four query heads over two of keys; texts that are padded on their left see nothing there."""
    rng = np.random.default_rng(0)
    inputs = [jnp.asarray(rng.normal(size=(2, 200, n, 8)), jnp.float32) for n in (4, 2, 2)]
    seen = jnp.ones((1, 1, 200, 200), bool)
    if window:
        where = jnp.arange(200)
        seen &= pattern_mask(Window(window), where[:, None], where, 200, causal)
    if segments is not None:
        segments = jnp.asarray(segments)
        seen &= attention.segment_mask(segments)
    if mask is not None:
        mask = jnp.asarray(mask)[:, None, None]
        seen &= mask

    def kernel(*inputs):
        out = attention_tpu.attend(
            *inputs, mask, causal, window=window, segments=segments, interpret=True
        )
        return (out**2).sum(), out

    def plain(*inputs):
        weights = attention.attention_weights(*inputs[:2], mask=seen, causal=causal)
        out = attention.weighted_values(weights, inputs[2])
        return (out**2).sum(), out

    found, expected = (
        jax.jit(jax.value_and_grad(f, (0, 1, 2), has_aux=True))(*inputs) for f in (kernel, plain)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=5e-5), found, expected
    )


def test_it_is_chosen_in_programs_for_tpus_only(monkeypatch):
    chosen = []
    monkeypatch.setattr(
        attention_tpu, "attend", lambda query, *rest, **others: chosen.append("kernel") or query
    )
    query, key, value = map(jnp.asarray, arrays(128, 128))
    attention.attend(query, key, value)
    assert not chosen
    monkeypatch.setattr(devices, "platform", lambda: "tpu")
    attention.attend(query, key, value)
    attention.attend(query, key, value, kernel="xla")
    assert chosen == ["kernel"]
    attention.attend(query, key, value, kernel="tpu")
    attention.attend(query, key, value, pattern=Window(4))
    assert chosen == ["kernel"] * 3
    attention.attend(query, key, value, pattern=BigBird())
    assert chosen == ["kernel"] * 3


@pytest.mark.parametrize(
    ("length", "keys", "dtype", "mask", "bias", "suits"),
    [
        (128, 300, "bfloat16", None, None, True),
        (196, 196, "float32", (2, 1, 1, 196), None, True),
        (64, 64, "float32", None, None, False),
        (196, 196, "float16", None, None, False),
        (196, 196, "float32", (2, 1, 196, 196), None, False),
        (196, 196, "float32", None, (1, 1, 196, 196), False),
    ],
)
def test_what_suits_it(length, keys, dtype, mask, bias, suits):
    query = jnp.zeros((2, length, 1, 8), dtype)
    mask = None if mask is None else jnp.ones(mask, bool)
    bias = None if bias is None else jnp.zeros(bias)
    assert attention_tpu.suits(query, jnp.zeros((2, keys, 1, 8), dtype), mask, bias) is suits


def test_platform_is_that_of_the_mesh():
    assert devices.platform() == "cpu"
    with jax.set_mesh(mesh.make(Mesh())):
        assert devices.platform() == "cpu"
