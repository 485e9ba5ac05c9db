"""Recurrent cells, and their loop over time.

LSTM: Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000, which starts at 1
(Jozefowicz et al. 2015):

    i, f, o = sigmoid(W_* x + U_* h + b_*),   g = tanh(W_g x + U_g h + b_g)
    c' = f c + i g,   h' = o tanh(c')

GRU: Cho et al. 2014, arXiv:1406.1078, in the form of cuDNN and PyTorch, whose reset gate comes
after the product with U and so has a bias of its own there:

    r, z = sigmoid(W_* x + U_* h + b_*),   n = tanh(W_n x + b_n + r (U_n h + d_n))
    h' = (1 - z) n + z h

Gates lie in these orders, i f g o and r z n, as PyTorch's do. The input's part of all steps is one
product outside of the loop, and so is the gradient of U: a loop would read and write a sum as large
as U in each step. Cells compute in float32; products are in the layer's dtype.

Axis letters: `l` length, `b` batch (time first), `d` width of the input, `h` width of the state,
`g` all gates.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

Carry = tuple[jax.Array, ...]


def lstm(inputs_bg: jax.Array, hidden_bg: jax.Array, carry: Carry) -> Carry:
    """(h', c') of the products with W (and b) and with U, float32 [b, 4h], and (h, c)."""
    i, f, g, o = jnp.split(inputs_bg + hidden_bg, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * carry[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(cell), cell


def gru(inputs_bg: jax.Array, hidden_bg: jax.Array, carry: Carry) -> Carry:
    """(h',) of the products with W (and b) and with U (and d), float32 [b, 3h], and (h,)."""
    input_r, input_z, input_n = jnp.split(inputs_bg, 3, axis=-1)
    hidden_r, hidden_z, hidden_n = jnp.split(hidden_bg, 3, axis=-1)
    z = jax.nn.sigmoid(input_z + hidden_z)
    n = jnp.tanh(input_n + jax.nn.sigmoid(input_r + hidden_r) * hidden_n)
    return ((1.0 - z) * n + z * carry[0],)


CELLS: Mapping[str, Callable[[jax.Array, jax.Array, Carry], Carry]] = {"lstm": lstm, "gru": gru}
GATES = {"lstm": 4, "gru": 3}
STATES = {"lstm": 2, "gru": 1}


def zeros(cell: str, batch: int, width: int) -> Carry:
    """The state before the first step: float32 [b, h], one or two."""
    return (jnp.zeros((batch, width), jnp.float32),) * STATES[cell]


def step(
    cell: str, inputs_bg: jax.Array, kernel_hg: jax.Array, bias_g: jax.Array, carry: Carry
) -> Carry:
    """One step of a cell whose input is already multiplied: the state after it."""
    return CELLS[cell](inputs_bg, times(carry[0], kernel_hg) + bias_g, carry)


def times(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x [..., i] @ kernel [i, j], in the kernel's dtype with float32 sums: float32 [..., j]."""
    return jnp.dot(x.astype(kernel.dtype), kernel, preferred_element_type=jnp.float32)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def recur(
    cell: str,
    reverse: bool,
    inputs_lbg: jax.Array,
    kernel_hg: jax.Array,
    bias_g: jax.Array,
    start: Carry,
    valid_lb: jax.Array | None = None,
    fresh_lb: jax.Array | None = None,
) -> Carry:
    """The states after each step, float32 [l, b, h], one or two.

    Args:
      cell: one of `CELLS`.
      reverse: from the last step to the first.
      inputs_lbg: the product of the inputs with W, b added.
      kernel_hg: U.
      bias_g: d, and zeros for other gates.
      start: the state before the first step, float32 [b, h].
      valid_lb: bool; where it is False the state stays as it is. All are where it is None.
      fresh_lb: bool; where it is True the state before the step is zero.
    """
    states, _ = _run(cell, reverse, inputs_lbg, kernel_hg, bias_g, start, valid_lb, fresh_lb)
    return states


def _run(
    cell: str,
    reverse: bool,
    inputs_lbg: jax.Array,
    kernel_hg: jax.Array,
    bias_g: jax.Array,
    start: Carry,
    valid_lb: jax.Array | None,
    fresh_lb: jax.Array | None,
) -> tuple[Carry, jax.Array]:
    """The states, and the products with U [l, b, g]."""

    def one(carry: Carry, given: Any) -> tuple[Carry, Any]:
        inputs_bg, valid_b, fresh_b = given
        before = _renewed(carry, fresh_b)
        hidden_bg = times(before[0], kernel_hg) + bias_g
        after = _chosen(valid_b, CELLS[cell](inputs_bg, hidden_bg, before), carry)
        return after, (after, hidden_bg)

    return jax.lax.scan(one, start, (inputs_lbg, valid_lb, fresh_lb), reverse=reverse)[1]


def _chosen(condition_b: jax.Array | None, carry: Carry, other: Carry) -> Carry:
    if condition_b is None:
        return carry
    return tuple(jnp.where(condition_b[:, None], a, b) for a, b in zip(carry, other, strict=True))


def _renewed(carry: Carry, fresh_b: jax.Array | None) -> Carry:
    return carry if fresh_b is None else _chosen(~fresh_b, carry, tuple(map(jnp.zeros_like, carry)))


def _forward(cell: str, reverse: bool, *given: Any) -> tuple[Carry, Any]:
    states, hidden_lbg = _run(cell, reverse, *given)
    return states, (states, hidden_lbg, *given)


def _backward(cell: str, reverse: bool, kept: Any, d_states: Carry) -> tuple[Any, ...]:
    states, hidden_lbg, inputs_lbg, kernel_hg, bias_g, start, valid_lb, fresh_lb = kept

    def shifted(states_lbh: jax.Array, start_bh: jax.Array) -> jax.Array:
        if reverse:
            return jnp.concatenate([states_lbh[1:], start_bh[None]])
        return jnp.concatenate([start_bh[None], states_lbh[:-1]])

    before = jax.tree.map(shifted, states, start)

    def one(d_after: Carry, given: Any) -> tuple[Carry, Any]:
        d_state, before, inputs_bg, hidden_bg, valid_b, fresh_b = given
        d_after = jax.tree.map(jnp.add, d_after, d_state)
        nothing = tuple(map(jnp.zeros_like, d_after))
        _, pull = jax.vjp(CELLS[cell], inputs_bg, hidden_bg, _renewed(before, fresh_b))
        d_inputs, d_hidden, d_before = pull(_chosen(valid_b, d_after, nothing))
        d_before = (d_before[0] + times(d_hidden, kernel_hg.T), *d_before[1:])
        d_before = _renewed(d_before, fresh_b)
        if valid_b is not None:
            d_before = jax.tree.map(jnp.add, d_before, _chosen(valid_b, nothing, d_after))
        return d_before, (d_inputs, d_hidden)

    given = (d_states, before, inputs_lbg, hidden_lbg, valid_lb, fresh_lb)
    nothing = tuple(map(jnp.zeros_like, start))
    d_start, (d_inputs, d_hidden) = jax.lax.scan(one, nothing, given, reverse=not reverse)
    seen_lbh = before[0] if fresh_lb is None else jnp.where(fresh_lb[..., None], 0.0, before[0])
    d_kernel = jnp.einsum(
        "lbh,lbg->hg",
        seen_lbh.astype(kernel_hg.dtype),
        d_hidden.astype(kernel_hg.dtype),
        preferred_element_type=jnp.float32,
    ).astype(kernel_hg.dtype)
    d_bias = d_hidden.sum((0, 1)).astype(bias_g.dtype)
    return d_inputs.astype(inputs_lbg.dtype), d_kernel, d_bias, d_start, None, None


recur.defvjp(_forward, _backward)
