"""Normalisation with float32 statistics and parameters, whatever dtype the model computes in.

Layer normalisation: Ba et al. 2016, arXiv:1607.06450. Batch normalisation: Ioffe and Szegedy 2015,
arXiv:1502.03167. Both return x' = scale * (x - mean) / sqrt(variance + epsilon) + bias in `dtype`.

Under jit a batch is one global array however many devices hold it, so that the batch statistics
are those of the global batch without any code for it. The running variance is the biased one
(divided by n, as in the paper's training step), where PyTorch divides by n - 1.
"""

import flax.linen as nn
import jax.numpy as jnp


def layer_norm(
    name: str, dtype: jnp.dtype, epsilon: float = 1e-6, use_bias: bool = True
) -> nn.LayerNorm:
    """A module that normalises over the last axis; parameters `scale` and `bias` [d].

    The variance is E[(x - mean)^2], in two passes: E[x^2] - mean^2 loses all digits of a feature
    vector whose mean is large.
    """
    return nn.LayerNorm(
        epsilon=epsilon, dtype=dtype, use_bias=use_bias, use_fast_variance=False, name=name
    )


def batch_norm(
    name: str,
    dtype: jnp.dtype,
    *,
    train: bool,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    scale_init: nn.initializers.Initializer = nn.initializers.ones,
) -> nn.BatchNorm:
    """A module that normalises over all axes but the last: `scale`, `bias` [c] and `batch_stats`.

    In training it uses the batch's statistics and moves the running ones to
    momentum * running + (1 - momentum) * batch; otherwise it uses the running ones.
    """
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=momentum,
        epsilon=epsilon,
        dtype=dtype,
        scale_init=scale_init,
        name=name,
    )
