"""The Vision Transformer: its papers' sizes, and what its options promise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.vision import vit
from tests.models import run
from training.contracts import Info

SMALL = vit.Config(width=16, depth=2, heads=2, mlp_width=24, patch_size=4)


def images(count: int = 3, size: int = 12) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=(count, size, size, 3)), jnp.float32)


def model(**changes) -> vit.ViT:
    return vit.build(dataclasses.replace(SMALL, **changes), Info({}, 5))


def count(config: vit.Config, classes: int = 1000) -> int:
    module = vit.build(config, Info({}, classes))
    image = jnp.zeros((1, 224, 224, 3))
    shapes = jax.eval_shape(lambda k: module.init(k, image, train=False), jax.random.key(0))
    return sum(a.size for a in jax.tree.leaves(shapes))


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize(
    ("variant", "expected"),
    [("Ti", 5_717_416), ("S", 22_050_664), ("B", 86_567_656), ("L", 304_326_632)],
)
def test_sizes_are_the_papers(variant: str, expected: int, scan: bool) -> None:
    assert count(vit.Config(variant=variant, scan_layers=scan)) == expected


def test_big_visions_small_has_neither_token_nor_learned_positions() -> None:
    """ViT-S/16 of arXiv:2205.01580: S without its class token and its 197 learned positions."""
    config = vit.Config(variant="S", pool="gap", positions="sincos2d")
    assert count(config) == 22_050_664 - 384 - 197 * 384


@pytest.mark.parametrize(
    ("variant", "expected"), [("Ti", 5_910_800), ("S", 22_436_432), ("B", 87_338_192)]
)
def test_a_distilled_one_has_a_token_and_a_head_more(variant: str, expected: int) -> None:
    assert count(vit.Config(variant=variant, distilled=True)) == expected


def test_distilled_logits_are_the_mean_of_two_heads() -> None:
    """Each token is read by its own head: without the other's, half of the logits are left."""
    module, image = model(distilled=True), images()
    params = run.params(module, image)

    def logits(*without: str) -> jax.Array:
        nothing = {name: jax.tree.map(jnp.zeros_like, params[name]) for name in without}
        return run.apply(module, {"params": {**params, **nothing}}, image, train=False)

    first, second = logits("distillation_head"), logits("head")
    np.testing.assert_allclose(first + second, logits(), atol=1e-6)
    assert not np.allclose(first, second)
    _, seen = run.apply(
        module, {"params": params}, image, train=False,
        capture_intermediates=lambda m, _: m.name == "norm", mutable=["intermediates"],
    )  # fmt: skip
    x_bld = seen["intermediates"]["norm"]["__call__"][0]
    head = params["head"]
    np.testing.assert_allclose(2 * first, x_bld[:, 0] @ head["kernel"] + head["bias"], atol=1e-5)


def test_patches_are_read_row_by_row() -> None:
    """Token 5 (row 1, column 2) sees its own 4x4 pixels: its derivative is zero by all others."""
    image = images(1)
    module = model(depth=0, pool="gap", positions="none")
    params = run.params(module, image)

    def fifth(image):
        _, seen = module.apply(
            {"params": params},
            image,
            train=False,
            capture_intermediates=lambda m, _: m.name == "patch_projection",
        )
        return seen["intermediates"]["patch_projection"]["__call__"][0][0, 5].sum()

    touched = np.any(np.asarray(run.jit(jax.grad(fifth))(image))[0] != 0, axis=-1)
    expected = np.zeros((12, 12), bool)
    expected[4:8, 8:12] = True
    np.testing.assert_array_equal(touched, expected)


def shuffled(image: jax.Array) -> jax.Array:
    """The same patches, elsewhere."""
    tiles = image.reshape(len(image), 3, 4, 3, 4, 3).transpose(0, 1, 3, 2, 4, 5)
    order = np.random.default_rng(2).permutation(9)
    tiles = tiles.reshape(len(image), 9, 4, 4, 3)[:, order].reshape(len(image), 3, 3, 4, 4, 3)
    return tiles.transpose(0, 1, 3, 2, 4, 5).reshape(image.shape)


@pytest.mark.parametrize("pool", vit.POOLS)
@pytest.mark.parametrize("positions", vit.POSITIONS)
def test_only_positions_know_where_a_patch_is(pool: str, positions: str) -> None:
    """Attention and the pools treat tokens as a set, so that without positions no order matters."""
    module = model(pool=pool, positions=positions)
    image = images()
    params = run.params(module, image)
    logits = [
        run.apply(module, {"params": params}, x, train=False) for x in (image, shuffled(image))
    ]
    assert np.allclose(*logits, atol=1e-5) == (positions == "none")


def test_position_std_is_that_of_the_start() -> None:
    module = model(position_std=0.5)
    params = run.init(module, images(1))["params"]
    assert abs(float(params["positions"]["embedding"].std()) - 0.5) < 0.1


def test_the_first_prediction_is_uniform() -> None:
    logits = run.apply(model(), run.init(model(), images()), images(), train=False)
    assert not np.any(logits)


@pytest.mark.parametrize("changes", [{"activation": "relu"}, {"norm_epsilon": 0.5}])
def test_activation_and_epsilon_are_used(changes: dict) -> None:
    params = run.params(model(), images())
    plain, other = (
        run.apply(m, {"params": params}, images(), train=False) for m in (model(), model(**changes))
    )
    assert not np.allclose(plain, other)


@pytest.mark.parametrize(
    "rate", ["dropout_rate", "attention_dropout_rate", "stochastic_depth_rate"]
)
def test_randomness_is_for_training_only(rate: str) -> None:
    module, image = model(**{rate: 0.5}), images()
    params = run.params(model(), image)

    def logits(train: bool, seed: int) -> jax.Array:
        return run.apply(module, {"params": params}, image, seed=seed, train=train)

    plain = run.apply(model(), {"params": params}, image, train=False)
    np.testing.assert_array_equal(logits(False, 0), plain)
    assert not np.allclose(logits(True, 0), logits(True, 1))


def test_attention_of_every_layer_is_sown() -> None:
    module, image = model(), images()
    _, sown = run.apply(
        module, run.init(module, image), image, train=False, mutable=["intermediates"]
    )
    assert [w.shape for w in jax.tree.leaves(sown)] == [(3, 2, 10, 10)] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "XXL"}, "variant='XXL': expected one of Ti, S, B, L"),
        ({"pool": "max"}, "pool='max': expected one of token, gap"),
        ({"activation": "swish"}, "activation 'swish': expected one of relu"),
        ({"distilled": True, "pool": "gap"}, "distilled needs model.pool='token', not 'gap'"),
        ({"positions": "rotary"}, "positions='rotary': expected one of learned, sincos2d, none"),
        ({"dtype": "int4"}, "dtype 'int4': expected one of float32"),
    ],
)
def test_unknown_values_name_the_known_ones(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**changes)


def test_patches_must_tile_the_image() -> None:
    with pytest.raises(ValueError, match="patch_size=5 does not divide 12x12 pixels"):
        model(patch_size=5).init(jax.random.key(0), images(), train=False)
