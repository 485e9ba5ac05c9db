"""Layers of recurrent cells over padded and packed texts, in one direction or both.

Both directions: Schuster and Paliwal 1997; stacked: Graves et al. 2013, arXiv:1303.5778. The cells
and their loop are models/layers/cells.py.

Axis letters: `b` batch, `l` length (`l b`, time first, in the loop), `d` width of the input, `h`
width of the state, `g` all gates.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.cells import GATES, Carry, recur, times, zeros

Initializer = nn.initializers.Initializer
States = tuple[tuple[Carry, ...], ...]
"""Of each layer, of each of its directions, the state."""


def by_gate(init: Initializer, gates: int) -> Initializer:
    """Each gate's part [..., h] of a kernel [..., g] drawn by itself."""

    def draw(key: Any, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        parts = [
            init(k, (*shape[:-1], shape[-1] // gates), dtype) for k in jax.random.split(key, gates)
        ]
        return jnp.concatenate(parts, axis=-1)

    return draw


def _open_forget_gate(key: Any, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
    del key
    width = shape[0] // GATES["lstm"]
    return jnp.zeros(shape, dtype).at[width : 2 * width].set(1.0)


class Matrix(nn.Module):
    """Parameters `kernel` [rows, columns] and, where `bias` is its length, `bias`; as arrays."""

    rows: int
    columns: int
    kernel_init: Initializer
    bias: int = 0
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array | None]:
        """(kernel, bias or None), float32: for loops, in which no module may be called."""
        kernel = self.param("kernel", self.kernel_init, (self.rows, self.columns))
        bias = self.param("bias", self.bias_init, (self.bias,)) if self.bias else None
        return kernel, bias


def hidden_weights(
    cell: str, width: int, init: Initializer, name: str
) -> tuple[jax.Array, jax.Array]:
    """(U [h, g], d [g]) of a submodule `name`, called in a compact method.

    Only GRU's candidate has a bias there, [h]; the others' would be W's once more.
    """
    gates = GATES[cell]
    bias = width if cell == "gru" else 0
    kernel_hg, bias_h = Matrix(width, gates * width, by_gate(init, gates), bias, name=name)()
    if bias_h is None:
        return kernel_hg, jnp.zeros(gates * width)
    return kernel_hg, jnp.concatenate([jnp.zeros((gates - 1) * width), bias_h])


def input_weights(
    cell: str, width: int, rows: int, init: Initializer, name: str
) -> tuple[jax.Array, jax.Array]:
    """(W [d, g], b [g]) of a submodule `name`, called in a compact method; d is `rows`."""
    gates = GATES[cell]
    bias_init = _open_forget_gate if cell == "lstm" else nn.initializers.zeros
    matrix = Matrix(rows, gates * width, by_gate(init, gates), gates * width, bias_init, name=name)
    kernel_dg, bias_g = matrix()
    return kernel_dg, jnp.asarray(bias_g)


class Recurrent(nn.Module):
    """Layers of a cell, one or both directions: `layer_00_forward`, `layer_00_backward`, ...

    A layer of both directions gives them side by side, forward first; the next layer reads both.

    Attributes:
      cell: one of `CELLS`.
      width: h, of each direction.
      dropout_rate: between layers, in training.
      kernel_init: of W, by gate.
      hidden_init: of U, by gate.
    """

    cell: str
    width: int
    depth: int = 1
    bidirectional: bool = False
    dropout_rate: float = 0.0
    dtype: jnp.dtype = jnp.float32
    kernel_init: Initializer = nn.initializers.xavier_uniform()
    hidden_init: Initializer = nn.initializers.orthogonal()

    @nn.compact
    def __call__(
        self,
        x_bld: jax.Array,
        mask: jax.Array | None = None,
        segments: jax.Array | None = None,
        start: States | None = None,
        *,
        train: bool,
    ) -> tuple[jax.Array, States]:
        """Outputs [b, l, h or 2h] in `dtype`, and the last states by layer and direction.

        Args:
          x_bld: the inputs.
          mask: bool [b, l]; where it is False the state stays and the output is zero. A backward
            direction so begins at the last valid input of a row.
          segments: int32 [b, l]; the state is zero at the beginning of each.
          start: states before the first step, as they are returned; zeros where it is None.
          train: whether dropout is on.
        """
        x_lbd, last = jnp.swapaxes(x_bld, 0, 1), []
        valid_lb = None if mask is None else mask.T
        for index in range(self.depth):
            if index:
                dropout = nn.Dropout(self.dropout_rate, name=f"dropout_{index:02d}")
                x_lbd = dropout(x_lbd, deterministic=not train)
            outputs, carries = [], []
            for side, name in enumerate(("forward", "backward")[: 1 + self.bidirectional]):
                layer = Direction(
                    self.cell, self.width, name == "backward", self.dtype, self.kernel_init,
                    self.hidden_init, name=f"layer_{index:02d}_{name}",
                )  # fmt: skip
                given = None if start is None else start[index][side]
                output, carry = layer(x_lbd, valid_lb, segments, given)
                outputs.append(output)
                carries.append(carry)
            x_lbd = jnp.concatenate(outputs, axis=-1)
            last.append(tuple(carries))
        return jnp.swapaxes(x_lbd, 0, 1), tuple(last)

    @nn.nowrap
    def first(self, batch: int) -> States:
        """The states before the first step of `batch` rows, all zero."""
        sides = (zeros(self.cell, batch, self.width),) * (1 + self.bidirectional)
        return (sides,) * self.depth


class Direction(nn.Module):
    """One layer in one direction, time first: submodules `input` (W, b) and `hidden` (U, d)."""

    cell: str
    width: int
    reverse: bool
    dtype: jnp.dtype
    kernel_init: Initializer
    hidden_init: Initializer

    @nn.compact
    def __call__(
        self,
        x_lbd: jax.Array,
        valid_lb: jax.Array | None,
        segments_bl: jax.Array | None,
        start: Carry | None,
    ) -> tuple[jax.Array, Carry]:
        """Outputs [l, b, h] in `dtype` and the last state."""
        kernel_dg, input_bias = input_weights(
            self.cell, self.width, x_lbd.shape[-1], self.kernel_init, "input"
        )
        kernel_hg, bias_g = hidden_weights(self.cell, self.width, self.hidden_init, "hidden")
        fresh_lb = None
        if segments_bl is not None:
            changes = segments_bl[:, 1:] != segments_bl[:, :-1]
            ends = ((0, 0), (0, 1) if self.reverse else (1, 0))
            fresh_lb = jnp.pad(changes, ends).T
        start = zeros(self.cell, x_lbd.shape[1], self.width) if start is None else start
        inputs_lbg = times(x_lbd, kernel_dg.astype(self.dtype)) + input_bias
        states = recur(
            self.cell, self.reverse, inputs_lbg, kernel_hg.astype(self.dtype), bias_g, start,
            valid_lb, fresh_lb,
        )  # fmt: skip
        output = states[0]
        if valid_lb is not None:
            output = jnp.where(valid_lb[..., None], output, 0.0)
        return output.astype(self.dtype), tuple(s[0 if self.reverse else -1] for s in states)
