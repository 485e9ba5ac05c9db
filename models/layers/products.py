"""Products of activations [b, l, ..., d] with a matrix, as one of two axes where that is faster.

XLA makes the weights' gradient of a product over [b, l, d] from transposed copies of both sides on
a CPU: a step of a small Transformer takes a third longer. Over [b l, d] it needs none. Elsewhere,
and on a mesh, where b and l may be split over different devices, the axes stay.
"""

import math
from typing import Any

import jax

from models.layers import devices


def dot_general(lhs: jax.Array, rhs: jax.Array, dimension_numbers: Any, **options: Any) -> Any:
    """`jax.lax.dot_general`, which `flax.linen.Dense` takes as `dot_general`.

    Axes of `lhs` that are not summed over become one where they are its first, nothing is batched
    and `rhs` has its sums in front, or one axis alone.
    """
    (summed, others), (batch, _) = dimension_numbers
    kept = lhs.ndim - len(summed)
    first = tuple(summed) == tuple(range(kept, lhs.ndim))
    plain = len(others) == 1 or tuple(others) == tuple(range(len(others)))
    alone = jax.sharding.get_abstract_mesh().size <= 1 and devices.platform() == "cpu"
    if batch or kept < 2 or not (first and plain and alone):
        return jax.lax.dot_general(lhs, rhs, dimension_numbers, **options)
    width = math.prod(lhs.shape[kept:])
    rest = tuple(n for axis, n in enumerate(rhs.shape) if axis not in others)
    axis = others[0]
    if len(others) > 1:
        rhs, axis = rhs.reshape(width, -1), 0
    flat = jax.lax.dot_general(lhs.reshape(-1, width), rhs, (((1,), (axis,)), ((), ())), **options)
    return flat.reshape(*lhs.shape[:kept], *rest)
