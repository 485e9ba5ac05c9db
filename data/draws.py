"""Random numbers of a transform: a function of (seed, transform, position in the stream) alone.

Philox is a counter-based generator: example p's numbers are the counters p * groups .. of a stream
that the seed keys, so that one call draws for a whole batch of consecutive positions, and any slice
of it, on any host and in batches of any size, draws the same numbers.
"""

import hashlib
import math
from typing import Any

from data.runtime import tensorflow

_PHILOX = 1


def key_of(*parts: object) -> int:
    """A 64-bit key from any printable parts."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


class Draws:
    """One transform's random numbers for the positions first .. first + count - 1."""

    def __init__(self, key: int, first: Any, count: Any = None):
        """`first` is an int64 scalar tensor; without `count` draws have no batch axis."""
        self._key, self._first, self._count = key, first, count
        self._calls = 0

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Any:
        """Float32 [*shape], or [b, *shape] for a batch, uniform in [low, high)."""
        tf = tensorflow()
        size = math.prod(shape)
        groups = -(-size // 4)  # Philox gives four numbers a counter.
        self._calls += 1
        count = 1 if self._count is None else self._count
        counter = tf.stack([self._first * groups, tf.constant(self._calls, tf.int64)])
        numbers = tf.raw_ops.StatelessRandomUniformV2(
            shape=[count * groups * 4],
            key=tf.constant([self._key], tf.uint64),
            counter=tf.cast(counter, tf.uint64),
            alg=_PHILOX,
        )
        numbers = tf.reshape(numbers, [count, groups * 4])[:, :size]
        numbers = tf.reshape(numbers, [count, *shape]) * (high - low) + low
        return numbers[0] if self._count is None else numbers

    def copy(self) -> "Draws":
        """The same numbers once more, for the other branch of a condition."""
        other = Draws(self._key, self._first, self._count)
        other._calls = self._calls
        return other
