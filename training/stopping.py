"""When to stop, and which weights to keep: pure rules on arrays [m], one entry a member.

    none            never stops; the best weights by the selected metric
    patience        stops after `patience` evaluations in a row that were not the best so far
    moving_mean     stops when the loss exceeds the mean of the `window` losses before it, not
                    before evaluation window + 2, as train.py of tkipf/gcn does
                    (Kipf and Welling 2017, arXiv:1609.02907)
    either_or_both  patience starts anew when loss OR accuracy is at least as good as its best,
                    weights are kept when BOTH are, as execute_cora.py of PetarV-/GAT does
                    (Velickovic et al. 2018, arXiv:1710.10903)

A value that is NaN is never better and never moves a record. What a member does after it has
stopped counts for nothing: its `stop` stays True, its `better` stays False.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from training.contracts import ConfigError, is_test

Carry = dict[str, jax.Array]
Rule = Callable[[Carry, Mapping[str, Any]], tuple[Carry, jax.Array, jax.Array]]

RULES = ("none", "patience", "moving_mean", "either_or_both")


@dataclass(frozen=True)
class Select:
    """The validation metric that chooses the weights.

    Attributes:
      metric: such as "val/accuracy"; "" selects nothing, so that the last weights are the best.
      mode: "max" | "min".
      common: whether an ensemble's members all keep the weights of one evaluation, that of the best
        mean over them, as GIN's folds share their epoch (Xu et al. 2018, arXiv:1810.00826).
    """

    metric: str = ""
    mode: str = "max"
    common: bool = False


@dataclass(frozen=True)
class Stopping:
    """The rule that ends training early.

    Attributes:
      rule: "none" | "patience" | "moving_mean" | "either_or_both".
      patience: evaluations without improvement (patience, either_or_both).
      window: evaluations that are averaged (moving_mean).
      loss: metric that moving_mean and either_or_both read, to be minimised.
      accuracy: metric that either_or_both reads, to be maximised.
      min_delta: what the selected metric must gain to count as better (all but either_or_both).
    """

    rule: str = "none"
    patience: int = 0
    window: int = 10
    loss: str = "val/loss"
    accuracy: str = "val/accuracy"
    min_delta: float = 0.0


def build(select: Select, stopping: Stopping) -> tuple[Callable[[int], Carry], Rule]:
    """(init, rule) of a config's `train.select` and `train.stopping`.

    init(members) -> carry, arrays only, to be checkpointed.
    rule(carry, metrics) -> (carry, better, stop), bool [m] both, for one evaluation's {name: [m]}.
    carry["best"] is the selected metric at the last evaluation that was better, NaN before.

    Raises:
      ConfigError: a setting that is wrong or that the rule does not read; raised by `rule`, a
        metric that is not among an evaluation's.
    """
    _check(select, stopping)
    step = {
        "none": _none,
        "patience": _patience,
        "moving_mean": _moving_mean,
        "either_or_both": _either_or_both,
    }[stopping.rule]

    def init(members: int) -> Carry:
        carry = {
            "best": jnp.full((members,), jnp.nan, jnp.float32),
            "stopped": jnp.zeros((members,), bool),
        }
        if stopping.rule in ("patience", "either_or_both"):
            carry["wait"] = jnp.zeros((members,), jnp.int32)
        if stopping.rule == "moving_mean":
            carry["losses"] = jnp.full((members, stopping.window), jnp.nan, jnp.float32)
            carry["seen"] = jnp.zeros((members,), jnp.int32)
        if stopping.rule == "either_or_both":
            carry["loss"] = jnp.full((members,), jnp.inf, jnp.float32)
            # The original starts at 0, where an accuracy of 0 counts as its equal; so does this.
            carry["accuracy"] = jnp.zeros((members,), jnp.float32)
        return carry

    def rule(carry: Carry, metrics: Mapping[str, Any]) -> tuple[Carry, jax.Array, jax.Array]:
        members = carry["best"].shape

        def read(name: str) -> jax.Array:
            if name not in metrics:
                near = difflib.get_close_matches(name, metrics, 3, 0.0)
                raise ConfigError(
                    f"train selects or stops by {name!r}, but evaluations give {near}"
                )
            return jnp.broadcast_to(jnp.asarray(metrics[name], jnp.float32), members)

        better = _better(carry, read, select, stopping)
        new, better, stop = step(carry, read, better, stopping)
        active = ~carry["stopped"]
        better &= active
        if select.metric:
            new["best"] = jnp.where(better, _selected(read, select), carry["best"])
        new["stopped"] = carry["stopped"] | stop
        return new, better, new["stopped"]

    return init, rule


def _better(
    carry: Carry, read: Callable[[str], jax.Array], select: Select, stopping: Stopping
) -> jax.Array:
    """Whether the selected metric is a record; always, where nothing is selected."""
    if not select.metric:
        return jnp.ones_like(carry["stopped"])
    value, best = _selected(read, select), carry["best"]
    gain = value - best if select.mode == "max" else best - value
    return jnp.where(jnp.isnan(best), ~jnp.isnan(value), gain > stopping.min_delta)


def _selected(read: Callable[[str], jax.Array], select: Select) -> jax.Array:
    """What is compared with the record: a member's own value, or the mean over all."""
    value = read(select.metric)
    return jnp.broadcast_to(value.mean(), value.shape) if select.common else value


def _none(carry: Carry, read: Any, better: jax.Array, stopping: Stopping):
    return dict(carry), better, jnp.zeros_like(better)


def _patience(carry: Carry, read: Any, better: jax.Array, stopping: Stopping):
    wait = jnp.where(better, 0, carry["wait"] + 1)
    return {**carry, "wait": wait}, better, wait >= stopping.patience


def _moving_mean(carry: Carry, read: Any, better: jax.Array, stopping: Stopping):
    loss, losses, seen = read(stopping.loss), carry["losses"], carry["seen"]
    # `epoch > early_stopping` counts epochs from 0: one more evaluation than fill the window.
    stop = (seen > stopping.window) & (loss > losses.mean(axis=1))
    losses = jnp.concatenate([losses[:, 1:], loss[:, None]], axis=1)
    return {**carry, "losses": losses, "seen": seen + 1}, better, stop


def _either_or_both(carry: Carry, read: Any, better: jax.Array, stopping: Stopping):
    loss, accuracy = read(stopping.loss), read(stopping.accuracy)
    lower, higher = loss <= carry["loss"], accuracy >= carry["accuracy"]
    wait = jnp.where(lower | higher, 0, carry["wait"] + 1)
    new = {
        **carry,
        "wait": wait,
        "loss": jnp.fmin(loss, carry["loss"]),
        "accuracy": jnp.fmax(accuracy, carry["accuracy"]),
    }
    return new, lower & higher, wait >= stopping.patience


def _check(select: Select, stopping: Stopping) -> None:
    """Raises ConfigError for what is wrong, or would do nothing."""
    defaults, rule = Stopping(), stopping.rule
    if rule not in RULES:
        near = difflib.get_close_matches(rule, RULES, 1, 0.5) or RULES
        raise ConfigError(f"train.stopping.rule is {rule!r}: did you mean {' or '.join(near)}?")
    if select.mode not in ("max", "min"):
        raise ConfigError(f"train.select.mode is {select.mode!r}: it must be 'max' or 'min'")
    reads = {
        "none": {"min_delta"},
        "patience": {"patience", "min_delta"},
        "moving_mean": {"window", "loss", "min_delta"},
        "either_or_both": {"patience", "loss", "accuracy"},
    }[rule]
    for name in ("patience", "window", "loss", "accuracy", "min_delta"):
        if name not in reads and getattr(stopping, name) != getattr(defaults, name):
            raise ConfigError(f"train.stopping.{name} does nothing under rule {rule!r}: remove it")
    for name in ("patience", "window"):
        if name in reads and getattr(stopping, name) < 1:
            raise ConfigError(
                f"train.stopping.{name} is {getattr(stopping, name)}: it must be 1 or more"
            )
    if not stopping.min_delta >= 0:
        raise ConfigError(f"train.stopping.min_delta is {stopping.min_delta}: it must be 0 or more")
    _check_select(select, stopping)


def _check_select(select: Select, stopping: Stopping) -> None:
    """Raises ConfigError where the metric does not go with the rule, or is of train or test."""
    both = (stopping.loss, stopping.accuracy)
    if select.common and stopping.rule != "none":
        raise ConfigError(
            f"train.select.common goes with train.stopping.rule='none', not {stopping.rule!r}: "
            "members that stop one by one have no evaluation in common"
        )
    if not select.metric and (stopping.rule == "patience" or stopping.min_delta):
        raise ConfigError("train.stopping needs train.select.metric, such as 'val/accuracy'")
    if stopping.rule == "either_or_both" and select.metric not in ("", *both):
        raise ConfigError(
            f"train.select.metric is {select.metric!r}, but rule 'either_or_both' keeps weights by "
            f"{both[0]!r} and {both[1]!r}: name one of the two, which is then reported"
        )
    read = [
        select.metric,
        *(
            both
            if stopping.rule == "either_or_both"
            else both[:1]
            if stopping.rule == "moving_mean"
            else ()
        ),
    ]
    for name in read:
        split = name.split("/")[0]
        if split == "train" or is_test(split):
            raise ConfigError(f"{name!r} may not select or stop a run: only a validation split may")
