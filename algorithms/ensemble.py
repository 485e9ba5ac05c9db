"""N members of any algorithm trained at once, each from a key of its own.

Arrays of a state, and of what evaluate and predict return, have a leading axis [m]. Member i is
what the algorithm would be alone with the key fold_in(key, i). The three ways to run them give the
same numbers up to float rounding (a compiler may order sums differently):

    vmap     one program over arrays [m, ...]; pays where dispatch dominates and on accelerators
    unroll   the members' programs side by side, compiled as one; compile time grows with m
    loop     one member after the other (lax.map); the least memory
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from training.contracts import Algorithm, Arrays, Batch, ConfigError, Means, TrainState
from training.mesh import member_axes

WAYS = ("vmap", "unroll", "loop")
DATA = ("shared", "own")


@dataclass(frozen=True)
class Config:
    """How many members, and how they run.

    Attributes:
      members: N, 1 or more.
      by: vmap | unroll | loop.
      data: "shared": all members see the same batch. "own": a training batch's arrays have an axis
        [m], the first of one batch (after batches_per_update's), and so have those of an
        evaluation batch whose "mask" is [m, b].
      constant: names of the arrays that members share even where the data are their own.
    """

    members: int = 2
    by: str = "vmap"
    data: str = "shared"
    constant: tuple[str, ...] = ()


TINY: dict[str, Any] = {}


def build(config: Config, algorithm: Algorithm) -> "Ensemble":
    """An Algorithm of `config.members` members; it has `explain` where `algorithm` has.

    Raises:
      ConfigError: a setting out of range, or an ensemble of ensembles.
    """
    for key, value, accepted in (("by", config.by, WAYS), ("data", config.data, DATA)):
        if value not in accepted:
            raise ConfigError(f"train.ensemble_{key} is {value!r}: it must be one of {accepted}")
    if config.members < 1:
        raise ConfigError(f"train.ensemble is {config.members}: it must be 1 or more")
    if algorithm.members != 1:
        raise ConfigError(f"an ensemble of an algorithm of {algorithm.members} members is none")
    kind = Explaining if hasattr(algorithm, "explain") else Ensemble
    return kind(algorithm, config)


@dataclass(frozen=True)
class Ensemble:
    """An Algorithm whose states are `config.members` states of `algorithm`, stacked."""

    algorithm: Algorithm
    config: Config

    @property
    def members(self) -> int:
        """How many."""
        return self.config.members

    @property
    def batches_per_update(self) -> int:
        """The algorithm's."""
        return self.algorithm.batches_per_update

    def init(self, key: jax.Array, batch: Batch) -> TrainState:
        """The members' first states, member i from fold_in(key, i)."""
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(self.members))
        return self._each(self.algorithm.init, keys, batch, self._axes(batch, 0))

    def update(self, state: TrainState, batch: Batch) -> tuple[TrainState, Means]:
        """One update of each member."""
        axes = self._axes(batch, int(self.batches_per_update > 1))
        return self._each(self.algorithm.update, state, batch, axes)

    def evaluate(self, state: TrainState, batch: Batch, key: jax.Array) -> Means:
        """The members' metrics, arrays [m]; all draw from the same key."""
        return self._read(self.algorithm.evaluate, state, batch, key)

    def predict(self, state: TrainState, batch: Batch, key: jax.Array) -> Arrays:
        """The members' predictions, arrays [m, b, ...]."""
        return self._read(self.algorithm.predict, state, batch, key)

    @property
    def generate(self) -> Callable[..., Arrays]:
        """What each member generates, arrays [m, b, ...]; AttributeError where none does."""
        generate = self.algorithm.generate  # ty: ignore[missing-attribute]

        def run(state: TrainState, batch: Batch, key: jax.Array, **options: Any) -> Arrays:
            return self._read(partial(generate, **options), state, batch, key)

        return run

    def weights(self, state: TrainState) -> TrainState:
        """The members' weights, stacked."""
        return jax.vmap(self.algorithm.weights)(state)

    def member(self, state: TrainState, index: int) -> TrainState:
        """One member's state, for `algorithm`'s own methods."""
        if not 0 <= index < self.members:
            raise ValueError(f"member must be from 0 to {self.members - 1}, not {index}")
        return jax.tree.map(lambda leaf: leaf[index], state)

    def _read(self, method: Callable[..., Any], state: Any, batch: Batch, key: jax.Array) -> Any:
        axes = self._axes(batch, 0) if member_axes(batch) else dict.fromkeys(batch)
        return self._each(lambda state, batch: method(state, batch, key), state, batch, axes)

    def _axes(self, batch: Batch, axis: int) -> dict[str, int | None]:
        """The members' axis in each array of a batch, None where they share it."""
        own = self.config.data == "own"
        return {k: axis if own and k not in self.config.constant else None for k in batch}

    def _each(
        self, method: Callable[..., Any], stacked: Any, batch: Batch, axes: dict[str, int | None]
    ) -> Any:
        """method(stacked[i], batch of member i) for all i, results stacked."""
        batch = dict(batch)
        if self.config.by == "vmap":
            return jax.vmap(method, in_axes=(0, axes))(stacked, batch)
        own = {k: jnp.moveaxis(batch[k], axis, 0) for k, axis in axes.items() if axis is not None}
        shared = {k: batch[k] for k, axis in axes.items() if axis is None}

        def one(pair: tuple[Any, Arrays]) -> Any:
            return method(pair[0], {**shared, **pair[1]})

        if self.config.by == "loop":
            return jax.lax.map(one, (stacked, own))
        results = [
            one(jax.tree.map(lambda leaf, i=i: leaf[i], (stacked, own)))
            for i in range(self.members)
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


@dataclass(frozen=True)
class Explaining(Ensemble):
    """An ensemble of an algorithm that explains its predictions."""

    def explain(self, state: TrainState, batch: Batch, key: jax.Array) -> Arrays:
        """What each member draws of one batch, arrays [m, b, ...]."""
        explain = self.algorithm.explain  # ty: ignore[missing-attribute]
        return self._read(explain, state, batch, key)
