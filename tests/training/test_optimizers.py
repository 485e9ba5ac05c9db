"""Every optimizer and schedule against the papers' equations, and every key does what it says."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracles import optimizers as oracle
from training import gradients, optimizers
from training.contracts import Aux, ConfigError, TrainState

STEPS = 6


def start(shape=(3, 5)):
    """Parameters of two layers, with gradients [t, ...] of each."""
    rng = np.random.default_rng(0)
    params = {
        "dense": {"kernel": rng.normal(size=shape), "bias": rng.normal(size=shape[-1:])},
        "head": {"kernel": rng.normal(size=shape)},
    }
    slopes = jax.tree.map(lambda leaf: rng.normal(size=(STEPS, *leaf.shape)), params)
    return params, slopes


def train(config, params, slopes, total_steps=STEPS):
    """The parameters and state after STEPS updates whose gradients are given."""
    optimizer = optimizers.build(config, total_steps)
    params = jax.tree.map(jnp.float32, params)
    opt_state, carry = gradients.init(optimizer, params)
    state = TrainState(jnp.int32(0), jax.random.key(0), params, opt_state, {}, carry)

    def loss(params, mutable, batch, key, step, train):
        return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, params, batch))), Aux()

    @jax.jit
    def update(state, batch):
        state, metrics = gradients.step(loss, state, batch, optimizer)
        return dataclasses.replace(state, step=state.step + 1), metrics

    for t in range(STEPS):
        batch = jax.tree.map(lambda leaf, t=t: jnp.float32(leaf[t]), slopes)
        state, metrics = update(state, batch)
    return state, metrics


def check(actual, expected):
    # In float32, Adam's 1 - 0.999^t has four digits; an update moves a parameter by some 0.05.
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, 2e-5, 1e-5), actual, expected)


SETTINGS = [
    ({"name": "sgd", "momentum": 0.0}, oracle.sgd, {"momentum": 0.0}),
    ({"name": "sgd"}, oracle.sgd, {"momentum": 0.9}),
    (
        {"name": "sgd", "momentum": 0.8, "nesterov": True},
        oracle.sgd,
        {"momentum": 0.8, "nesterov": True},
    ),
    ({"name": "sgd", "weight_decay": 0.1}, oracle.sgd, {"coupled": 0.1}),
    ({"name": "adam"}, oracle.adam, {}),
    (
        {"name": "adam", "b1": 0.5, "b2": 0.7, "eps": 0.1},
        oracle.adam,
        {"b1": 0.5, "b2": 0.7, "eps": 0.1},
    ),
    ({"name": "adam", "weight_decay": 0.1}, oracle.adam, {"coupled": 0.1}),
    (
        {"name": "adam", "weight_decay": 0.1, "coupled_decay": False},
        oracle.adam,
        {"decoupled": 0.1},
    ),
    ({"name": "adamw", "weight_decay": 0.1}, oracle.adam, {"decoupled": 0.1}),
    ({"name": "lion", "weight_decay": 0.1}, oracle.lion, {"decoupled": 0.1}),
    ({"name": "lamb", "weight_decay": 0.1}, oracle.lamb, {"decoupled": 0.1}),
    ({"name": "adafactor"}, oracle.adafactor, {}),
    (
        {"name": "adafactor", "b1": 0.5, "b2": 0.6, "weight_decay": 0.1},
        oracle.adafactor,
        {"momentum": 0.5, "exponent": 0.6, "decoupled": 0.1},
    ),
]


@pytest.mark.parametrize(("fields", "function", "settings"), SETTINGS)
def test_an_optimizer_follows_its_paper(fields, function, settings):
    """Decay in every path, and a rate that moves: any misplaced factor shows."""
    params, slopes = start()
    config = optimizers.Config(
        learning_rate=0.05, decay_paths=("kernel", "bias"), schedule="linear", **fields
    )
    state, _ = train(config, params, slopes)
    rates = np.array([oracle.schedule("linear", t, 0.05, end=STEPS) for t in range(STEPS)])
    expected = jax.tree.map(lambda x, g: function(x, g, rates, **settings), params, slopes)
    check(state.params, expected)


def test_adafactor_factors_a_large_matrix():
    params, slopes = start((128, 130))
    config = optimizers.Config(name="adafactor", learning_rate=0.05)
    state, _ = train(config, params, slopes)
    rates = np.full(STEPS, 0.05)
    check(state.params, jax.tree.map(lambda x, g: oracle.adafactor(x, g, rates), params, slopes))
    largest = max(leaf.size for leaf in jax.tree.leaves(state.opt_state))
    assert largest <= 130, "the second moment of a matrix is a row and a column"


SCHEDULES = [
    {"schedule": "constant"},
    {"schedule": "linear", "end_factor": 0.1},
    {"schedule": "cosine"},
    {"schedule": "cosine", "end_factor": 0.2, "decay_steps": 15},
    {"schedule": "step", "boundaries": (8, 14), "factor": 0.3},
    {"schedule": "inverse_sqrt"},
]


@pytest.mark.parametrize("warmup", [0, 5])
@pytest.mark.parametrize(
    "fields", SCHEDULES, ids=lambda fields: "-".join(map(str, fields.values()))
)
def test_a_schedule_follows_its_formula(fields, warmup):
    config = optimizers.Config(learning_rate=0.3, warmup_steps=warmup, **fields)
    schedule = jax.jit(optimizers.build_schedule(config, 20))
    actual = [schedule(jnp.int32(step)) for step in range(25)]
    settings = {k: v for k, v in fields.items() if k in ("end_factor", "boundaries", "factor")}
    end = fields.get("decay_steps", 20)
    expected = [
        oracle.schedule(config.schedule, step, 0.3, warmup, end=end, **settings)
        for step in range(25)
    ]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-8)
    assert actual[0].dtype == jnp.float32


def test_the_rate_is_that_of_the_runs_step_and_is_reported():
    params, slopes = start()
    config = optimizers.Config(learning_rate=0.3, schedule="linear")
    _, metrics = train(config, params, slopes)
    np.testing.assert_allclose(metrics["learning_rate"].compute(), 0.3 / STEPS, rtol=1e-6)


@pytest.mark.parametrize("norm", [0.5, 1e3])
def test_clipping_bounds_the_global_norm_and_reports_it_before(norm):
    params, slopes = start()
    config = optimizers.Config(name="sgd", momentum=0.0, learning_rate=0.1, clip_norm=norm)
    state, metrics = train(config, params, slopes)
    leaves, tree = jax.tree.flatten(params)
    for t in range(STEPS):
        raw = [leaf[t] for leaf in jax.tree.leaves(slopes)]
        leaves = [x - 0.1 * g for x, g in zip(leaves, oracle.clip(raw, norm), strict=True)]
    check(state.params, jax.tree.unflatten(tree, leaves))
    length = np.sqrt(sum((leaf[-1] ** 2).sum() for leaf in jax.tree.leaves(slopes)))
    np.testing.assert_allclose(metrics["gradient_norm"].compute(), length, rtol=1e-5)


def test_clipping_comes_before_coupled_decay():
    params, slopes = start()
    config = optimizers.Config(
        name="sgd", momentum=0.0, learning_rate=0.1, clip_norm=0.5, weight_decay=0.2
    )
    state, _ = train(config, params, slopes)
    leaves, tree = jax.tree.flatten(params)
    decays = [0.0, 0.2, 0.2]  # dense/bias, dense/kernel, head/kernel
    for t in range(STEPS):
        clipped = oracle.clip([leaf[t] for leaf in jax.tree.leaves(slopes)], 0.5)
        leaves = [x - 0.1 * (g + d * x) for x, g, d in zip(leaves, clipped, decays, strict=True)]
    check(state.params, jax.tree.unflatten(tree, leaves))


@pytest.mark.parametrize("name", ["adamw", "adam"])
def test_only_the_paths_of_decay_paths_decay(name):
    params, slopes = start()
    kind = "coupled" if name == "adam" else "decoupled"
    rates = np.full(STEPS, 0.05)
    config = optimizers.Config(
        name=name, learning_rate=0.05, weight_decay=0.3, decay_paths=("^head/",)
    )
    state, _ = train(config, params, slopes)
    plain = jax.tree.map(lambda x, g: oracle.adam(x, g, rates), params, slopes)
    decayed = jax.tree.map(lambda x, g: oracle.adam(x, g, rates, **{kind: 0.3}), params, slopes)
    check(state.params, {"dense": plain["dense"], "head": decayed["head"]})


def test_by_default_kernels_decay_and_biases_do_not():
    params, slopes = start()
    rates = np.full(STEPS, 0.05)
    state, _ = train(optimizers.Config(learning_rate=0.05, weight_decay=0.3), params, slopes)
    bias = oracle.adam(params["dense"]["bias"], slopes["dense"]["bias"], rates)
    kernel = oracle.adam(params["dense"]["kernel"], slopes["dense"]["kernel"], rates, decoupled=0.3)
    check(state.params["dense"], {"bias": bias, "kernel": kernel})


def test_multipliers_scale_the_rate_and_multiply_where_several_match():
    params, slopes = start()
    config = optimizers.Config(learning_rate=0.05, multipliers={"^dense/": 0.5, "kernel$": 0.1})
    state, _ = train(config, params, slopes)
    shares = {"dense": {"kernel": 0.05, "bias": 0.5}, "head": {"kernel": 0.1}}
    rates = np.full(STEPS, 0.05)
    expected = jax.tree.map(
        lambda x, g, share: oracle.adam(x, g, rates * share), params, slopes, shares
    )
    check(state.params, expected)


def test_frozen_paths_keep_their_values_and_hold_no_state():
    params, slopes = start()
    config = optimizers.Config(learning_rate=0.05, frozen=("^dense/",), ema_decay=0.5)
    state, metrics = train(config, params, slopes)
    kept = jax.tree.map(np.float32, params["dense"])
    jax.tree.map(np.testing.assert_array_equal, state.params["dense"], kept)
    head = params["head"]["kernel"]
    expected = oracle.adam(head, slopes["head"]["kernel"], np.full(STEPS, 0.05))
    check(state.params["head"]["kernel"], expected)
    arrays = [leaf for leaf in jax.tree.leaves((state.opt_state, state.carry)) if leaf.ndim]
    assert [leaf.shape for leaf in arrays] == [head.shape] * 3, "two moments and the average"
    norm = np.linalg.norm(slopes["head"]["kernel"][-1])
    np.testing.assert_allclose(metrics["gradient_norm"].compute(), norm, rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, gradients.averaged(state)["dense"], kept)


WRONG = [
    ({"name": "adamv"}, "optimizer.name is 'adamv'.*adam"),
    ({"schedule": "cosin"}, "optimizer.schedule is 'cosin'.*cosine"),
    ({"name": "adam", "momentum": 0.5}, "optimizer.momentum does nothing for 'adam'"),
    ({"name": "sgd", "b1": 0.5}, "optimizer.b1 does nothing for 'sgd'"),
    ({"end_factor": 0.1}, "optimizer.end_factor does nothing under schedule 'constant'"),
    ({"boundaries": (3,)}, "optimizer.boundaries does nothing"),
    ({"decay_steps": 5}, "optimizer.decay_steps does nothing"),
    ({"schedule": "linear", "factor": 0.5}, "optimizer.factor does nothing"),
    ({"schedule": "step"}, "needs optimizer.boundaries"),
    ({"schedule": "step", "boundaries": (2,), "warmup_steps": 3}, "after the warm-up"),
    ({"schedule": "cosine", "warmup_steps": 10}, "optimizer.warmup_steps is 10.*below .* 10"),
    ({"nesterov": True}, "nesterov needs sgd"),
    ({"coupled_decay": True}, "contradicts 'adamw'"),
    ({"learning_rate": -1.0}, "optimizer.learning_rate is -1.0: it must be 0 or more"),
    ({"learning_rate": float("nan")}, "optimizer.learning_rate is nan"),
    ({"b1": 1.0}, "optimizer.b1 is 1.0"),
    ({"ema_decay": 1.5}, "optimizer.ema_decay is 1.5"),
    ({"accumulation_steps": 0}, "optimizer.accumulation_steps is 0"),
    ({"clip_norm": 0.0}, "optimizer.clip_norm is 0.0"),
    ({"layer_decay": 0.0}, "optimizer.layer_decay is 0.0: it must be above 0"),
    ({"layer_decay": 1.1}, "optimizer.layer_decay is 1.1"),
    ({"input_paths": ("a",)}, "optimizer.input_paths does nothing without layer_decay"),
    ({"loss_scale": "dynamc"}, "optimizer.loss_scale is 'dynamc'"),
    ({"loss_scale": 0.0}, "optimizer.loss_scale is 0.0"),
    ({"frozen": ("(",)}, "optimizer.frozen.*no regular expression"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG)
def test_a_setting_that_is_wrong_or_does_nothing_is_an_error(fields, message):
    with pytest.raises(ConfigError, match=message):
        optimizers.build(optimizers.Config(**fields), 10)


UNMATCHED = [
    ({"frozen": ("dens/",)}, "optimizer.frozen.*'dens/' matches no parameter.*dense/"),
    ({"frozen": ("dense", "encoder")}, "optimizer.frozen.*'encoder'"),
    ({"frozen": ("",)}, "leaves no parameter to train"),
    ({"multipliers": {"heads": 0.5}}, r"optimizer.multipliers\['heads'\].*head/kernel"),
    ({"layer_decay": 0.5}, "optimizer.layer_decay: no path has a layer.*dense/bias"),
    ({"weight_decay": 0.1, "decay_paths": ("kernels",)}, "optimizer.decay_paths.*'kernels'"),
    ({"weight_decay": 0.1, "decay_paths": ("kernel", "scale")}, "decay_paths.*'scale'"),
]


@pytest.mark.parametrize(("fields", "message"), UNMATCHED)
def test_a_pattern_that_matches_nothing_names_the_nearest_paths(fields, message):
    params, _ = start()
    with pytest.raises(ConfigError, match=message):
        gradients.init(optimizers.build(optimizers.Config(**fields), 10), params)


def test_weight_decay_that_reaches_nothing_is_an_error():
    optimizer = optimizers.build(optimizers.Config(weight_decay=0.1), 10)
    with pytest.raises(ConfigError, match=r"weight_decay reaches nothing"):
        gradients.init(optimizer, {"w": jnp.ones(3)})
