"""Minimise the one loss of a Task by gradient descent: a batch in, an update out.

It serves every task with one `loss`. Where the parameters are several networks, all of them learn
from that loss, each with its own optimizer.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from training import gradients
from training.contracts import Arrays, Batch, Means, Task, TrainState, stream


@dataclass(frozen=True)
class Config:
    """Supervised learning has no settings of its own."""


TINY: dict[str, Any] = {}


def build(
    config: Config, task: Task, optimizers: gradients.Optimizers, environment: Any = None
) -> "Supervised":
    """The algorithm for a task; it has `explain` where the task has.

    Args:
      config: no settings.
      task: a Task with one `loss`.
      optimizers: one Optimizer, or {network: Optimizer} where params are a dict by network.
      environment: None; supervised learning does not act.

    Raises:
      ValueError: the task has no single loss.
    """
    del config, environment
    if not hasattr(task, "loss"):
        raise ValueError(f"supervised needs a task with one loss, {type(task).__name__} has none")
    kind = Explaining if hasattr(task, "explain") else Supervised
    return kind(task, optimizers)


@dataclass(frozen=True)
class Supervised:
    """An Algorithm over `task`; evaluates with the average of the parameters where one is kept."""

    task: Task
    optimizers: gradients.Optimizers
    batches_per_update: ClassVar[int] = 1
    members: ClassVar[int] = 1

    def init(self, key: jax.Array, batch: Batch) -> TrainState:
        """The state before the first update."""
        params, mutable = self.task.init(stream(key, "init"), batch)
        opt_state, carry = gradients.init(self.optimizers, params)
        return TrainState(jnp.int32(0), key, params, opt_state, mutable, carry)

    def update(self, state: TrainState, batch: Batch) -> tuple[TrainState, Means]:
        """One step along the gradient of the task's loss."""
        state, metrics = gradients.step(self.task.loss, state, batch, self.optimizers)
        return dataclasses.replace(state, step=state.step + 1), metrics

    def evaluate(self, state: TrainState, batch: Batch, key: jax.Array) -> Means:
        """The task's metrics on one batch, padding left out."""
        params = gradients.averaged(state)
        _, aux = self.task.loss(params, state.mutable, batch, key, state.step, False)
        return aux.metrics

    def predict(self, state: TrainState, batch: Batch, key: jax.Array) -> Arrays:
        """The task's predictions on one batch, arrays [b, ...], padding included."""
        return self.task.predict(gradients.averaged(state), state.mutable, batch, key)

    @property
    def generate(self) -> Callable[..., Arrays]:
        """The task's `generate` with the state's weights; AttributeError where it has none."""
        generate = self.task.generate  # ty: ignore[missing-attribute]

        def run(state: TrainState, batch: Batch, key: jax.Array, **options: Any) -> Arrays:
            return generate(gradients.averaged(state), state.mutable, batch, key, **options)

        return run

    def weights(self, state: TrainState) -> TrainState:
        """The averaged parameters, where there are, and nothing that only `update` reads."""
        return dataclasses.replace(state, params=gradients.averaged(state), opt_state=(), carry={})

    def member(self, state: TrainState, index: int) -> TrainState:
        """The state itself."""
        if index != 0:
            raise ValueError(f"member must be 0, as there is one, not {index}")
        return state


@dataclass(frozen=True)
class Explaining(Supervised):
    """Supervised, for a task that explains its predictions."""

    def explain(self, state: TrainState, batch: Batch, key: jax.Array) -> Arrays:
        """What the task draws of one batch, arrays [b, ...] (attention maps)."""
        explain = self.task.explain  # ty: ignore[missing-attribute]
        return explain(gradients.averaged(state), state.mutable, batch, key)
