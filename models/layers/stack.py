"""A column of equal layers: as a loop or as one scan, with or without rematerialisation.

A scan compiles one layer in place of all of them, at the price of a layout in which a parameter
of all layers is one array: "layers/..." [depth, ...] in place of "layer_00/...", "layer_01/...".
`stack_layers` and `unstack_layers` turn one into the other. Rematerialisation (Chen et al. 2016,
arXiv:1604.06174) computes a layer's activations again in the backward pass instead of keeping them.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

POLICIES: Mapping[str, Callable[..., Any] | None] = {
    "full": None,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}
"""What rematerialisation keeps of a layer: nothing, or the results of its dense projections."""

_LAYER = re.compile(r"layer_\d+")


def apply_layers(
    make: Callable[[str], nn.Module],
    call: Callable[..., jax.Array],
    x: jax.Array,
    per_layer: tuple[jax.Array, ...] = (),
    *,
    depth: int,
    scan: bool = False,
    remat: str = "none",
) -> jax.Array:
    """x -> call(layer_n, ..., call(layer_0, x)): for the `__call__` of a compact module.

    Args:
      make: the layer of a given name.
      call: call(layer, x, *values) -> x of the same shape and dtype.
      per_layer: arrays with a leading axis [depth]; a layer gets its own entries as `values`.
      scan: one `lax.scan` over stacked parameters.
      remat: "none", or one of `POLICIES`.

    Raises:
      ValueError: there is no such policy.
    """
    if remat not in ("none", *POLICIES):
        raise ValueError(f"remat {remat!r}: expected one of none, {', '.join(POLICIES)}")
    if remat != "none":
        # Inside a scan nothing can be merged with the forward pass, and the barrier costs time.
        call = nn.remat(call, policy=POLICIES[remat], prevent_cse=not scan)
    if not scan:
        for index in range(depth):
            x = call(make(f"layer_{index:02d}"), x, *(values[index] for values in per_layer))
        return x

    def body(layer: nn.Module, x: jax.Array, *values: jax.Array) -> tuple[jax.Array, None]:
        return call(layer, x, *values), None

    scanned = nn.scan(
        body,
        variable_axes={"params": 0, "intermediates": 0, "cache": 0},
        split_rngs={"params": True, "dropout": True},
        length=depth,
    )
    return scanned(make("layers"), x, *per_layer)[0]


def stack_layers(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of a looped model as the scanned one has it, at whatever level its layers are."""
    names = sorted(name for name in tree if _LAYER.fullmatch(name))
    rest = {name: _below(stack_layers, child) for name, child in tree.items() if name not in names}
    if names:
        rest["layers"] = jax.tree.map(lambda *a: jnp.stack(a), *(tree[name] for name in names))
    return rest


def unstack_layers(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `stack_layers`."""
    out = {}
    for name, child in tree.items():
        if name != "layers":
            out[name] = _below(unstack_layers, child)
            continue
        for index in range(len(jax.tree.leaves(child)[0])):
            out[f"layer_{index:02d}"] = jax.tree.map(lambda a, i=index: a[i], child)
    return out


def _below(function: Callable[[Mapping[str, Any]], dict[str, Any]], child: Any) -> Any:
    return function(child) if isinstance(child, Mapping) else child
