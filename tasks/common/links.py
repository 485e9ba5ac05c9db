"""The sum of softplus over all pairs of nodes: what a graph auto-encoder pays for non-edges.

Axis letters: `n` nodes, `d` width.
"""

import jax
import jax.numpy as jnp

# Rows of the [n, n] matrix of inner products that exist at one time.
BLOCK = 512


@jax.custom_vjp
def sum_softplus(z_nd: jax.Array) -> jax.Array:
    """sum_ij log(1 + exp(z_i z_j)) over all ordered pairs, i = j too; float32 scalar of [n, d].

    Value and gradient, 2 sum_j sigmoid(z_i z_j) z_j, come from one pass over blocks of rows: the
    [n, n] matrix is never whole, one exponential serves both, and as the matrix is symmetric only
    what is right of the diagonal is made.
    """
    return _blocks(z_nd)[0]


def _blocks(z_nd: jax.Array) -> tuple[jax.Array, jax.Array]:
    total, gradient_nd = jnp.float32(0.0), jnp.zeros_like(z_nd)
    for start in range(0, len(z_nd), BLOCK):
        rows, rest = z_nd[start : start + BLOCK], z_nd[start + BLOCK :]
        value, sigmoid = _terms(rows @ rows.T)
        total += value
        own = sigmoid @ rows
        if len(rest):
            value, sigmoid = _terms(rows @ rest.T)
            total += 2.0 * value
            own += sigmoid @ rest
            gradient_nd = gradient_nd.at[start + BLOCK :].add(sigmoid.T @ rows)
        gradient_nd = gradient_nd.at[start : start + BLOCK].add(own)
    return total, 2.0 * gradient_nd


def _terms(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(sum of softplus, sigmoid of each)."""
    small = jnp.exp(-jnp.abs(scores))
    # Where 1 + small rounds small away, it is too small to count beside the others.
    total = (jnp.maximum(scores, 0.0) + jnp.log(1.0 + small)).sum()
    return total, jnp.where(scores > 0, 1.0, small) / (1.0 + small)


def _forward(z_nd: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _blocks(z_nd)


def _backward(gradient_nd: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    return (cotangent * gradient_nd,)


sum_softplus.defvjp(_forward, _backward)
