"""Convolution whose kernel gradient is spread over a CPU's cores.

For `nn.Conv(conv_general_dilated=convolve)`. XLA:CPU computes the gradient with respect to a kernel
as a convolution with a window as large as the image, on one thread. It is a matrix product a kernel
position (i, j), dK[i, j] = sum over b, y, x of X[b, y + i, x + j]^T dY[b, y, x], and products run
side by side. Worth it on a first layer or from 32 channels on; other platforms keep XLA's own.

Axis letters: `b` batch, `c` channels in, `o` channels out, `n` pixels of all examples.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]
_CONVOLUTION = partial(
    lax.conv_general_dilated, window_strides=(1, 1), dimension_numbers=("NHWC", "HWIO", "NHWC")
)
# Up to this many, all positions of the kernel make one product: fewer passes over dY.
_FEW_CHANNELS = 4


def convolve(
    x: jax.Array, kernel: jax.Array, window_strides: Any, padding: Any, **options: Any
) -> jax.Array:
    """`lax.conv_general_dilated` of [b, height, width, c] and [rows, columns, c, o] for `nn.Conv`.

    Differentiable any number of times in reverse, not in forward mode.

    Raises:
      ValueError: strides, dilation or groups, which it does not have.
    """
    dilations = (*options["lhs_dilation"], *options["rhs_dilation"])
    if {*window_strides, *dilations, options["feature_group_count"]} != {1}:
        raise ValueError("convolve has neither strides nor dilation nor groups")
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], (1, 1), padding)
    return _convolve(x, kernel, tuple((int(low), int(high)) for low, high in padding))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    return _CONVOLUTION(x, kernel, padding=pads)


def _forward(x: jax.Array, kernel: jax.Array, pads: Pads) -> tuple[jax.Array, Any]:
    return _convolve(x, kernel, pads), (x, kernel)


def _backward(pads: Pads, kept: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[Any, Any]:
    x, kernel = kept

    def by_convolution(x: jax.Array, dy: jax.Array) -> jax.Array:
        return jax.vjp(lambda kernel: _CONVOLUTION(x, kernel, padding=pads), kernel)[1](dy)[0]

    def by_products(x: jax.Array, dy: jax.Array) -> jax.Array:
        return kernel_gradient(x, dy, pads).astype(kernel.dtype)

    (dx,) = jax.vjp(lambda x: _CONVOLUTION(x, kernel, padding=pads), x)[1](dy)
    return dx, lax.platform_dependent(x, dy, cpu=by_products, default=by_convolution)


_convolve.defvjp(_forward, _backward)


def kernel_gradient(x: jax.Array, dy: jax.Array, pads: Pads) -> jax.Array:
    """Float32 [rows, columns, c, o] from the unpadded input and the output's gradient."""
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    height, width = dy.shape[1:3]
    rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
    shifted = [x[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)]
    channels = x.shape[-1]

    # Flat: XLA:CPU takes three times as long over a product that sums three axes. The one that is
    # transposed is dY: all products share it.
    dy_on = dy.reshape(-1, dy.shape[-1]).T

    def product(pixels: jax.Array) -> jax.Array:
        flat = pixels.reshape(-1, pixels.shape[-1])
        return jnp.matmul(dy_on, flat, preferred_element_type=jnp.float32).T

    if channels <= _FEW_CHANNELS:
        gradient = product(jnp.concatenate(shifted, axis=-1))
    else:
        gradient = jnp.stack([product(pixels) for pixels in shifted])
    return gradient.reshape(rows, columns, channels, -1)
