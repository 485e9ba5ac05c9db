"""Where a token stands: added to it, turning its queries and keys, or added to scores.

Added to tokens: sinusoids, Vaswani et al. 2017, arXiv:1706.03762, section 3.5; in two dimensions,
Chen, Xie and He 2021, arXiv:2104.02057, as big_vision has it (Beyer et al. 2022, arXiv:2205.01580);
learned vectors. Turned: rotary, Su et al. 2021, arXiv:2104.09864, equations 14 and 34, dimension i
paired with i + k / 2 as in GPT-NeoX and Llama, where the paper pairs neighbours: the same up to the
order of the dimensions. Added to scores: linear biases (ALiBi), Press et al. 2021,
arXiv:2108.12409, section 3; relative biases by buckets, Raffel et al. 2019, arXiv:1910.10683,
section 2.1.

Axis letters: `b` batch, `l` length, `d` width, `h` heads, `k` head width.
"""

import math
from collections.abc import Callable

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


def sinusoidal_at(positions: jax.Array, width: int, temperature: float = 10_000.0) -> jax.Array:
    """The rows of `sinusoidal` for int32 positions [...]: float32 [..., d].

    Raises:
      ValueError: `width` is odd.
    """
    if width % 2:
        raise ValueError(f"sinusoidal positions need an even width, not {width}")
    rates = temperature ** (-np.arange(0, width, 2) / width)
    angles = positions[..., None].astype(jnp.float32) * jnp.asarray(rates, jnp.float32)
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], -1).reshape(*positions.shape, width)


def rotary(x_blhk: jax.Array, positions: jax.Array, temperature: float = 10_000.0) -> jax.Array:
    """Each pair (i, i + k/2) of a head turned by position * temperature^(-2i/k): [b, l, h, k].

    The product of a turned query and a turned key depends on the distance alone.

    Args:
      x_blhk: queries or keys; they keep their dtype.
      positions: int32 [b, l] or [l].
      temperature: of the slowest pair.

    Raises:
      ValueError: the head width is odd.
    """
    width = x_blhk.shape[-1]
    if width % 2:
        raise ValueError(f"rotary positions need an even head width, not {width}")
    rates = temperature ** (-np.arange(0, width, 2) / width)
    angles = positions[..., None, None].astype(jnp.float32) * jnp.asarray(rates, jnp.float32)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    first, second = jnp.split(x_blhk.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x_blhk.dtype)


def alibi_slopes(heads: int) -> np.ndarray:
    """float32 [h]: 2^(-8/h), 2^(-16/h), ... where h is a power of two.

    For others, as the authors' code: those of the next lower power p, then every other one of 2p.
    """
    lower = 2 ** int(math.log2(heads))
    slopes = 2.0 ** (-8 * np.arange(1, lower + 1) / lower)
    between = 2.0 ** (-4 * np.arange(1, 2 * lower + 1, 2) / lower)
    return np.concatenate([slopes, between])[:heads].astype("f4")


def alibi(distance: jax.Array, heads: int) -> jax.Array:
    """-slope |distance|: float32 [h, ...] of distances int32 [...], key less query."""
    slopes = jnp.asarray(alibi_slopes(heads)).reshape(heads, *(1,) * distance.ndim)
    return -slopes * jnp.abs(distance).astype(jnp.float32)


def relative_bucket(
    distance: jax.Array, buckets: int = 32, furthest: int = 128, causal: bool = False
) -> jax.Array:
    """The bucket, int32 [...], of distances int32 [...], key less query.

    Half of the buckets are one distance each, the rest grow with its logarithm up to `furthest`,
    and the last holds all beyond. Where not causal, keys after the query have the upper half of all
    buckets to themselves; where causal they count as distance 0.
    """
    after = jnp.zeros_like(distance)
    if causal:
        away = jnp.maximum(-distance, 0)
    else:
        buckets //= 2
        after, away = jnp.where(distance > 0, buckets, 0), jnp.abs(distance)
    exact = buckets // 2
    # The first distance of each wider bucket, computed in float64: a logarithm's rounding on one
    # platform or another must not decide where a whole distance falls.
    steps = np.arange(1, buckets - exact) / (buckets - exact)
    starts = np.ceil(exact * (furthest / exact) ** steps - 1e-9).astype(np.int32)
    wide = exact + (away[..., None] >= starts).sum(-1, dtype=jnp.int32)
    return after + jnp.where(away < exact, away, wide)


class RelativeBias(nn.Module):
    """A trained number for each bucket and head; parameter `embedding` [buckets, h].

    Deviation from T5: scores are divided by sqrt(k) before it is added, as everywhere here.
    """

    heads: int
    causal: bool
    buckets: int = 32
    furthest: int = 128
    std: float = 0.02

    @nn.compact
    def __call__(self) -> Callable[[jax.Array], jax.Array]:
        """The function from distances int32 [...], key less query, to float32 [h, ...]."""
        init = nn.initializers.normal(self.std)
        embedding = jnp.asarray(self.param("embedding", init, (self.buckets, self.heads)))

        def bias(distance: jax.Array) -> jax.Array:
            bucket = relative_bucket(distance, self.buckets, self.furthest, self.causal)
            return jnp.moveaxis(embedding[bucket], -1, 0)

        return bias


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
