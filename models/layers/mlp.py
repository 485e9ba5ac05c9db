"""The position-wise feed-forward network of a Transformer (arXiv:1706.03762, equation 2).

Axis letters: `b` batch, `l` length, `d` width, `f` hidden width.
"""

from collections.abc import Callable, Mapping
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "gelu": partial(nn.gelu, approximate=False),
    "gelu_tanh": partial(nn.gelu, approximate=True),
    "silu": nn.silu,
    "tanh": jnp.tanh,
}


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
    """The function that a config names; ValueError for a name that is none of `ACTIVATIONS`."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation {name!r}: expected one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


class MLP(nn.Module):
    """out(dropout(act(hidden(x)))), then dropout; submodules `hidden` [d, f] and `out` [f, d].

    Attributes:
      hidden_width: f; the output has the width of the input.
      activation: one of `ACTIVATIONS`.
      dropout_rate: after the activation and after the output, in training.
    """

    hidden_width: int
    activation: str = "gelu_tanh"
    dropout_rate: float = 0.0
    dtype: jnp.dtype = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.xavier_uniform()
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[..., d] -> [..., d] in `dtype`."""
        dense = partial(
            nn.Dense, dtype=self.dtype, kernel_init=self.kernel_init, bias_init=self.bias_init
        )
        dropout = partial(nn.Dropout, self.dropout_rate, deterministic=not train)
        hidden = activation(self.activation)(dense(self.hidden_width, name="hidden")(x))
        hidden = dropout(name="hidden_dropout")(hidden)
        out = dense(x.shape[-1], name="out")(hidden)
        return dropout(name="out_dropout")(out)
