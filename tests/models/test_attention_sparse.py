"""Sparse patterns: what they let through, and that blocks compute what dense attention would."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers.attention import attend, attention_weights, both, segment_mask, weighted_values
from models.layers.attention_sparse import BigBird, Window, check_pattern, pattern_mask
from tests.models import run

B, H, N, K = 2, 4, 2, 4
PATTERNS = [
    Window(1),
    Window(3),
    Window(5),
    Window(300),
    BigBird(block=2, global_blocks=1, window_blocks=3, random_blocks=2),
    BigBird(block=3, global_blocks=0, window_blocks=1, random_blocks=1),
    BigBird(block=4, global_blocks=9, window_blocks=3, random_blocks=0),
]


def dense(pattern, length: int, causal: bool) -> np.ndarray:
    """Bool [l, l]."""
    where = jnp.arange(length)
    return np.asarray(pattern_mask(pattern, where[:, None], where, length, causal))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("width", [1, 4])
def test_window_is_a_band(width: int, causal: bool) -> None:
    mask = dense(Window(width), 9, causal)
    for i, j in np.ndindex(mask.shape):
        assert mask[i, j] == (abs(i - j) < width and (j <= i or not causal))


@pytest.mark.parametrize("causal", [False, True])
def test_bigbird_is_global_near_and_random(causal: bool) -> None:
    pattern = BigBird(block=3, global_blocks=2, window_blocks=3, random_blocks=2)
    mask, count = dense(pattern, 30, causal), 10
    blocks = mask.reshape(count, 3, count, 3).transpose(0, 2, 1, 3)
    for i, j in np.ndindex(count, count):
        inside = np.tri(3, dtype=bool) if causal and i == j else np.ones((3, 3), bool)
        seen = blocks[i, j].any()
        np.testing.assert_array_equal(blocks[i, j], inside & seen)
        if causal and j > i:
            assert not seen
        elif j < 2 or abs(i - j) <= 1 or (i < 2 and not causal):
            assert seen
    drawn = [blocks[i].any((1, 2)).sum() for i in range(2, count)]
    # Of row i: two global ones, its neighbours, and two at random as far as others are left.
    for i, number in zip(range(2, count), drawn, strict=True):
        near = {0, 1, i - 1, i} | ({i + 1} & set(range(count)) if not causal else set())
        left = (i + 1 if causal else count) - len(near)
        assert number == len(near) + min(2, left)


def test_random_blocks_differ_by_row_and_seed_and_repeat() -> None:
    first, other = (BigBird(2, 1, 1, 2, seed) for seed in (0, 1))
    assert np.array_equal(first.blocks(12, False), first.blocks(12, False))
    assert not np.array_equal(first.blocks(12, False), other.blocks(12, False))
    assert len({tuple(row) for row in first.blocks(12, False)[:, 2:].tolist()}) > 4


def test_causal_bigbird_of_a_longer_text_begins_alike() -> None:
    """A text that is continued token by token must not change what its beginning saw."""
    pattern = BigBird(2, 1, 1, 2)
    np.testing.assert_array_equal(dense(pattern, 12, True), dense(pattern, 24, True)[:12, :12])


def arrays(length: int):
    rng = np.random.default_rng(0)
    query = rng.normal(size=(B, length, H, K))
    key, value = rng.normal(size=(2, B, length, N, K))
    return tuple(jnp.asarray(a, jnp.float32) for a in (query, key, value))


def bias(distance):
    return jnp.arange(1.0, H + 1).reshape(H, *(1,) * distance.ndim) * jnp.sin(distance * 1.0)


def cases(length: int) -> dict:
    keys = np.arange(length) < np.array([length, length // 2])[:, None]
    segments = np.sort(np.random.default_rng(1).integers(1, 4, (B, length)))
    segments[1, -2:] = 0
    return {
        "plain": {},
        "causal": {"causal": True},
        "padded": {"mask": jnp.asarray(keys)[:, None, None]},
        "all": {
            "causal": True,
            "mask": jnp.asarray(keys)[:, None, None],
            "segments": jnp.asarray(segments),
            "distance_bias": bias,
        },
        "biased": {"distance_bias": bias, "segments": jnp.asarray(segments)},
    }


@pytest.mark.parametrize("case", ["plain", "causal", "padded", "all", "biased"])
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_blocks_equal_dense_attention_under_the_same_mask(pattern, case: str) -> None:
    """Forward and gradients, of a length that no block divides."""
    length = 13
    options = cases(length)[case]
    inputs = arrays(length)
    causal = options.get("causal", False)
    mask = both(jnp.asarray(dense(pattern, length, causal)), options.get("mask"))
    if "segments" in options:
        mask = both(segment_mask(options["segments"]), mask)
    where = jnp.arange(length)
    added = bias(where - where[:, None]) if "distance_bias" in options else None

    def blocked(*inputs):
        out = attend(*inputs, pattern=pattern, **options)
        return (out**2).sum(), out

    def plain(*inputs):
        weights = attention_weights(inputs[0], inputs[1], mask=mask, bias=added)
        out = weighted_values(weights, inputs[2])
        return (out**2).sum(), out

    found, expected = (
        run.jit(jax.value_and_grad(f, (0, 1, 2), has_aux=True))(*inputs) for f in (blocked, plain)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5), found, expected
    )


def test_a_window_reaches_over_several_blocks() -> None:
    """GPT's own is of 256 tokens, in blocks of 128: a query sees two blocks before its own."""
    pattern, (query, key, value) = Window(256), arrays(600)
    assert pattern.blocks(5, True)[4].tolist() == [2, 3, 4]
    found = attend(query, key, value, pattern=pattern, causal=True)
    mask = jnp.asarray(dense(pattern, 600, True))
    expected = weighted_values(attention_weights(query, key, mask=mask), value)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("pattern", [Window(16), BigBird(16, 1, 3, 1)], ids=str)
def test_work_grows_with_the_length_and_not_its_square(pattern) -> None:
    def flops(length: int) -> float:
        shape = jax.ShapeDtypeStruct((1, length, 2, 8), jnp.float32)
        program = jax.jit(lambda q, k, v: attend(q, k, v, pattern=pattern, causal=True))
        return program.lower(shape, shape, shape).cost_analysis()["flops"]

    assert flops(2048) < 2.2 * flops(1024)
    whole = jax.ShapeDtypeStruct((1, 2048, 2, 8), jnp.float32)
    dense = jax.jit(lambda q, k, v: attend(q, k, v, causal=True)).lower(whole, whole, whole)
    assert flops(2048) < dense.cost_analysis()["flops"] / 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bias": jnp.zeros((1, 1, 13, 13))}, "takes its bias as a function of the distance"),
        ({"mask": jnp.ones((1, 1, 13, 13), bool)}, r"takes a mask of keys \[b, 1, 1, m\]"),
        ({"kernel": "cudnn"}, r"'cudnn' cannot compute Window\(width=3\)"),
    ],
)
def test_what_a_pattern_cannot_take_is_said(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attend(*arrays(13), pattern=Window(3), **options)
    with pytest.raises(ValueError, match="13 queries and 12 keys"):
        query, key, value = arrays(13)
        attend(query, key[:, :12], value[:, :12], pattern=Window(3))


def test_sizes_that_are_no_patterns_are_refused() -> None:
    with pytest.raises(ValueError, match="window=0: expected at least 1"):
        check_pattern(Window(0))
    for blocks in (2, 0, -1):
        with pytest.raises(ValueError, match="in the window"):
            check_pattern(BigBird(window_blocks=blocks))
