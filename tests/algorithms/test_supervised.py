"""Supervised: the state's parts, the weights it evaluates with, and what it offers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from algorithms import supervised
from tests.toys import members
from training.contracts import Aux, Mean, stream
from training.gradients import Optimizer


def equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def trained(algorithm, steps=3):
    batches = members.training().batches(0)
    state = jax.jit(algorithm.init)(jax.random.key(3), next(members.training().batches(0)))
    update = jax.jit(algorithm.update)
    for _ in range(steps):
        state, _ = update(state, next(batches))
    return state


def test_a_state_counts_steps_and_keeps_its_key():
    algorithm = members.alone()
    state = trained(algorithm)
    assert state.step == 3 and state.step.dtype == jnp.int32
    assert state.key == jax.random.key(3)
    assert state.mutable["seen"] == 3 * members.BATCH
    assert state.carry == {}
    assert (algorithm.members, algorithm.batches_per_update) == (1, 1)
    assert algorithm.member(state, 0) is state
    with pytest.raises(ValueError, match="not 1"):
        algorithm.member(state, 1)


def test_the_parameters_are_the_tasks_for_the_init_stream():
    batch = next(members.training().batches(0))
    algorithm, key = members.alone(), jax.random.key(3)
    expected, _ = algorithm.task.init(stream(key, "init"), batch)
    equal(algorithm.init(key, batch).params, expected)


@pytest.mark.parametrize("decay", [None, 0.5])
def test_it_evaluates_with_the_average_where_one_is_kept(decay):
    algorithm = members.alone(ema_decay=decay)
    state = trained(algorithm)
    batch, key = next(members.held_out().batches(0)), jax.random.key(0)
    chosen = state.carry["ema"] if decay else state.params
    assert decay is None or not np.allclose(chosen["head"]["bias"], state.params["head"]["bias"])
    _, aux = algorithm.task.loss(chosen, state.mutable, batch, key, state.step, False)
    equal(algorithm.evaluate(state, batch, key), aux.metrics)
    logits = algorithm.task.logits(chosen, batch["input"])
    equal(algorithm.predict(state, batch, key), {"logits": logits})
    weights = algorithm.weights(state)
    equal(weights.params, chosen)
    assert (weights.opt_state, weights.carry) == ((), {})
    for method in (algorithm.evaluate, algorithm.predict, algorithm.explain):
        equal(method(weights, batch, key), method(state, batch, key))


def test_evaluation_has_no_training_noise_and_changes_nothing():
    algorithm = members.alone()
    state, batch = trained(algorithm), next(members.held_out().batches(0))
    first, second = (algorithm.evaluate(state, batch, jax.random.key(k)) for k in (0, 1))
    equal(first, second)
    assert first["loss"].count == batch["mask"].sum()


def test_training_draws_new_noise_at_each_step():
    algorithm = members.alone()
    state, batch = trained(algorithm, 0), next(members.training().batches(0))
    update = jax.jit(algorithm.update)
    _, now = update(state, batch)
    _, later = update(state.replace(step=state.step + 1), batch)
    assert now["loss"].total != later["loss"].total


def test_explain_is_there_only_where_the_task_has_it():
    class Plain:
        def init(self, key, batch):
            return {"kernel": jnp.ones(2)}, {}

        def loss(self, params, mutable, batch, key, step, train):
            raise AssertionError

        def predict(self, params, mutable, batch, key):
            raise AssertionError

    optimizer = Optimizer(optax.sgd(0.1), lambda step: 0.1)
    algorithm = supervised.build(supervised.Config(), Plain(), optimizer)
    assert not hasattr(algorithm, "explain")
    assert hasattr(members.alone(), "explain")


def test_a_task_of_several_losses_is_refused():
    class Phases:
        losses: dict = {}  # noqa: RUF012

    optimizer = Optimizer(optax.sgd(0.1), lambda step: 0.1)
    with pytest.raises(ValueError, match="supervised needs a task with one loss, Phases has none"):
        supervised.build(supervised.Config(), Phases(), optimizer)


def test_several_networks_learn_from_one_loss_each_with_its_optimizer():
    """An autoencoder of one number: both halves move, at their own rates."""

    class Autoencoder:
        def init(self, key, batch):
            return {"encoder": {"kernel": jnp.ones(1)}, "decoder": {"kernel": jnp.ones(1)}}, {}

        def loss(self, params, mutable, batch, key, step, train):
            code = batch["value"] * params["encoder"]["kernel"]
            losses = (code * params["decoder"]["kernel"] - 2 * batch["value"]) ** 2
            return losses.mean(), Aux(mutable, {"loss": Mean.of(losses)})

        def predict(self, params, mutable, batch, key):
            return {"code": batch["value"] * params["encoder"]["kernel"]}

    rates = {"encoder": 0.01, "decoder": 0.02}
    chosen = {n: Optimizer(optax.sgd(r), lambda step, r=r: r) for n, r in rates.items()}
    algorithm = supervised.build(supervised.Config(), Autoencoder(), chosen)
    batch = {"value": jnp.ones(4)}
    state, metrics = algorithm.update(algorithm.init(jax.random.key(0), batch), batch)
    moved = {name: float(state.params[name]["kernel"][0] - 1) for name in rates}
    np.testing.assert_allclose([moved["encoder"], moved["decoder"]], [0.02, 0.04], rtol=1e-4)
    assert metrics["decoder/learning_rate"].compute() == np.float32(0.02)
