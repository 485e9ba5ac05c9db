"""Which weights are the best, and who has stopped: a run's memory of its evaluations, by member."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from training.contracts import TrainState

Rule = Callable[[Any, Mapping[str, jax.Array]], tuple[Any, jax.Array, jax.Array]]


@struct.dataclass
class Selection:
    """Which weights are the best, and who has stopped; arrays by member [m], checkpointed.

    Attributes:
      carry: the stopping rule's own memory.
      stopped: bool; a stopped member is frozen.
      best: `algorithm.weights` of the best evaluation so far; {} where nothing selects.
      value, step: of that evaluation; NaN and -1 before the first.
    """

    carry: Any
    stopped: jax.Array
    best: Any
    value: jax.Array
    step: jax.Array


def first(carry: Any, weights: TrainState | None, members: int) -> Selection:
    """Nothing selected, nobody stopped; `weights` is None where nothing ever selects."""
    return Selection(
        carry=carry,
        stopped=jnp.zeros(members, bool),
        # A copy: the state's own buffers are donated to the next update.
        best={} if weights is None else jax.tree.map(jnp.copy, weights),
        value=jnp.full(members, jnp.nan, jnp.float32),
        step=jnp.full(members, -1, jnp.int32),
    )


def after(
    rule: Rule,
    selection: Selection,
    weights: TrainState,
    metrics: Mapping[str, jax.Array],
    metric: str,
    step: jax.Array,
) -> Selection:
    """The selection after an evaluation at `step` whose `metrics` are {"val/accuracy": [m]}."""
    members = selection.stopped.shape[0]
    carry, better, stop = rule(selection.carry, metrics)
    live = ~selection.stopped
    better = better & live
    return Selection(
        carry=freeze(live, carry, selection.carry, members, always=True),
        stopped=selection.stopped | stop,
        best=freeze(better, weights, selection.best, members),
        value=jnp.where(better, metrics[metric], selection.value),
        step=jnp.where(better, step, selection.step),
    )


def freeze(active: jax.Array, new: Any, old: Any, members: int, always: bool = False) -> Any:
    """`new` where a member is `active` [m], else `old`, for trees of arrays with a leading axis
    [m].

    A single member's arrays have no such axis unless `always` says that they do.
    """

    def one(new: jax.Array, old: jax.Array) -> jax.Array:
        if members == 1 and not always:
            return jnp.where(active[0], new, old)
        return jnp.where(active.reshape((members,) + (1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(one, new, old)
