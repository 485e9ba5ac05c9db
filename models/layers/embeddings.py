"""Tokens to vectors, and vectors back to scores of tokens.

One matrix may do both: Press and Wolf 2016, arXiv:1608.05859.
Axis letters: `b` batch, `l` length, `d` width, `v` vocabulary.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers.products import dot_general


class Embedding(nn.Module):
    """A trained vector for each of `num` ids; parameter `embedding` [v, d].

    Attributes:
      num: v; an id beyond it gives NaN, which stops a run, and not another id's vector.
      width: d.
      std: standard deviation of the normal initial values.
    """

    num: int
    width: int
    std: float = 0.02
    dtype: jnp.dtype = jnp.float32

    def setup(self) -> None:
        """Makes the matrix, which two methods read."""
        init = nn.initializers.normal(self.std)
        self.embedding = self.param("embedding", init, (self.num, self.width))

    def __call__(self, ids: jax.Array) -> jax.Array:
        """int32 [...] -> [..., d] in `dtype`."""
        return jnp.take(jnp.asarray(self.embedding, self.dtype), ids, axis=0)

    def scores(self, x: jax.Array) -> jax.Array:
        """The products with every id's vector: [..., d] -> float32 [..., v]."""
        embedding = jnp.asarray(self.embedding, self.dtype)
        dimensions = (((x.ndim - 1,), (1,)), ((), ()))
        return dot_general(
            x.astype(self.dtype), embedding, dimensions, preferred_element_type=jnp.float32
        )


def vocabulary_head(
    num: int,
    dtype: jnp.dtype,
    kernel_init: nn.initializers.Initializer,
    *,
    use_bias: bool,
    name: str | None = "head",
) -> nn.Dense:
    """A dense layer to float32 scores of `num` tokens: products in `dtype`, sums in float32."""
    product = partial(dot_general, preferred_element_type=jnp.float32)
    return nn.Dense(
        num,
        use_bias=use_bias,
        dtype=dtype,
        kernel_init=kernel_init,
        dot_general=product,
        name=name,
    )


def check_length(length: int, most: int) -> None:
    """Raises ValueError for a text that is longer than the model's positions."""
    if length > most:
        raise ValueError(f"a text of {length} tokens, and model.max_length={most} positions")
