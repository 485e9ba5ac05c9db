"""Floating-point operations of a traced function, counted from its jaxpr: two a multiply-add.

XLA's own count takes the body of a loop once and sees nothing in a hand-written kernel. Here a scan
counts its length, a kernel its grid, a shard_map its devices; matrix products and convolutions are
counted, and element-wise work, which a matrix unit does not do, is not. What rematerialisation
computes a second time is told apart by the name that JAX gives it.

`transformer` is the closed form of the same, from the equations of a pre-norm Transformer.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# JAX's name for what a backward pass computes again (jax.checkpoint).
AGAIN = "rematted_computation"


@dataclass(frozen=True)
class Flops:
    """Operations of one call, over all devices.

    Attributes:
      total: all that are executed.
      recomputed: those of them that rematerialisation repeats.
      padded: the total, each product's dimensions rounded up to the matrix unit's tiles.
      kernels: the part of `total` inside hand-written kernels.
      open_loops: `while` loops without a static length, whose body counts once.
    """

    total: float = 0.0
    recomputed: float = 0.0
    padded: float = 0.0
    kernels: float = 0.0
    open_loops: int = 0

    @property
    def model(self) -> float:
        """Without what is computed twice: what MFU is measured by."""
        return self.total - self.recomputed

    def __add__(self, other: "Flops") -> "Flops":
        *counts, loops = (a + b for a, b in zip(_values(self), _values(other), strict=True))
        return Flops(*counts, open_loops=int(loops))

    def __mul__(self, times: int) -> "Flops":
        *counts, loops = (v * times for v in _values(self))
        return Flops(*counts, open_loops=int(loops))


def _values(flops: Flops) -> tuple[float, ...]:
    return flops.total, flops.recomputed, flops.padded, flops.kernels, flops.open_loops


def count(jaxpr: Any, tile: int = 1) -> Flops:
    """Operations of a (closed) jaxpr; `tile` is the side of the matrix unit, for `padded`."""
    return _count(getattr(jaxpr, "jaxpr", jaxpr), tile, False)


def _count(jaxpr: Any, tile: int, again: bool) -> Flops:
    found = Flops()
    for eqn in jaxpr.eqns:
        repeated = again or AGAIN in str(eqn.source_info.name_stack)
        product = _product(eqn)
        if product is not None:
            total = 2.0 * math.prod(product)
            recomputed = total if repeated else 0.0
            found += Flops(total, recomputed, 2.0 * padded(product, tile))
            continue
        inner = [_count(j, tile, repeated) for j in _inner(eqn)]
        if not inner:
            continue
        if eqn.primitive.name == "cond":
            found += max(inner, key=lambda f: f.total)
            continue
        part = sum(inner, Flops()) * _times(eqn)
        if eqn.primitive.name == "while":
            part += Flops(open_loops=1)
        if eqn.primitive.name == "pallas_call":
            part += Flops(kernels=part.total)
        found += part
    return found


def _inner(eqn: Any) -> Iterator[Any]:
    """The jaxprs that an equation calls."""
    for name, value in eqn.params.items():
        # What a while loop tests is no product; what a kernel's grid indexes neither.
        if name in ("cond_jaxpr", "grid_mapping"):
            continue
        for item in value if isinstance(value, (tuple, list)) else (value,):
            item = getattr(item, "jaxpr", item)
            if hasattr(item, "eqns"):
                yield item


def _times(eqn: Any) -> int:
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        return params["length"]
    if name == "pallas_call":
        return math.prod(int(n) for n in params["grid_mapping"].grid if isinstance(n, int))
    if name == "shard_map":
        # Inside, shapes are those of one device.
        return math.prod(params["mesh"].shape[a] for a in params["newly_manual_axes"])
    return 1


def _product(eqn: Any) -> tuple[int, int, int, int] | None:
    """(batch, rows, columns, contracted) of a matrix product or a convolution; else None."""
    if eqn.primitive.name == "dot_general":
        (contract, _), (batch, _) = eqn.params["dimension_numbers"]
        left, right = (v.aval.shape for v in eqn.invars)
        b, k = (math.prod(left[a] for a in axes) for axes in (batch, contract))
        return b, math.prod(left) // max(1, b * k), math.prod(right) // max(1, b * k), k
    if eqn.primitive.name == "conv_general_dilated":
        params = eqn.params
        out, kernel = eqn.outvars[0].aval.shape, eqn.invars[1].aval.shape
        features = kernel[params["dimension_numbers"].rhs_spec[0]]
        groups = params["feature_group_count"]
        # A dilated input is mostly zeros, which nobody multiplies: a strided layer's gradient.
        rows = math.prod(out) // features // math.prod(params["lhs_dilation"])
        return groups, rows, features // groups, math.prod(kernel) // features
    return None


def padded(product: tuple[int, int, int, int], tile: int) -> int:
    """Multiply-adds of a (batch, rows, columns, contracted) product in a matrix unit.

    The unit holds contracted x columns in tiles and streams rows by eights, or the other way round.
    A product with a vector is a sum, which it does not do.
    """
    batch, rows, columns, contracted = product
    if min(rows, columns) == 1:
        return math.prod(product)
    either = (_up(rows, 8) * _up(columns, tile), _up(columns, 8) * _up(rows, tile))
    return batch * min(either) * _up(contracted, tile) if tile > 1 else math.prod(product)


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def transformer(
    *, batch: int, length: int, width: int, depth: int, mlp_width: int,
    inputs: int = 0, outputs: int = 0, pooled: bool = False, gated: bool = False,
    attention_width: int | None = None, key_value_width: int | None = None,
) -> float:  # fmt: skip
    """Operations of one forward pass of a Transformer over `batch` sequences; training takes three.

    A layer: query and output projections 2 x 2 l d a, keys and values 2 x 2 l d c, scores and
    weighted values 2 x 2 l^2 a, the MLP 2 or (gated) 3 times 2 l d m, where a and c are heads times
    head width of queries and of keys. A causal mask is not credited, as in most published counts.

    Args:
      inputs: width of what a dense layer embeds (a patch's pixels); 0 for a table of embeddings.
      outputs: classes, or the vocabulary.
      pooled: the head reads one vector a sequence, not each position.
    """
    a = width if attention_width is None else attention_width
    c = a if key_value_width is None else key_value_width
    tokens = batch * length
    projections = 2 * tokens * width * (2 * a + 2 * c)
    attention = 4 * tokens * length * a
    mlp = 2 * tokens * width * mlp_width * (3 if gated else 2)
    head = 2 * (batch if pooled else tokens) * width * outputs
    return float(depth * (projections + attention + mlp) + 2 * tokens * inputs * width + head)
