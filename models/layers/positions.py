"""Where a token stands: fixed and learned position embeddings.

Sinusoidal: Vaswani et al. 2017, arXiv:1706.03762, section 3.5. Two-dimensional sine-cosine: Chen,
Xie and He 2021, arXiv:2104.02057, as big_vision has it (Beyer et al. 2022, arXiv:2205.01580).
Axis letters: `l` length, `d` width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


def sinusoidal(length: int, width: int, temperature: float = 10_000.0) -> np.ndarray:
    """PE[l, 2i] = sin(l / temperature^(2i/d)), PE[l, 2i+1] = cos(same); float32 [l, d].

    Raises:
      ValueError: `width` is odd.
    """
    if width % 2:
        raise ValueError(f"sinusoidal positions need an even width, not {width}")
    angles_ld = np.arange(length)[:, None] / temperature ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles_ld), np.cos(angles_ld)], -1).reshape(length, width).astype("f4")


def sincos_2d(rows: int, columns: int, width: int, temperature: float = 10_000.0) -> np.ndarray:
    """Quarters sin(x w), cos(x w), sin(y w), cos(y w) of the width; float32 [rows * columns, d].

    The frequencies w run geometrically from 1 to 1 / temperature, both ends included; tokens are in
    row-major order, x counts columns and y rows.

    Raises:
      ValueError: `width` is not a multiple of 4.
    """
    if width % 4:
        raise ValueError(f"2-D sine-cosine positions need a width divisible by 4, not {width}")
    quarter = width // 4
    frequencies = temperature ** -(np.arange(quarter) / max(quarter - 1, 1))
    y, x = np.mgrid[:rows, :columns].reshape(2, -1, 1) * frequencies
    return np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], axis=1).astype("f4")


class LearnedPositions(nn.Module):
    """One trained vector a position, added to the tokens; parameter `embedding` [l, d].

    Attributes:
      std: standard deviation of the normal initial values. The usual .02 leaves the tokens nearly
        without order at first; a short training run wants it as large as the content's.
    """

    std: float = 0.02

    @nn.compact
    def __call__(self, x_bld: jax.Array) -> jax.Array:
        """[b, l, d] -> [b, l, d], in the dtype that came in."""
        embedding = self.param("embedding", nn.initializers.normal(self.std), x_bld.shape[1:])
        return x_bld + jnp.asarray(embedding, x_bld.dtype)
