"""A call's metrics as one array: to read a dozen small ones takes as long as a small update."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from training.contracts import Mean, Means


@struct.dataclass
class Packed:
    """Means in one array, on the devices.

    Attributes:
      values: float32 [n], the totals and the counts of one metric after the other.
      layout: ((name, shape), ...) of the metrics; static.
    """

    values: Any
    layout: tuple[tuple[str, tuple[int, ...]], ...] = struct.field(pytree_node=False)

    @classmethod
    def of(cls, means: Means) -> "Packed":
        """Packs inside a compiled function; a mean's total and count have one shape."""
        names = sorted(means)
        parts = [part for n in names for part in (means[n].total, means[n].count)]
        flat = [jnp.ravel(part).astype(jnp.float32) for part in parts]
        layout = tuple((n, tuple(jnp.shape(means[n].total))) for n in names)
        return cls(jnp.concatenate(flat or [jnp.zeros(0)]), layout)

    def read(self) -> dict[str, Mean]:
        """The means on the host, in float64; waits until they are computed."""
        values = np.asarray(jax.device_get(self.values), np.float64)
        found, start = {}, 0
        for name, shape in self.layout:
            size = math.prod(shape)
            total, count = values[start : start + 2 * size].reshape(2, *shape)
            found[name] = Mean(total, count)
            start += 2 * size
        return found
