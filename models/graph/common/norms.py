"""Batch normalisation over the nodes of packed graphs, padding left out.

Ioffe and Szegedy 2015, arXiv:1502.03167: x' = scale * (x - mean) / sqrt(variance + epsilon) + bias,
mean and variance over all real nodes of the batch; the running variance is the biased one.

Axis letters: `n` nodes, `d` width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


class NodeBatchNorm(nn.Module):
    """`scale`, `bias` [d] and `batch_stats` (`mean`, `variance` [d]), all float32.

    Attributes:
      momentum: share of the running statistics that an update keeps.
      epsilon: guard of the root.
      axis_name: of the vmapped packs that the statistics are taken over together; None if alone.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x_nd: jax.Array, mask_n: jax.Array | None, train: bool) -> jax.Array:
        """[n, d] -> [n, d] in its dtype; rows whose `mask_n` is False are not counted."""
        width = x_nd.shape[-1]
        mean = self.variable("batch_stats", "mean", jnp.zeros, (width,))
        variance = self.variable("batch_stats", "variance", jnp.ones, (width,))
        scale = self.param("scale", nn.initializers.ones, (width,))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        values = x_nd.astype(jnp.float32)
        if train:
            seen_mean, seen_variance = self._statistics(values, mask_n)
            if not self.is_initializing():
                keep = self.momentum
                mean.value = keep * mean.value + (1 - keep) * seen_mean
                variance.value = keep * variance.value + (1 - keep) * seen_variance
        else:
            seen_mean, seen_variance = mean.value, variance.value
        factor = scale * jax.lax.rsqrt(seen_variance + self.epsilon)
        return ((values - seen_mean) * factor + bias).astype(x_nd.dtype)

    def _statistics(
        self, values: jax.Array, mask_n: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        def total(array: jax.Array) -> jax.Array:
            array = array.sum(0) if mask_n is None else _sum_where(array, mask_n)
            return array if self.axis_name is None else jax.lax.psum(array, self.axis_name)

        count = jnp.maximum(total(jnp.ones(len(values))), 1.0)
        mean = total(values) / count
        return mean, total(jnp.square(values - mean)) / count


def _sum_where(array: jax.Array, mask_n: jax.Array) -> jax.Array:
    mask = mask_n.reshape(-1, *(1,) * (array.ndim - 1))
    return jnp.where(mask, array, 0.0).sum(0)
