"""Where keys and values of earlier tokens are kept while a text is continued token by token.

The collection "cache" holds `cached_key` and `cached_value` [b, c, h, k] of each attention, and by
`Slots`, once a model, `index`, the slots that are taken, and `positions` [b, c], where the token of
a slot stands in its row's text, or -1 where it is padding. So rows whose texts differ in length
share one index: a slot of padding is never seen, on whichever side of the text it is, and distances
are those within the texts. The length c is static: one program serves every step.

Axis letters: `b` batch, `l` tokens of this call, `c` slots, `h` heads, `k` head width.
"""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Slot:
    """Where this call's keys go: from `start` on, int32 [], of `length` slots."""

    start: jax.Array
    length: int


class Slots(nn.Module):
    """The model's own part of the cache: `index` int32 [] and `positions` int32 [b, c]."""

    @nn.compact
    def __call__(
        self, batch: int, length: int, positions_bl: jax.Array | None, cache_length: int
    ) -> tuple[Slot, jax.Array, jax.Array]:
        """Takes the next `length` slots.

        Args:
          batch: b.
          length: l.
          positions_bl: int32 [b, l], -1 on padding; the slots' numbers where it is None.
          cache_length: c, of a cache that this call starts; a later call keeps to it.

        Returns:
          the slot, the positions [b, l] of this call's tokens, and those [b, c] of all slots.

        Raises:
          ValueError: the tokens are more than the slots.
        """
        index = self.variable("cache", "index", jnp.zeros, (), jnp.int32)
        kept = self.variable("cache", "positions", jnp.full, (batch, cache_length), -1, jnp.int32)
        slots = kept.value.shape[1]
        if length > slots:
            raise ValueError(f"{length} tokens are more than the cache's {slots}")
        start = index.value
        if positions_bl is None:
            positions_bl = jnp.broadcast_to(start + jnp.arange(length), (batch, length))
        kept.value = jax.lax.dynamic_update_slice(kept.value, positions_bl, (0, start))
        index.value = start + length
        return Slot(start, slots), positions_bl, kept.value


def keep(module: nn.Module, name: str, array_blhk: jax.Array, slot: Slot) -> jax.Array:
    """All slots [b, c, h, k] of the module's cache of this name, `array_blhk` now in its slots."""
    batch, _, *rest = array_blhk.shape
    shape = (batch, slot.length, *rest)
    kept = module.variable("cache", name, jnp.zeros, shape, array_blhk.dtype)
    kept.value = jax.lax.dynamic_update_slice_in_dim(kept.value, array_blhk, slot.start, axis=1)
    return kept.value


def take_rows(cache: Any, rows_b: jax.Array, layers: str = "layers") -> Any:
    """The cache of these rows, int32 [b]: what beam search does when a beam follows another.

    Args:
      cache: the collection; below a scanned stack, of the name `layers`, the depth comes first.
      rows_b: which row each new row continues; their number may differ.
      layers: see cache.
    """

    def take(path: Any, array: jax.Array) -> jax.Array:
        names = [getattr(entry, "key", None) for entry in path]
        return array if array.ndim == 0 else jnp.take(array, rows_b, axis=int(layers in names))

    return jax.tree_util.tree_map_with_path(take, cache)
