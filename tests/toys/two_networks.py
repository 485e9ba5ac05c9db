"""Two networks updated in turn: a generator of one number against a critic of its moments.

Real values are normal, N(MEAN, SPREAD^2); the generator is kernel z + bias with z ~ N(0, 1); the
critic is linear in (x, x^2) with an L2 penalty, which makes the game one of matching two moments.
An update is REPEATS steps of the critic, each on a batch of its own, and one of the generator.
Axes: `n` batches of an update, `b` batch.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

from training import gradients
from training.contracts import Aux, Info, Mean, Pipeline, TrainState, stream

MEAN, SPREAD, BATCH, REPEATS = 2.0, 0.5, 64, 3


@dataclass(frozen=True)
class Game:
    """A Task with a loss by phase."""

    penalty: float = 0.1

    @property
    def losses(self):
        """{phase: loss}."""
        return {"critic": self.critic_loss, "generator": self.generator_loss}

    def init(self, key, batch):
        """Both networks, and counters of their steps in training as mutable collections."""
        params = {
            "critic": {"kernel": jnp.zeros(2)},
            "generator": {"kernel": jnp.float32(1), "bias": 0.1 * jax.random.normal(key)},
        }
        return params, {"critic": {"steps": jnp.int32(0)}, "generator": {"steps": jnp.int32(0)}}

    def sample(self, params, key, size):
        """`size` generated values."""
        generator = params["generator"]
        return generator["kernel"] * jax.random.normal(key, (size,)) + generator["bias"]

    def value(self, params, x):
        """The critic's opinion of x [b]."""
        return jnp.stack([x, x**2], -1) @ params["critic"]["kernel"]

    def critic_loss(self, params, mutable, batch, key, step, train):
        """Generated minus real, penalised."""
        generated = self.value(params, self.sample(params, key, len(batch["value"])))
        real = self.value(params, batch["value"])
        penalty = 0.5 * self.penalty * (params["critic"]["kernel"] ** 2).sum()
        gap = generated.mean() - real.mean()
        mutable = {**mutable, "critic": {"steps": mutable["critic"]["steps"] + 1}}
        return gap + penalty, Aux(mutable, {"critic_loss": Mean.of(gap)})

    def generator_loss(self, params, mutable, batch, key, step, train):
        """Minus the critic's opinion of what is generated."""
        loss = -self.value(params, self.sample(params, key, len(batch["value"]))).mean()
        mutable = {**mutable, "generator": {"steps": mutable["generator"]["steps"] + 1}}
        return loss, Aux(mutable, {"generator_loss": Mean.of(loss)})

    def predict(self, params, mutable, batch, key):
        """Generated values, [b]."""
        return {"value": self.sample(params, key, len(batch["value"]))}


@dataclass(frozen=True)
class Alternating:
    """The Algorithm: REPEATS critic phases over the stacked batches, then one generator phase."""

    task: Game
    optimizers: dict
    batches_per_update: int = REPEATS
    members: int = 1

    def init(self, key, batch):
        """The state before the first update."""
        params, mutable = self.task.init(stream(key, "init"), batch)
        opt_state, carry = gradients.init(self.optimizers, params)
        return TrainState(jnp.int32(0), key, params, opt_state, mutable, carry)

    def update(self, state, batch):
        """Arrays of `batch` are [n, b]."""

        def phase(state, batch, name, index):
            key = jax.random.fold_in(stream(state.key, name, state.step), index)
            loss = self.task.losses[name]
            return gradients.step(loss, state, batch, self.optimizers, networks=name, key=key)

        def critic(state, index_and_batch):
            index, batch = index_and_batch
            return phase(state, batch, "critic", index)

        state, means = jax.lax.scan(critic, state, (jnp.arange(REPEATS), dict(batch)))
        last = {name: leaf[-1] for name, leaf in batch.items()}
        state, more = phase(state, last, "generator", 0)
        metrics = gradients.merge(jax.tree.map(lambda leaf: leaf.sum(0), means), more)
        return dataclasses.replace(state, step=state.step + 1), metrics

    def evaluate(self, state, batch, key):
        """ "mean_error" and "spread_error": distances of the averaged generator's two numbers."""
        generator = gradients.averaged(state)["generator"]
        count = Mean.of(jnp.ones(len(batch["value"])), batch["mask"]).count
        errors = {
            "mean_error": jnp.abs(generator["bias"] - MEAN),
            "spread_error": jnp.abs(jnp.abs(generator["kernel"]) - SPREAD),
        }
        return {name: Mean(error * count, count) for name, error in errors.items()}

    def predict(self, state, batch, key):
        """Generated values, [b]."""
        return self.task.predict(gradients.averaged(state), state.mutable, batch, key)

    def weights(self, state):
        """The averaged generator and the critic."""
        params = gradients.averaged(state)
        return dataclasses.replace(state, params=params, opt_state=(), carry={})

    def member(self, state, index):
        """The state itself."""
        return state


def build() -> tuple[Alternating, Pipeline]:
    """The game and its training batches."""
    slow = gradients.Optimizer(optax.sgd(0.02), lambda step: 0.02, ema_decay=0.95)
    fast = gradients.Optimizer(optax.sgd(0.1), lambda step: 0.1)
    return Alternating(Game(), {"critic": fast, "generator": slow}), training()


def values(number: int, seed: int) -> np.ndarray:
    """BATCH real values."""
    rng = np.random.default_rng((seed, number))
    return rng.normal(MEAN, SPREAD, BATCH).astype(np.float32)


def training(seed: int = 0) -> Pipeline:
    """Endless batches {"value": [b]}."""

    def batches(start: int) -> Iterator[dict[str, np.ndarray]]:
        number = start
        while True:
            yield {"value": values(number, seed)}
            number += 1

    specs = {"value": jax.ShapeDtypeStruct((BATCH,), np.float32)}
    return Pipeline((specs,), Info({"train": 2**31}), batches)


def held_out() -> Pipeline:
    """One batch."""
    batch = {"value": values(0, 1), "mask": np.ones(BATCH, bool)}
    specs = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in batch.items()}
    return Pipeline(
        (specs,), Info({"val": BATCH}), lambda start: iter([batch][start:]), num_batches=1
    )
