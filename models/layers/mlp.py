"""The position-wise feed-forward network of a Transformer (arXiv:1706.03762, equation 2).

Axis letters: `b` batch, `l` length, `d` width, `f` hidden width.
"""

from collections.abc import Callable, Mapping
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.products import dot_general

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
      dropout_rate: after the output, in training.
      hidden_dropout_rate: after the activation; `dropout_rate` where it is None.
      out_init: of the output's kernel; `kernel_init` where it is None.
    """

    hidden_width: int
    activation: str = "gelu_tanh"
    dropout_rate: float = 0.0
    hidden_dropout_rate: float | None = None
    use_bias: bool = True
    dtype: jnp.dtype = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.xavier_uniform()
    out_init: nn.initializers.Initializer | None = None
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[..., d] -> [..., d] in `dtype`."""
        dense = partial(
            nn.Dense,
            use_bias=self.use_bias,
            dtype=self.dtype,
            bias_init=self.bias_init,
            dot_general=dot_general,
        )
        dropout = partial(nn.Dropout, deterministic=not train)
        rate = self.dropout_rate if self.hidden_dropout_rate is None else self.hidden_dropout_rate
        hidden = dense(self.hidden_width, kernel_init=self.kernel_init, name="hidden")(x)
        hidden = dropout(rate, name="hidden_dropout")(activation(self.activation)(hidden))
        out = dense(x.shape[-1], kernel_init=self.out_init or self.kernel_init, name="out")(hidden)
        return dropout(self.dropout_rate, name="out_dropout")(out)
