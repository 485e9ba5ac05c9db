"""Layer-wise learning rates: the formula, by path and along a scan's axis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers.stack import stack_layers
from models.text import bert, gpt
from models.vision import vit
from tests.training.test_optimizers import train
from training import layer_rates, optimizers
from training.contracts import ConfigError, Info
from training.trees import named

INFO = Info({}, num_classes=3, vocab_size=11, max_length=8)
TOKENS, IMAGE = jnp.zeros((1, 4), jnp.int32), jnp.zeros((1, 8, 8, 3))
SIZES = {"width": 8, "depth": 3, "heads": 2, "mlp_width": 8}
# Model, its input, and what comes before the layers; all else beside them comes after.
MODELS = {
    "bert": (bert, {"head": "classes"}, TOKENS, {"tokens", "positions", "types", "embedding_norm"}),
    "masked": (bert, {"head": "mlm"}, TOKENS, {"tokens", "positions", "types", "embedding_norm"}),
    "gpt": (gpt, {}, TOKENS, {"tokens", "positions"}),
    "relative": (gpt, {"positions": "relative"}, TOKENS, {"tokens", "relative"}),
    "vit": (vit, {"patch_size": 4}, IMAGE, {"class_token", "positions", "patch_projection"}),
    "deit": (
        vit, {"patch_size": 4, "distilled": True}, IMAGE,
        {"class_token", "distillation_token", "positions", "patch_projection"},
    ),
}  # fmt: skip


def shapes(name: str, **options):
    module, said, example, _ = MODELS[name]
    model = module.build(module.Config(**SIZES, **said, **options), INFO)
    init = lambda key: model.init(key, example, train=False)["params"]  # noqa: E731
    return jax.eval_shape(init, jax.random.key(0))


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_layer_has_its_power_of_the_decay(name, scan):
    """Of three layers: 1/8, 1/4, 1/2 of the rate; before them 1/16, after them all of it."""
    found = named(layer_rates.factors(shapes(name, scan_layers=scan), 0.5))
    first = {path.split("/")[0] for path in found}
    inputs = MODELS[name][3]
    assert inputs <= first
    for path, factor in found.items():
        top = path.split("/")[0]
        if top == "layers":
            np.testing.assert_array_equal(np.ravel(factor), [1 / 8, 1 / 4, 1 / 2])
        elif top.startswith("layer_"):
            assert factor == 0.5 ** (3 - int(top[-2:]))
        else:
            assert factor == (1 / 16 if top in inputs else 1.0), path


def column(depth: int = 3):
    """A network of equal layers, and gradients [t, ...] of its parameters."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape)  # noqa: E731
    params = {f"layer_{i:02d}": {"kernel": draw(2, 4), "bias": draw(4)} for i in range(depth)}
    params |= {"tokens": {"embedding": draw(5, 2)}, "head": {"kernel": draw(4, 3)}}
    return params, jax.tree.map(lambda leaf: rng.normal(size=(6, *leaf.shape)), params)


def test_the_step_is_scaled_by_the_factor():
    """Plain descent: what a parameter moves by is its share of what it moves by without decay."""
    params, slopes = column()
    plain = {"name": "sgd", "momentum": 0.0, "learning_rate": 0.1}
    same, _ = train(optimizers.Config(**plain), params, slopes)
    state, _ = train(optimizers.Config(**plain, layer_decay=0.5), params, slopes)
    shares = {"tokens": 1 / 16, "layer_00": 1 / 8, "layer_01": 1 / 4, "layer_02": 1 / 2, "head": 1}
    for top, share in shares.items():
        moved, all_of_it = (
            jax.tree.map(
                lambda a, b: a - b, found.params[top], jax.tree.map(jnp.float32, params[top])
            )
            for found in (state, same)
        )
        jax.tree.map(
            lambda a, b, s=share: np.testing.assert_allclose(a, s * b, 1e-3, 1e-6), moved, all_of_it
        )


@pytest.mark.parametrize("name", ["adamw", "lion"])
def test_a_scan_moves_as_the_loop_does(name):
    params, slopes = column()
    config = optimizers.Config(
        name=name, learning_rate=0.05, layer_decay=0.6, weight_decay=0.1, decay_paths=("kernel$",)
    )
    looped, _ = train(config, params, slopes)
    time_first = lambda tree: jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), tree)  # noqa: E731
    stacked = stack_layers(slopes)
    stacked["layers"] = time_first(stacked["layers"])
    scanned, _ = train(config, stack_layers(params), stacked)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 1e-6, 1e-7),
        scanned.params, stack_layers(looped.params),
    )  # fmt: skip


def test_what_is_frozen_still_counts_and_stays():
    """Partial fine-tuning: the trained layers keep their rates; what is frozen has no state."""
    params, slopes = column()
    plain = {"name": "sgd", "momentum": 0.0, "learning_rate": 0.1, "layer_decay": 0.5}
    whole, _ = train(optimizers.Config(**plain), params, slopes)
    frozen = ("^layer_0[02]/", "^tokens/")
    state, _ = train(optimizers.Config(**plain, frozen=frozen), params, slopes)
    for top, branch in state.params.items():
        expected = (
            whole.params if top in ("layer_01", "head") else jax.tree.map(jnp.float32, params)
        )
        jax.tree.map(np.testing.assert_array_equal, branch, expected[top])
    moments, _ = train(optimizers.Config(layer_decay=0.5, frozen=frozen), params, slopes)
    kept = sorted(leaf.shape for leaf in jax.tree.leaves(moments.opt_state) if leaf.ndim)
    assert kept == sorted([(2, 4), (4,), (4, 3)] * 2), "two moments of what is trained"


def test_all_layers_of_a_scan_may_be_frozen_with_what_is_before_them():
    """The head alone learns, at the whole rate; a rate below frozen layers would need a count."""
    params, slopes = (stack_layers(tree) for tree in column())
    slopes["layers"] = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), slopes["layers"])
    plain = {"name": "sgd", "momentum": 0.0, "learning_rate": 0.1, "layer_decay": 0.5}
    state, _ = train(optimizers.Config(**plain, frozen=("^(layers|tokens)/",)), params, slopes)
    np.testing.assert_allclose(
        state.params["head"]["kernel"],
        params["head"]["kernel"] - 0.1 * slopes["head"]["kernel"].sum(0), 1e-5, 1e-6,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"frozen as one array, and tokens/embedding before"):
        train(optimizers.Config(**plain, frozen=("^layers/",)), params, slopes)


def test_encoder_and_decoder_are_counted_apart():
    leaf = np.zeros(2)
    tree = {
        "encoder": {f"layer_{i:02d}": {"bias": leaf} for i in range(2)},
        "decoder": {f"layer_{i:02d}": {"bias": leaf} for i in range(3)},
        "tokens": {"embedding": leaf},
    }
    found = layer_rates.factors(tree, 0.5)
    assert found["encoder"]["layer_01"]["bias"] == found["decoder"]["layer_02"]["bias"] == 0.5
    assert found["tokens"]["embedding"] == 1 / 16


def test_what_comes_before_must_be_known():
    params, _ = column()
    with pytest.raises(ConfigError, match=r"input_paths=\('words',\) matches nothing.*tokens/emb"):
        layer_rates.factors(params, 0.5, ("words",))
