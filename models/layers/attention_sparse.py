"""Attention in which a query sees few keys, at a cost that grows with their number.

Sliding window: Beltagy et al. 2020, arXiv:2004.05150, section 3.1; its causal form is that of Jiang
et al. 2023, arXiv:2310.06825, section 2. BigBird: Zaheer et al. 2020, arXiv:2007.14062, section 2
and appendix D.1, internal global tokens: the first blocks see all and are seen by all, a block sees
its neighbours and some random others. Queries go by blocks, each of which gathers the blocks of
keys that it may see; no [l, m] array is made. `pattern_mask` is the same for dense attention.

Deviations: all heads and layers share BigBird's random blocks. Where causal, a block draws them
from those before it, so that a longer text has the same ones.

Axis letters: `b` batch, `l` queries, `m` keys, `h` heads, `n` heads of keys and values, `g` query
heads that share one, `k` head width, `i` blocks of queries, `s` places in a block, `w` keys that a
block gathers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

LARGEST_BLOCK = 128


@dataclass(frozen=True)
class Window:
    """Query i sees key j where |i - j| < `width`; where causal, the `width` keys up to its own."""

    width: int

    @property
    def block(self) -> int:
        """Tokens of a block."""
        return min(self.width, LARGEST_BLOCK)

    @property
    def full_blocks(self) -> int:
        """Blocks of queries, from the first on, that see all."""
        return 0

    def sees(self, query: jax.Array, key: jax.Array) -> jax.Array:
        """Bool, for int32 positions that broadcast: what the window says of them."""
        return jnp.abs(query - key) < self.width

    def blocks(self, count: int, causal: bool) -> np.ndarray:
        """int32 [i, ...]: the blocks of keys that a block of queries may see; -1 is none."""
        reach = -(-(self.width - 1) // self.block)
        found = np.arange(count)[:, None] + np.arange(-reach, 1 if causal else reach + 1)
        return np.where((found >= 0) & (found < count), found, -1).astype(np.int32)


@dataclass(frozen=True)
class BigBird:
    """Global, neighbouring and random blocks.

    Attributes:
      block: tokens of a block.
      global_blocks: from the first on, seen by all; they see all.
      window_blocks: odd; a block's own and its neighbours.
      random_blocks: others that a block sees, as far as there are any.
      seed: of their choice.
    """

    block: int = 64
    global_blocks: int = 2
    window_blocks: int = 3
    random_blocks: int = 3
    seed: int = 0

    @property
    def full_blocks(self) -> int:
        """Blocks of queries, from the first on, that see all."""
        return self.global_blocks

    def sees(self, query: jax.Array, key: jax.Array) -> jax.Array:
        """Bool, for int32 positions that broadcast: a gathered block is seen whole."""
        return jnp.broadcast_to(True, jnp.broadcast_shapes(query.shape, key.shape))

    def blocks(self, count: int, causal: bool) -> np.ndarray:
        """int32 [i, ...]: the blocks of keys that a block of queries may see; -1 is none."""
        width = self.global_blocks + self.window_blocks + self.random_blocks
        found = np.full((count, width), -1, np.int32)
        reach = self.window_blocks // 2
        for index in range(count):
            end = index + 1 if causal else count
            near = set(range(max(0, index - reach), min(end, index + reach + 1)))
            near |= set(range(min(self.global_blocks, end)))
            others = np.array([n for n in range(end) if n not in near], np.int32)
            rng = np.random.default_rng((self.seed, index))
            drawn = rng.choice(others, min(self.random_blocks, len(others)), replace=False)
            seen = sorted(near) + sorted(drawn.tolist())
            found[index, : len(seen)] = seen
        return found


Pattern = Window | BigBird


def check_pattern(pattern: Pattern) -> None:
    """Raises ValueError for sizes that are no pattern's."""
    if isinstance(pattern, Window):
        if pattern.width < 1:
            raise ValueError(f"window={pattern.width}: expected at least 1")
    elif pattern.block < 1 or pattern.window_blocks < 1 or pattern.window_blocks % 2 == 0:
        raise ValueError(f"{pattern}: expected blocks of tokens and 1, 3, 5, ... in the window")


def pattern_mask(
    pattern: Pattern, query: jax.Array, key: jax.Array, length: int, causal: bool
) -> jax.Array:
    """Bool, for int32 positions in [0, length) that broadcast: whether a query sees a key.

    Args:
      pattern: of a text of `length` tokens at most.
      query: positions of queries, such as [l, 1].
      key: positions of keys, such as [1, m].
      length: where BigBird is not causal, its random blocks depend on it.
      causal: no key after the query.
    """
    seen = pattern.sees(query, key)
    if isinstance(pattern, BigBird):
        count = -(-length // pattern.block)
        table = np.zeros((count, count + 1), bool)
        np.put_along_axis(table, pattern.blocks(count, causal), True, axis=1)
        table = table[:, :count]
        table[: pattern.full_blocks] = True
        seen = jnp.asarray(table)[query // pattern.block, key // pattern.block]
    return seen & (key <= query) if causal else seen


def attend(
    query_blhk: jax.Array,
    key_blnk: jax.Array,
    value_blnk: jax.Array,
    pattern: Pattern,
    mask: jax.Array | None = None,
    causal: bool = False,
    segments: jax.Array | None = None,
    distance_bias: Callable[[jax.Array], jax.Array] | None = None,
) -> jax.Array:
    """Self-attention in the pattern: [b, l, h, k]; queries that see no key give zeros.

    Args:
      mask: bool [b or 1, 1, 1, l], True where a key is valid.
      segments: int32 [b, l]; queries see keys of their own segment, 0 sees nothing.
      distance_bias: from distances int32 [...], key less query, to [h, ...] added to the scores.

    Raises:
      ValueError: queries and keys differ in number, or the mask is not the same for all queries.
    """
    length = query_blhk.shape[1]
    if key_blnk.shape[1] != length:
        raise ValueError(f"a sparse pattern of {length} queries and {key_blnk.shape[1]} keys")
    if mask is not None and (mask.ndim != 4 or mask.shape[1:3] != (1, 1)):
        raise ValueError(f"a sparse pattern takes a mask of keys [b, 1, 1, m], not {mask.shape}")
    count = -(-length // pattern.block)
    # A key that no query sees is of group -1; a query of segment 0 sees none.
    query_group = jnp.ones((1, length), jnp.int32) if segments is None else segments
    valid_bl = (query_group > 0) if mask is None else mask[:, 0, 0] & (query_group > 0)
    key_group = jnp.where(valid_bl, query_group, -1)

    def split(array: jax.Array, fill: int = 0) -> jax.Array:
        """[b, l, ...] -> [b, i, s, ...], the last block filled up."""
        padding = ((0, 0), (0, count * pattern.block - length)) + ((0, 0),) * (array.ndim - 2)
        array = jnp.pad(array, padding, constant_values=fill)
        return array.reshape(array.shape[0], count, pattern.block, *array.shape[2:])

    inputs = (*map(split, (query_blhk, key_blnk, value_blnk, query_group)), split(key_group, -1))
    listed = pattern.blocks(count, causal)
    full = 0 if causal else min(pattern.full_blocks, count)
    parts = []
    if full:
        everything = np.broadcast_to(np.arange(count, dtype=np.int32), (full, count))
        parts.append(_blocked(*inputs, 0, everything, lambda query, key: True, distance_bias))
    if full < count:

        def sees(query: jax.Array, key: jax.Array) -> jax.Array:
            seen = pattern.sees(query, key)
            return seen & (key <= query) if causal else seen

        parts.append(_blocked(*inputs, full, listed[full:], sees, distance_bias))
    out = jnp.concatenate(parts, axis=1)
    return out.reshape(out.shape[0], -1, *out.shape[3:])[:, :length]


def _blocked(
    query_bishk: jax.Array,
    key_bisnk: jax.Array,
    value_bisnk: jax.Array,
    query_group_bis: jax.Array,
    key_group_bis: jax.Array,
    first: int,
    listed: np.ndarray,
    sees: Callable[[jax.Array, jax.Array], Any],
    distance_bias: Callable[[jax.Array], jax.Array] | None,
) -> jax.Array:
    """[b, i, s, h, k] of the blocks of queries from `first` on; each gathers those listed for it.

    `sees` says of positions in gathered blocks which a query sees.
    """
    count, block = len(listed), query_bishk.shape[2]
    rows, gathered = slice(first, first + count), np.maximum(listed, 0)

    def take(array: jax.Array) -> jax.Array:
        """[b, i, s, ...] -> [b, i, w, ...]."""
        return array[:, gathered].reshape(array.shape[0], count, -1, *array.shape[3:])

    shared, width = key_bisnk.shape[3:]
    query = query_bishk[:, rows]
    grouped = query.reshape(*query.shape[:3], shared, -1, width)
    scores = jnp.einsum(
        "bisngk,biwnk->bngisw", grouped, take(key_bisnk), preferred_element_type=jnp.float32
    )
    scores = scores * width**-0.5
    place = np.arange(block, dtype=np.int32)
    query_is1 = jnp.asarray(np.arange(first, first + count)[:, None, None] * block + place[:, None])
    key_i1w = jnp.asarray((gathered[:, :, None] * block + place).reshape(count, 1, -1))
    if distance_bias is not None:
        bias = distance_bias(key_i1w - query_is1)
        scores = scores + bias.reshape(shared, -1, *bias.shape[1:])
    exists = jnp.asarray(np.repeat(listed >= 0, block, axis=1))[:, None]
    own = query_group_bis[:, rows, :, None] == take(key_group_bis)[:, :, None]
    seen = (exists & sees(query_is1, key_i1w) & own)[:, None, None]
    scores = jnp.where(seen, scores, jnp.finfo(jnp.float32).min / 2)
    weights = jnp.where(seen, jax.nn.softmax(scores, axis=-1), 0.0).astype(value_bisnk.dtype)
    out = jnp.einsum("bngisw,biwnk->bisngk", weights, take(value_bisnk))
    return out.reshape(query.shape)
