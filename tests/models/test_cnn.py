"""The small convolutional network, against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.vision import cnn
from tests.models import run
from tests.oracles import layers as oracle
from training.contracts import Info


def model(**fields) -> cnn.CNN:
    return cnn.build(cnn.Config(**fields), Info({}, 10))


def images(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).random(shape), jnp.float32)


def test_size_is_that_of_flaxs_example() -> None:
    """By hand: 9*32 + 32, 9*32*64 + 64, 7*7*64*256 + 256, 256*10 + 10."""
    image = jnp.zeros((1, 28, 28, 1))
    shapes = jax.eval_shape(lambda k: model().init(k, image, train=False), jax.random.key(0))
    assert sum(a.size for a in jax.tree.leaves(shapes)) == 824_458


def test_network_equals_its_definition() -> None:
    module, x = model(features=(3, 5), hidden=7), images(2, 9, 6, 2)
    params = jax.device_get(run.init(module, x)["params"])
    expected = x
    for name in ("conv_0", "conv_1"):
        expected = oracle.convolution(expected, params[name]["kernel"]) + params[name]["bias"]
        expected = oracle.average_pool(np.maximum(expected, 0))
    expected = expected.reshape(2, -1) @ params["hidden"]["kernel"] + params["hidden"]["bias"]
    expected = np.maximum(expected, 0) @ params["head"]["kernel"] + params["head"]["bias"]
    logits = run.apply(module, {"params": params}, x, train=False)
    np.testing.assert_allclose(logits, expected, atol=1e-5)


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_average_pool_drops_an_odd_edge(size: tuple[int, int]) -> None:
    x = images(2, *size, 3)
    np.testing.assert_allclose(cnn.average_pool(x), oracle.average_pool(x), atol=1e-6)


def test_dropout_is_for_training_only() -> None:
    module, x = model(features=(4,), hidden=64, dropout_rate=0.5), images(2, 4, 4, 1)
    variables = run.init(module, x)

    def logits(train: bool, seed: int) -> jax.Array:
        return run.apply(module, variables, x, seed=seed, train=train)

    np.testing.assert_array_equal(logits(False, 0), logits(False, 1))
    assert not np.allclose(logits(True, 0), logits(True, 1))


def test_images_must_be_large_enough() -> None:
    with pytest.raises(ValueError, match="halves 3x3 pixels 2 times, down to nothing"):
        model().init(jax.random.key(0), images(1, 3, 3, 1), train=False)
    with pytest.raises(ValueError, match=r"features=\(\): expected channels"):
        model(features=())
