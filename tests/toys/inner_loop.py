"""An inner loop: MAML (Finn et al. 2017, arXiv:1703.03400) on sinusoids, a Task for supervised.

A regression on support points is adapted by one gradient step (equation 1) and judged on query
points; the outer gradient goes through the inner one. Axes: `b` sinusoids, `k` points of each.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

from algorithms import supervised
from training import gradients
from training.contracts import Aux, Info, Mean, Pipeline

SINUSOIDS, POINTS, WIDTH = 16, 10, 32


@dataclass(frozen=True)
class Regression:
    """The Task that is adapted: y of x, both [k], by a network of two hidden layers."""

    def init(self, key, batch):
        """He-initialised layers."""
        sizes = (1, WIDTH, WIDTH, 1)
        keys = jax.random.split(key, 3)
        return {
            f"layer_{i}": {
                "kernel": jax.random.normal(keys[i], sizes[i : i + 2]) * (2 / sizes[i]) ** 0.5,
                "bias": jnp.zeros(sizes[i + 1]),
            }
            for i in range(3)
        }, {}

    def outputs(self, params, x):
        """[k] -> [k]."""
        hidden = x[:, None]
        for i in range(3):
            hidden = hidden @ params[f"layer_{i}"]["kernel"] + params[f"layer_{i}"]["bias"]
            hidden = jnp.tanh(hidden) if i < 2 else hidden
        return hidden[:, 0]

    def loss(self, params, mutable, batch, key, step, train):
        """Mean squared error."""
        squares = Mean.of((self.outputs(params, batch["x"]) - batch["y"]) ** 2)
        return squares.total / squares.count, Aux(mutable, {"loss": squares})

    def predict(self, params, mutable, batch, key):
        """y, [k]."""
        return {"y": self.outputs(params, batch["x"])}


@dataclass(frozen=True)
class Adapting:
    """The Task of learning to learn `task`: loss and predictions after one inner step."""

    task: Regression
    rate: float = 0.05
    second_order: bool = True

    def init(self, key, batch):
        """The inner task's."""
        return self.task.init(key, {"x": batch["support_x"][0], "y": batch["support_y"][0]})

    def adapt(self, params, mutable, support, key, step, train):
        """Parameters after a step on {"x", "y"} [k]."""
        slopes, _, _ = gradients.differentiate(
            self.task.loss, params, mutable, support, key, step, train
        )
        if not self.second_order:
            slopes = jax.lax.stop_gradient(slopes)
        return jax.tree.map(lambda leaf, slope: leaf - self.rate * slope, params, slopes)

    def loss(self, params, mutable, batch, key, step, train):
        """Squared error of the queries after adapting, and before it as "loss_before"."""

        def one(support, query):
            adapted = self.adapt(params, mutable, support, key, step, train)
            after, _ = self.task.loss(adapted, mutable, query, key, step, train)
            before, _ = self.task.loss(params, mutable, query, key, step, train)
            return after, before

        after, before = jax.vmap(one)(*episodes(batch))
        mask = batch.get("mask")
        loss = Mean.of(after, mask)
        metrics = {"loss": loss, "loss_before": Mean.of(before, mask)}
        return loss.total / loss.count, Aux(mutable, metrics)

    def predict(self, params, mutable, batch, key):
        """y of the queries after adapting, [b, k]."""

        def one(support, query):
            adapted = self.adapt(params, mutable, support, key, 0, False)
            return self.task.predict(adapted, mutable, query, key)

        return jax.vmap(one)(*episodes(batch))


def episodes(batch):
    """(support, query), each {"x", "y"} [b, k]."""
    return tuple({n: batch[f"{part}_{n}"] for n in ("x", "y")} for part in ("support", "query"))


def build(second_order: bool = True) -> tuple[supervised.Supervised, Pipeline]:
    """Supervised learning of the wrapped task, and its batches of sinusoids."""
    optimizer = gradients.Optimizer(optax.adam(3e-3), lambda step: 3e-3)
    task = Adapting(Regression(), second_order=second_order)
    return supervised.build(supervised.Config(), task, optimizer), training()


def sinusoids(number: int, seed: int) -> dict[str, np.ndarray]:
    """Amplitudes in [0.1, 5], phases in [0, pi], x in [-5, 5], as section 5.1 has them."""
    rng = np.random.default_rng((seed, number))
    amplitude = rng.uniform(0.1, 5, (SINUSOIDS, 1))
    phase = rng.uniform(0, np.pi, (SINUSOIDS, 1))
    batch = {}
    for part in ("support", "query"):
        x = rng.uniform(-5, 5, (SINUSOIDS, POINTS))
        batch[f"{part}_x"] = x.astype(np.float32)
        batch[f"{part}_y"] = (amplitude * np.sin(x - phase)).astype(np.float32)
    return batch


def training(seed: int = 0) -> Pipeline:
    """Endless batches of new sinusoids."""

    def batches(start: int) -> Iterator[dict[str, np.ndarray]]:
        return (sinusoids(number, seed) for number in itertools.count(start))

    return Pipeline((specs(sinusoids(0, 0)),), Info({"train": 2**31}), batches)


def held_out() -> Pipeline:
    """Four batches of sinusoids that training does not see."""
    mask = {"mask": np.ones(SINUSOIDS, bool)}
    fixed = [{**sinusoids(number, 10**6), **mask} for number in range(4)]
    return Pipeline(
        (specs(fixed[0]),),
        Info({"val": 4 * SINUSOIDS}),
        lambda start: iter(fixed[start:]),
        num_batches=4,
    )


def specs(batch: dict[str, np.ndarray]) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a batch."""
    return {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in batch.items()}
