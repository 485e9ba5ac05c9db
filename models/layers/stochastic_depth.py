"""Stochastic depth: a residual branch is skipped at random, example by example.

Huang et al. 2016, arXiv:1603.09382. Deviation: the branch is scaled by 1 / (1 - rate) when it is
kept in training, in place of by (1 - rate) in evaluation; the expectation is the same.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


def linear_rates(depth: int, last: float) -> np.ndarray:
    """Drop rates that grow linearly from 0 at the first layer to `last`; float32 [depth].

    Section 4 of the paper starts at last / depth; DeiT's 0 at the first layer has become the rule.
    """
    return np.linspace(0.0, last, depth, dtype=np.float32)


class StochasticDepth(nn.Module):
    """Zeroes all of an example's branch with probability `rate`; random stream "dropout"."""

    @nn.compact
    def __call__(self, branch: jax.Array, rate: jax.Array | float, train: bool) -> jax.Array:
        """Branch [b, ...] -> [b, ...]; `rate` in [0, 1) may be traced (a scanned layer's own)."""
        if not train:
            return branch
        keep = 1.0 - jnp.asarray(rate, jnp.float32)
        shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
        kept = jax.random.bernoulli(self.make_rng("dropout"), keep, shape)
        return jnp.where(kept, branch / keep.astype(branch.dtype), jnp.zeros((), branch.dtype))
