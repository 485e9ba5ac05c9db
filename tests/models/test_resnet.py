"""Residual networks: the papers' sizes, shortcuts, and batch statistics."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.vision import resnet
from tests.models import run
from tests.oracles import layers as oracle
from training.contracts import Info

SMALL = resnet.Config(family="cifar", depth=8, width=4)


def images(count: int = 4, size: int = 8) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=(count, size, size, 3)), jnp.float32)


def model(classes: int = 5, **changes) -> resnet.ResNet:
    return resnet.build(dataclasses.replace(SMALL, **changes), Info({}, classes))


def count(family: str, depth: int, classes: int) -> int:
    module = model(classes, family=family, depth=depth, width=None)
    image = jnp.zeros((1, 64, 64, 3))
    shapes = jax.eval_shape(lambda k: module.init(k, image, train=False), jax.random.key(0))
    return sum(a.size for a in jax.tree.leaves(shapes["params"]))


@pytest.mark.parametrize(
    ("depth", "expected"),
    [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)],
)
def test_cifar_sizes(depth: int, expected: int) -> None:
    """Table 6 of arXiv:1512.03385 rounds them to 0.27, 0.46, 0.66, 0.85 and 1.7 million."""
    assert count("cifar", depth, 10) == expected


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (18, 11_689_512),
        (34, 21_797_672),
        (50, 25_557_032),
        (101, 44_549_160),
        (152, 60_192_808),
    ],
)
def test_imagenet_sizes(depth: int, expected: int) -> None:
    assert count("imagenet", depth, 1000) == expected


@pytest.mark.parametrize(("family", "depth"), [("cifar", 8), ("imagenet", 18), ("imagenet", 50)])
def test_each_stage_but_the_first_halves_the_image(family: str, depth: int) -> None:
    module = model(family=family, depth=depth)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)

    def run(key, image):
        return module.init_with_output(
            key, image, train=False, capture_intermediates=True, mutable=True
        )[1]["intermediates"]

    seen = jax.eval_shape(run, jax.random.key(0), image)
    blocks = {k: v["__call__"][0].shape for k, v in seen.items() if k.startswith("stage")}
    size, expand = (64, 1) if family == "cifar" else (16, 4 if depth >= 50 else 1)
    for name, shape in blocks.items():
        stage = int(name.split("_")[1])
        assert shape == (1, size >> stage, size >> stage, (4 << stage) * expand), name


def test_option_a_subsamples_and_pads_with_zeros() -> None:
    x = images(2, 6)
    out = resnet.subsample_and_pad(x, 2, 8)
    assert out.shape == (2, 3, 3, 8)
    np.testing.assert_array_equal(out[..., 2:5], x[:, ::2, ::2])
    assert not np.any(out[..., :2]) and not np.any(out[..., 5:])


def test_a_strided_block_equals_its_equation() -> None:
    """relu(x + norm(conv(relu(norm(conv(x)))))), arXiv:1512.03385 equation 1, with option A."""
    config = dataclasses.replace(SMALL)
    block = resnet.ResidualBlock(
        channels=6, stride=2, bottleneck=False, projection=False, config=config
    )
    x = images(2, 6)
    variables = run.init(block, x)
    params = variables["params"]
    out, _ = run.apply(block, variables, x, train=True, mutable=["batch_stats"])
    branch = oracle.convolution(x, params["conv_1"]["kernel"], stride=2)
    branch = np.maximum(oracle.batch_norm(branch, 1.0, 0.0)[0], 0)
    branch = oracle.convolution(branch, params["conv_2"]["kernel"])
    branch = oracle.batch_norm(branch, 1.0, 0.0)[0]
    shortcut = np.asarray(resnet.subsample_and_pad(x, 2, 6), np.float64)
    np.testing.assert_allclose(out, np.maximum(shortcut + branch, 0), atol=1e-4)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_zero_init_makes_a_block_the_identity(bottleneck: bool) -> None:
    """relu(x + 0) is x where x is not negative, as after any other block."""
    x = jnp.abs(jnp.tile(images(), (1, 1, 1, 4)))
    for zero in (True, False):
        config = dataclasses.replace(SMALL, zero_init_residual=zero)
        block = resnet.ResidualBlock(3 if bottleneck else 12, 1, bottleneck, True, config)
        out = run.apply(block, run.init(block, x), x, train=False)
        assert np.allclose(out, x) == zero


def test_training_moves_the_running_statistics_that_evaluation_reads() -> None:
    module, image = model(norm_momentum=0.5), images() * 3 + 1
    variables = run.init(module, image)
    mean = variables["batch_stats"]["stem_norm"]["mean"]
    _, changed = run.apply(module, variables, image, train=True, mutable=["batch_stats"])
    convolved = oracle.convolution(image, variables["params"]["stem_conv"]["kernel"])
    np.testing.assert_allclose(
        changed["batch_stats"]["stem_norm"]["mean"],
        0.5 * np.asarray(mean) + 0.5 * convolved.mean((0, 1, 2)),
        atol=1e-4,
    )
    logits = run.jit(lambda stats, x: module.apply({**variables, **stats}, x, train=False))
    before, after = logits({"batch_stats": variables["batch_stats"]}, image), logits(changed, image)
    assert not np.allclose(before, after)
    # In evaluation an example's logits do not depend on its neighbours in the batch.
    neighbours = image.at[1:].multiply(7.0)
    np.testing.assert_allclose(after[:1], logits(changed, neighbours)[:1], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "vgg"}, "family='vgg': expected one of cifar, imagenet"),
        ({"depth": 18}, "depth=18 for CIFAR: expected 6n"),
        ({"family": "imagenet", "depth": 20}, "depth=20 for ImageNet: expected one of 18, 34"),
    ],
)
def test_unknown_values_name_the_known_ones(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**changes)
