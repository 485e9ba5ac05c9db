"""The one step: accumulation, loss scale, average, guard, subsets; under jit, scan and vmap."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from training import gradients
from training.contracts import Aux, ConfigError, Mean, TrainState, stream

RATE = 0.1


def optimizer(**fields):
    # Not Adam, whose first update is the same for a gradient of any length.
    return gradients.Optimizer(optax.sgd(RATE, momentum=0.9), lambda step: RATE, **fields)


def start(optimizers, params=None, mutable=None, seed=0):
    if params is None:
        rng = np.random.default_rng(seed)
        params = {
            "kernel": jnp.float32(rng.normal(size=(4, 3))),
            "bias": jnp.float32(rng.normal(size=3)),
        }
    opt_state, carry = gradients.init(optimizers, params)
    return TrainState(jnp.int32(0), jax.random.key(seed), params, opt_state, mutable or {}, carry)


def batch(size=12, seed=0, mask=None):
    rng = np.random.default_rng(seed)
    return {
        "input": jnp.float32(rng.normal(size=(size, 4))),
        "target": jnp.float32(rng.normal(size=(size, 3))),
        "mask": jnp.ones(size, bool) if mask is None else jnp.asarray(mask),
    }


def regression(params, mutable, batch, key, step, train):
    """A masked mean of squares; counts its calls where there is a counter."""
    assert train is True
    output = batch["input"] @ params["kernel"] + params["bias"]
    losses = ((output - batch["target"]) ** 2).sum(-1)
    mean = Mean.of(losses, batch["mask"])
    mutable = {name: value + 1 for name, value in mutable.items()}
    return mean.total / mean.count, Aux(mutable, {"loss": mean})


def equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def close(actual, expected, rtol=1e-5, atol=1e-6):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=rtol, atol=atol), actual, expected)


def stepper(optimizers, loss=regression, **keywords):
    @jax.jit
    def update(state, batch):
        state, metrics = gradients.step(loss, state, batch, optimizers, **keywords)
        return dataclasses.replace(state, step=state.step + 1), metrics

    return update


# --- plain


def test_a_step_is_the_gradient_of_the_loss_through_the_optimizer():
    chosen = optimizer()
    state, data = start(chosen), batch()
    after, metrics = stepper(chosen)(state, data)
    slopes = jax.grad(lambda p: regression(p, {}, data, None, 0, True)[0])(state.params)
    updates, _ = chosen.tx.update(slopes, state.opt_state, state.params)
    close(after.params, optax.apply_updates(state.params, updates))
    norm = np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(slopes)))
    np.testing.assert_allclose(metrics["gradient_norm"].compute(), norm, rtol=1e-6)
    assert metrics["nonfinite"].compute() == 0
    assert metrics["loss"].count == 12


def test_the_key_is_the_stream_of_the_step_unless_given():
    def loss(params, mutable, batch, key, step, train):
        value = jax.random.uniform(key)
        return value * params["bias"].sum(), Aux(mutable, {"draw": Mean.of(value)})

    chosen = optimizer()
    state = start(chosen)
    seen = []
    for _ in range(2):
        expected = jax.random.uniform(stream(state.key, "loss", state.step))
        state, metrics = stepper(chosen, loss)(state, {})
        np.testing.assert_allclose(metrics["draw"].compute(), expected)
        seen.append(float(expected))
    assert seen[0] != seen[1]
    _, metrics = stepper(chosen, loss, key=jax.random.key(7))(state, {})
    np.testing.assert_allclose(metrics["draw"].compute(), jax.random.uniform(jax.random.key(7)))


def test_the_norm_is_computed_once():
    """The clip and the report share it: one square root over the parameters in the program."""
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(RATE))
    chosen = gradients.Optimizer(tx, lambda step: RATE)
    program = stepper(chosen).lower(start(chosen), batch()).compile().as_text()
    assert program.count("sqrt(") == 1


# --- accumulation


@pytest.mark.parametrize("steps", [2, 3, 12])
def test_accumulating_equals_the_whole_batch(steps):
    data = batch()
    plain, split = optimizer(), optimizer(accumulation_steps=steps)
    expected, expected_metrics = stepper(plain)(start(plain), data)
    actual, metrics = stepper(split)(start(split), data)
    close(actual.params, expected.params)
    for name in expected_metrics:
        close(metrics[name], expected_metrics[name])


def test_accumulating_equals_the_whole_batch_under_an_uneven_mask():
    data = batch(mask=[True] * 4 + [False] * 8)
    plain, split = optimizer(), optimizer(accumulation_steps=3)
    expected, _ = stepper(plain)(start(plain), data)
    actual, _ = stepper(split)(start(split), data)
    close(actual.params, expected.params)


def test_mutable_collections_pass_through_the_microbatches():
    split = optimizer(accumulation_steps=4)
    state, _ = stepper(split)(start(split, mutable={"calls": jnp.int32(0)}), batch())
    assert state.mutable["calls"] == 4


def test_microbatches_draw_different_keys():
    def loss(params, mutable, batch, key, step, train):
        draw = jax.random.uniform(key)
        return params["bias"].sum(), Aux(
            mutable, {"draw": Mean.of(draw), "square": Mean.of(draw**2)}
        )

    split = optimizer(accumulation_steps=4)
    _, metrics = stepper(split, loss)(start(split), batch())
    assert metrics["square"].compute() - metrics["draw"].compute() ** 2 > 1e-4


@pytest.mark.parametrize("data", [batch(10), {}, {**batch(12), "graph": jnp.ones((5, 5))}])
def test_a_batch_that_does_not_divide_is_an_error(data):
    split = optimizer(accumulation_steps=4)
    with pytest.raises(ConfigError, match="accumulation_steps=4 must divide"):
        stepper(split)(start(split), data)


# --- the guard


@pytest.mark.parametrize("where", ["input", "gradient"])
def test_a_step_that_is_not_finite_leaves_everything_untouched(where):
    def infinite_slope(params, mutable, batch, key, step, train):
        clean = {**batch, "target": jnp.nan_to_num(batch["target"])}
        loss, aux = regression(params, mutable, clean, key, step, train)
        spoiled = jnp.isnan(batch["target"]).any()
        # The root of 0 is fine, and its slope is not.
        root = jnp.sqrt(params["bias"].sum() * 0 + jnp.where(spoiled, 0.0, 1.0))
        return loss + root, aux

    loss = regression if where == "input" else infinite_slope
    chosen = optimizer(ema_decay=0.9)
    update = stepper(chosen, loss)
    state, _ = update(start(chosen, mutable={"calls": jnp.int32(0)}), batch())
    spoiled = batch()
    spoiled["target"] = spoiled["target"].at[0, 0].set(jnp.nan)
    after, metrics = update(state, spoiled)
    for name in ("params", "opt_state", "mutable", "carry"):
        equal(getattr(after, name), getattr(state, name))
    assert after.step == 2, "the step is the algorithm's to count"
    assert metrics["nonfinite"].compute() == 1
    assert metrics["loss"].count == 0, "a refused update stays out of the means"
    assert metrics["gradient_norm"].count == 0
    again, metrics = update(after, batch(seed=1))
    assert metrics["nonfinite"].compute() == 0
    assert not np.array_equal(again.params["kernel"], state.params["kernel"])


# --- the average


def test_the_average_follows_its_recurrence_and_starts_at_the_parameters():
    chosen = optimizer(ema_decay=0.8)
    state = start(chosen)
    update, expected = stepper(chosen), jax.tree.map(np.float64, state.params)
    equal(gradients.averaged(state), state.params)
    for seed in range(4):
        state, _ = update(state, batch(seed=seed))
        expected = jax.tree.map(lambda e, p: 0.8 * e + 0.2 * np.float64(p), expected, state.params)
    close(gradients.averaged(state), expected)
    assert not np.allclose(state.params["kernel"], expected["kernel"])


def test_the_average_is_not_the_buffer_of_the_parameters():
    """Both are donated to the update, which one buffer would make an error."""
    chosen = optimizer(ema_decay=0.8)
    params = start(chosen).params
    opt_state, carry = jax.jit(partial(gradients.init, chosen))(params)
    eager = start(chosen)
    for ema, kernel in (
        (carry["ema"]["kernel"], params["kernel"]),
        (eager.carry["ema"]["kernel"], eager.params["kernel"]),
    ):
        assert ema.unsafe_buffer_pointer() != kernel.unsafe_buffer_pointer()
    del opt_state


# --- loss scale


def half_precision(params, mutable, batch, key, step, train):
    """Computes in float16, where gradients below 6e-8 are nothing; `batch` scales the loss."""
    value = (params["kernel"].astype(jnp.float16) * batch["tiny"].astype(jnp.float16)).sum()
    return value.astype(jnp.float32) * batch["factor"], Aux(mutable, {})


@pytest.mark.parametrize("scale", ["none", 1024.0, "dynamic"])
def test_a_loss_scale_saves_gradients_that_float16_would_lose(scale):
    chosen = gradients.Optimizer(optax.sgd(1.0), lambda step: 1.0, loss_scale=scale)
    state = start(chosen, {"kernel": jnp.zeros((4, 3))})
    data = {"tiny": jnp.full((4, 3), 1e-3), "factor": jnp.float32(1e-5)}
    after, metrics = stepper(chosen, half_precision)(state, data)
    moved = np.abs(np.asarray(after.params["kernel"]))
    if scale == "none":
        assert not moved.any()
    else:
        np.testing.assert_allclose(moved, 1e-8, rtol=2e-2)
    assert metrics["nonfinite"].compute() == 0


def test_the_dynamic_scale_halves_at_an_overflow_and_doubles_after_the_interval(monkeypatch):
    monkeypatch.setattr(gradients, "GROWTH_INTERVAL", 3)
    chosen = gradients.Optimizer(optax.sgd(1.0), lambda step: 1.0, loss_scale="dynamic")
    state = start(chosen, {"kernel": jnp.ones((4, 3))})
    update = stepper(chosen, half_precision)
    calm, wild = ({"tiny": jnp.full((4, 3), 0.1), "factor": jnp.float32(f)} for f in (1e-3, 4.0))
    scale, good = gradients.INITIAL_SCALE, 0
    for data in (calm, wild, calm, calm, calm, calm, wild, calm, calm, wild, calm, calm, calm):
        before = state
        state, metrics = update(state, data)
        overflow = float(data["factor"]) * scale > 65504  # the largest float16
        assert metrics["overflow"].compute() == overflow
        assert metrics["loss_scale"].compute() == scale
        assert metrics["nonfinite"].compute() == 0, "halving mends it: nothing diverged"
        if overflow:
            equal(state.params, before.params)
            scale, good = scale / 2, 0
        else:
            good += 1
            if good == 3:
                scale, good = scale * 2, 0
        assert state.carry["loss_scale"]["scale"] == scale
    assert scale != gradients.INITIAL_SCALE


def test_a_nan_under_the_dynamic_scale_is_nonfinite_and_the_scale_stays_above_one():
    chosen = gradients.Optimizer(optax.sgd(1.0), lambda step: 1.0, loss_scale="dynamic")
    state = start(chosen, {"kernel": jnp.ones((4, 3))})
    data = {"tiny": jnp.full((4, 3), jnp.nan), "factor": jnp.float32(1)}
    update = stepper(chosen, half_precision)
    for _ in range(20):
        state, metrics = update(state, data)
        assert metrics["nonfinite"].compute() == 1
        assert metrics["overflow"].compute() == 0
    assert state.carry["loss_scale"]["scale"] == 1


# --- networks


def quadratic(params, mutable, batch, key, step, train):
    return sum((leaf**2).sum() for leaf in jax.tree.leaves(params)), Aux(mutable, {})


def test_a_subset_of_the_networks_learns_and_the_rest_stays():
    chosen = {
        "actor": optimizer(),
        "critic": optimizer(ema_decay=0.5),
        "encoder": optimizer(ema_decay=0.5, loss_scale="dynamic"),
    }
    params = {name: {"kernel": jnp.ones(2)} for name in chosen}
    state = start(chosen, params)
    assert set(state.opt_state) == set(chosen)
    assert set(state.carry["ema"]) == {"critic", "encoder"}
    assert set(state.carry["loss_scale"]) == {"encoder"}
    after, metrics = stepper(chosen, quadratic, networks="critic")(state, {})
    assert {"critic/gradient_norm", "critic/learning_rate", "nonfinite"} == set(metrics)
    for name in ("actor", "encoder"):
        equal(after.params[name], state.params[name])
        equal(after.opt_state[name], state.opt_state[name])
    close(after.params["critic"]["kernel"], np.full(2, 1 - 2 * RATE), rtol=1e-4)
    after, metrics = stepper(chosen, quadratic, networks=("actor", "critic"))(after, {})
    close(after.params["actor"]["kernel"], np.full(2, 1 - 2 * RATE), rtol=1e-4)
    assert {"actor/gradient_norm", "critic/gradient_norm"} <= set(metrics)
    equal(after.params["encoder"], state.params["encoder"])
    averages = gradients.averaged(after)
    equal(averages["actor"], after.params["actor"])
    equal(averages["critic"], after.carry["ema"]["critic"])
    assert not np.allclose(averages["critic"]["kernel"], after.params["critic"]["kernel"])
    everything, _ = stepper(chosen, quadratic)(state, {})
    assert all((everything.params[name]["kernel"] < 1).all() for name in chosen)


def test_networks_of_optimizer_and_model_must_be_the_same():
    with pytest.raises(ConfigError, match=r"\['actor'\].*\['critic'\]"):
        gradients.init({"actor": optimizer()}, {"critic": {"kernel": jnp.ones(2)}})


# --- transformations


FULL = {"ema_decay": 0.9, "loss_scale": "dynamic", "accumulation_steps": 3}


def test_a_scan_of_steps_equals_the_loop():
    chosen = optimizer(**FULL)
    update, state = stepper(chosen), start(chosen)
    batches = [batch(seed=seed) for seed in range(4)]
    looped = state
    for data in batches:
        looped, _ = update(looped, data)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)
    scanned, metrics = jax.lax.scan(update, state, stacked)
    close(scanned.params, looped.params)
    close(scanned.carry, looped.carry)
    assert metrics["loss"].total.shape == (4,)


def test_vmapped_members_equal_separate_runs_and_are_guarded_one_by_one():
    chosen = optimizer(**FULL)
    states = [start(chosen, seed=seed) for seed in range(3)]
    batches = [batch(seed=seed) for seed in range(3)]
    batches[1]["target"] = batches[1]["target"] * jnp.nan
    stack = lambda trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)  # noqa: E731
    update = stepper(chosen)
    together, metrics = jax.jit(jax.vmap(update))(stack(states), stack(batches))
    np.testing.assert_array_equal(metrics["nonfinite"].compute(), [0, 1, 0])
    alone = [update(state, data)[0] for state, data in zip(states, batches, strict=True)]
    close(together.params, stack([one.params for one in alone]))
    equal(jax.tree.map(lambda leaf: leaf[1], together.params), states[1].params)


def test_differentiate_may_itself_be_differentiated():
    def inner(x, rate):
        slope, _, _ = gradients.differentiate(lambda y: (y**3, None), x)
        return x - rate * slope

    slope = jax.grad(inner)(2.0, 0.1)
    np.testing.assert_allclose(slope, 1 - 0.1 * 6 * 2.0, rtol=1e-6)


def test_differentiate_takes_its_scale_out_again():
    slope, loss, aux = gradients.differentiate(lambda y: (y**3, "aux"), 2.0, scale=1024.0)
    assert (float(slope), float(loss), aux) == (12.0, 8.0, "aux")
