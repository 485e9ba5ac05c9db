"""The convolution with its own kernel gradient against XLA's."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers.convolution import convolve, kernel_gradient
from tests.models import run

XLA, OWN = nn.Conv(5, (3, 3)), nn.Conv(5, (3, 3), conv_general_dilated=convolve)


def images(channels: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=(4, 7, 6, channels)), jnp.float32)


def loss(module, params, x):
    return (module.apply({"params": params}, x) ** 2).sum()


def close(a, b) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3), a, b)


@pytest.mark.parametrize("channels", [1, 3, 8])
def test_value_and_gradients_equal_xlas(channels: int) -> None:
    x = images(channels)
    params = OWN.init(jax.random.key(0), x)["params"]
    own, xla = (
        run.jit(jax.value_and_grad(lambda p, x, m=module: loss(m, p, x), (0, 1)))(params, x)
        for module in (OWN, XLA)
    )
    close(own, xla)


def test_gradients_of_members_equal_xlas() -> None:
    """An ensemble's vmap gives each member a kernel of its own."""
    x = images(8)
    params = jax.vmap(lambda k: OWN.init(k, x)["params"])(jax.random.split(jax.random.key(0), 3))
    own, xla = (
        run.jit(jax.vmap(jax.grad(lambda p, m=module: loss(m, p, x))))(params)
        for module in (OWN, XLA)
    )
    close(own, xla)


def test_gradients_can_be_differentiated_again() -> None:
    x = images(2)
    params = OWN.init(jax.random.key(0), x)["params"]

    def slope(module, params):
        return sum((g**2).sum() for g in jax.tree.leaves(jax.grad(loss, 1)(module, params, x)))

    own, xla = (run.jit(jax.grad(lambda p, m=m: slope(m, p)))(params) for m in (OWN, XLA))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3), own, xla)


@pytest.mark.parametrize("channels", [2, 8])
def test_kernel_gradient_sums_in_float32(channels: int) -> None:
    x = images(channels).astype(jnp.bfloat16)
    dy = images(5).astype(jnp.bfloat16)
    gradient = kernel_gradient(x, dy, ((1, 1), (1, 1)))
    assert gradient.dtype == jnp.float32 and gradient.shape == (3, 3, channels, 5)
    padded = np.pad(np.asarray(x, "f8"), ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.einsum("bhwc,bhwo->co", padded[:, 2:, :6], np.asarray(dy, "f8"))
    np.testing.assert_allclose(gradient[2, 0], expected, rtol=1e-4, atol=1e-4)


def test_what_it_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="neither strides nor dilation nor groups"):
        nn.Conv(5, (3, 3), strides=2, conv_general_dilated=convolve).init(
            jax.random.key(0), images(1)
        )
