"""One toy of each kind of algorithm keeps the contracts and learns, whatever the seed."""

from functools import cache, partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.toys import acting, inner_loop, members, two_networks
from tests.toys.learning import measure, train, update_batches
from training import gradients
from training.contracts import Mean, stream

TOYS = {
    "acting": acting,
    "inner_loop": inner_loop,
    "members": members,
    "two_networks": two_networks,
}
SEEDS = (0, 1, 2)


@pytest.fixture(params=TOYS)
def toy(request):
    return TOYS[request.param]


@cache
def compiled(toy):
    """(algorithm, pipeline, its methods under jit, a state after three updates)."""
    algorithm, pipeline = toy.build()
    names = ("init", "update", "evaluate", "predict")
    methods = SimpleNamespace(**{name: jax.jit(getattr(algorithm, name)) for name in names})
    return algorithm, pipeline, methods, train(algorithm, pipeline, 3, 0)[0][1]


def equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


# --- contracts


def test_updates_are_traced_once_and_keep_every_shape(toy):
    algorithm, pipeline = toy.build()
    traces = []

    def update(state, batch):
        traces.append(batch)
        return algorithm.update(state, batch)

    state = jax.jit(algorithm.init)(jax.random.key(0), next(pipeline.batches(0)))
    donating = jax.jit(update, donate_argnums=0)
    describe = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)  # noqa: E731
    before = describe(state)
    for number in range(3):
        batch = jax.tree.map(lambda leaf: leaf[0], update_batches(algorithm, pipeline, 1, number))
        state, metrics = donating(state, batch)
    assert len(traces) == 1
    assert describe(state) == before
    np.testing.assert_array_equal(state.step, np.full(np.shape(state.step), 3))
    shape = (algorithm.members,) if algorithm.members > 1 else ()
    assert all(isinstance(mean, Mean) and mean.total.shape == shape for mean in metrics.values())
    assert "nonfinite" in metrics


def test_a_pipeline_is_a_function_of_the_number_and_has_the_shapes_it_states(toy):
    _, pipeline = toy.build()
    from_zero, from_two = pipeline.batches(0), pipeline.batches(2)
    next(from_zero), next(from_zero)
    for _ in range(2):
        equal(next(from_zero), next(from_two))
    for each in (pipeline, toy.held_out()):
        batch = next(each.batches(0))
        specs = each.specs[0]
        assert {k: (v.shape, v.dtype) for k, v in batch.items()} == {
            k: (v.shape, v.dtype) for k, v in specs.items()
        }
    held_out = toy.held_out()
    assert len(list(held_out.batches(0))) == held_out.num_batches


def test_weights_evaluate_and_predict_as_the_state_does(toy):
    algorithm, _, methods, state = compiled(toy)
    batch = next(toy.held_out().batches(0))
    weights, key = algorithm.weights(state), jax.random.key(1)
    equal(methods.evaluate(weights, batch, key), methods.evaluate(state, batch, key))
    predictions = methods.predict(state, batch, key)
    equal(methods.predict(weights, batch, key), predictions)
    assert len(jax.tree.leaves(weights)) < len(jax.tree.leaves(state))
    leading = (algorithm.members,) if algorithm.members > 1 else ()
    rows = (*leading, len(batch["mask"]))
    assert all(leaf.shape[: len(rows)] == rows for leaf in predictions.values())


def test_what_a_mask_hides_does_not_count(toy):
    _, _, methods, state = compiled(toy)
    batch = dict(next(toy.held_out().batches(0)))
    batch["mask"] = batch["mask"] & (np.arange(len(batch["mask"])) % 2 == 0)
    rolled = {k: np.where(reshape(batch["mask"], v), v, np.roll(v, 1, 0)) for k, v in batch.items()}
    rolled["mask"] = batch["mask"]
    key = jax.random.key(0)
    actual, expected = (methods.evaluate(state, b, key) for b in (rolled, batch))
    for name in expected:
        np.testing.assert_allclose(actual[name].compute(), expected[name].compute(), rtol=1e-6)
        np.testing.assert_array_equal(expected[name].count, batch["mask"].sum())


def reshape(mask, leaf):
    return mask.reshape(mask.shape + (1,) * (leaf.ndim - 1))


# --- learning


def learned(toy, steps):
    """[(metrics before, metrics after)] on held-out data, by seed."""
    algorithm, pipeline = toy.build()
    pairs = train(algorithm, pipeline, steps, *SEEDS)
    values = measure(algorithm, toy.held_out(), *(state for pair in pairs for state in pair))
    return list(zip(values[::2], values[1::2], strict=True))


def test_the_generator_learns_both_moments():
    for before, after in learned(two_networks, 800):
        assert before["mean_error"] > 1.5 and before["spread_error"] == 0.5
        assert after["mean_error"] < 0.1 and after["spread_error"] < 0.1


def test_the_walker_learns_to_go_right():
    arrivals = [acting.LAST - 1 - place for place in range(acting.LAST)]
    best = np.mean([sum(0.8**t for t in range(a, 8, acting.LAST)) for a in arrivals])
    for before, after in learned(acting, 100):
        assert before["return"] < 0.6 * best
        np.testing.assert_allclose(after["return"], best, 1e-5)


def test_one_inner_step_fits_a_sinusoid():
    for before, after in learned(inner_loop, 1000):
        assert before["loss"] > 3
        assert after["loss"] < 1.2, "a network that ignores the support stays near 4"
        assert after["loss"] < 0.4 * after["loss_before"], "what was learned is to adapt"


def test_every_member_learns():
    for before, after in learned(members, 300):
        assert (before["accuracy"] < 0.6).all()
        assert (after["accuracy"] > 0.8).all()


# --- what makes each kind different


def test_phases_update_their_own_networks_as_often_as_they_say():
    algorithm, pipeline = two_networks.build()
    [(first, state)] = train(algorithm, pipeline, 5, 0)
    assert state.mutable["critic"]["steps"] == 5 * two_networks.REPEATS
    assert state.mutable["generator"]["steps"] == 5
    batch = next(pipeline.batches(0))
    critic = partial(gradients.step, algorithm.task.losses["critic"], networks="critic")
    after, _ = jax.jit(lambda s, b: critic(s, b, algorithm.optimizers))(first, batch)
    equal(after.params["generator"], first.params["generator"])
    assert not np.array_equal(after.params["critic"]["kernel"], first.params["critic"]["kernel"])


def test_each_critic_step_has_a_batch_of_its_own():
    algorithm, pipeline = two_networks.build()
    _, _, methods, state = compiled(two_networks)
    batch = {"value": update_batches(algorithm, pipeline, 1)["value"][0]}
    after, _ = methods.update(state, batch)
    for index in range(two_networks.REPEATS):
        other = {"value": batch["value"].copy()}
        other["value"][index] += 1
        changed, _ = methods.update(state, other)
        moved = changed.params["critic"]["kernel"] - after.params["critic"]["kernel"]
        assert np.abs(moved).max() > 1e-4


def test_environments_go_on_from_one_update_to_the_next():
    algorithm, pipeline = acting.build()
    [(_, state)] = train(algorithm, pipeline, 2, 0)
    assert state.carry["env_steps"] == 2 * acting.TIME * acting.ENVIRONMENTS
    update = jax.jit(algorithm.update)
    after, metrics = update(state, {})
    np.testing.assert_allclose(metrics["env_steps"].compute(), after.carry["env_steps"])
    moved = dict(state.carry["rollout"])
    moved["place"] = (moved["place"] + 1) % acting.LAST
    other, _ = update(state.replace(carry={**state.carry, "rollout": moved}), {})
    assert not np.array_equal(other.params["kernel"], after.params["kernel"])


def test_the_outer_gradient_goes_through_the_inner_one():
    """Against central differences of the loss after adapting, which first order misses."""
    algorithm, pipeline = inner_loop.build()
    state = jax.jit(algorithm.init)(jax.random.key(0), next(pipeline.batches(0)))
    batch = next(pipeline.batches(1))
    direction = jax.tree.map(
        lambda leaf: jax.random.normal(stream(jax.random.key(1), str(leaf.shape)), leaf.shape),
        state.params,
    )

    @partial(jax.jit, static_argnums=1)
    def loss(params, task):
        return task.loss(params, {}, batch, state.key, state.step, True)[0]

    def along(size):
        return jax.tree.map(lambda leaf, d: leaf + size * d, state.params, direction)

    task = algorithm.task
    numeric = (loss(along(1e-2), task) - loss(along(-1e-2), task)) / 2e-2
    slopes = {}
    for order in (True, False):
        variant = inner_loop.Adapting(task.task, task.rate, second_order=order)
        exact = jax.jit(jax.grad(loss), static_argnums=1)(state.params, variant)
        slopes[order] = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, exact, direction)))
    np.testing.assert_allclose(slopes[True], numeric, rtol=2e-2)
    assert abs(slopes[False] - numeric) > 0.1 * abs(numeric)
