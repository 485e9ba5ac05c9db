"""An environment on the device: REINFORCE (Williams 1992) in a corridor, inside `update`.

A walker on places 0 .. LAST goes left or right; at LAST it gets 1 and starts again at 0. Returns
are discounted to the end of the rollout; their mean is the baseline. Batches are empty.
Axes: `t` time, `b` environments.
"""

import dataclasses
import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

from training import gradients
from training.contracts import Aux, Info, Mean, Pipeline, TrainState, stream

LAST, ENVIRONMENTS, TIME, DISCOUNT = 4, 8, 16, 0.8


def move(place, action):
    """One step of the environment: (places, rewards), both [b]; action 1 is right."""
    place = jnp.clip(place + 2 * action - 1, 0, LAST)
    arrived = place == LAST
    return jnp.where(arrived, 0, place), arrived.astype(jnp.float32)


def discounted(rewards):
    """Returns [t, b] of rewards [t, b]: G_t = r_t + DISCOUNT G_{t+1}."""

    def back(following, reward):
        value = reward + DISCOUNT * following
        return value, value

    return jax.lax.scan(back, jnp.zeros(rewards.shape[1:]), rewards, reverse=True)[1]


@dataclass(frozen=True)
class Acting:
    """The Algorithm; carry["rollout"] holds the environments, carry["env_steps"] counts."""

    optimizer: gradients.Optimizer
    batches_per_update: int = 1
    members: int = 1

    def init(self, key, batch):
        """A policy near indifference, walkers at random places."""
        first, second = jax.random.split(stream(key, "init"))
        params = {"kernel": 0.1 * jax.random.normal(first, (LAST + 1, 2))}
        opt_state, carry = gradients.init(self.optimizer, params)
        places = jax.random.randint(second, (ENVIRONMENTS,), 0, LAST)
        carry |= {"rollout": {"place": places}, "env_steps": jnp.int32(0)}
        return TrainState(jnp.int32(0), key, params, opt_state, {}, carry)

    def update(self, state, batch):
        """TIME steps in each environment, then one step up the expected return."""

        def act(place, key):
            action = jax.random.categorical(key, state.params["kernel"][place])
            after, reward = move(place, action)
            return after, {"place": place, "action": action, "reward": reward}

        keys = jax.random.split(stream(state.key, "act", state.step), TIME)
        place, rollout = jax.lax.scan(act, state.carry["rollout"]["place"], keys)
        returns = discounted(rollout["reward"])
        flat = {"place": rollout["place"], "action": rollout["action"], "return": returns}
        flat = {name: leaf.reshape(-1) for name, leaf in flat.items()}
        state, metrics = gradients.step(self.loss, state, flat, self.optimizer)
        steps = state.carry["env_steps"] + TIME * ENVIRONMENTS
        carry = {**state.carry, "rollout": {"place": place}, "env_steps": steps}
        metrics |= {"reward": Mean.of(rollout["reward"]), "env_steps": Mean.of(steps)}
        return dataclasses.replace(state, step=state.step + 1, carry=carry), metrics

    def loss(self, params, mutable, batch, key, step, train):
        """Minus the advantage-weighted log-likelihood of what was done."""
        likelihood = jax.nn.log_softmax(params["kernel"])[batch["place"], batch["action"]]
        advantage = batch["return"] - batch["return"].mean()
        loss = Mean.of(-likelihood * advantage)
        return loss.total / loss.count, Aux(mutable, {"loss": loss})

    def evaluate(self, state, batch, key):
        """The greedy policy's discounted "return" in 2 LAST steps from the places of `batch`."""
        greedy = gradients.averaged(state)["kernel"].argmax(-1)

        def act(place, _):
            return move(place, greedy[place])

        _, rewards = jax.lax.scan(act, batch["place"], length=2 * LAST)
        return {"return": Mean.of(discounted(rewards)[0], batch["mask"])}

    def predict(self, state, batch, key):
        """The policy, [b, 2]."""
        logits = gradients.averaged(state)["kernel"][batch["place"]]
        return {"probabilities": jax.nn.softmax(logits)}

    def weights(self, state):
        """The policy alone."""
        params = gradients.averaged(state)
        return dataclasses.replace(state, params=params, opt_state=(), carry={})

    def member(self, state, index):
        """The state itself."""
        return state


def build() -> tuple[Acting, Pipeline]:
    """The algorithm and its empty batches."""
    algorithm = Acting(gradients.Optimizer(optax.adam(0.1), lambda step: 0.1))
    return algorithm, Pipeline(({},), Info({}), lambda start: itertools.repeat({}))


def held_out() -> Pipeline:
    """One batch of all places but the last."""
    batch = {"place": np.arange(LAST, dtype=np.int32), "mask": np.ones(LAST, bool)}
    specs = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in batch.items()}
    return Pipeline((specs,), Info({}), lambda start: iter([batch][start:]), num_batches=1)
