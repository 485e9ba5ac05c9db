"""Optimizers and learning rates out of Optax, from a config's plain values.

One chain for all, so that its order is stated once:

    clip by global norm -> coupled decay -> the optimizer's own scaling -> decoupled decay
      -> trust ratio (LAMB) -> factors by path and layer -> - learning rate

    sgd        momentum as PyTorch has it (no dampening), optionally Nesterov's
    adam       Kingma and Ba 2015, arXiv:1412.6980, algorithm 1
    adamw      Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2; the decay is scaled by the
               learning rate
    lion       Chen et al. 2023, arXiv:2302.06675, algorithm 2
    adafactor  Shazeer and Stern 2018, arXiv:1804.04235, algorithm 4; the decay is decoupled and
               scaled by the learning rate as in AdamW (Optax does not scale it); arrays are
               factored from 128 x 128 on
    lamb       You et al. 2020, arXiv:1904.00962, algorithm 2

A schedule is a function of the run's step, the number of updates done before: the first update has
step 0. Warm-up rises linearly from 0 at step 0 to the full rate at step `warmup_steps`, so its
first update changes no parameter, as in Optax and in the code of most papers.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax

from training import layer_rates
from training.contracts import ConfigError, Tree
from training.gradients import Optimizer
from training.trees import path_name

# What each optimizer reads beside what all read, and the value that None stands for.
SETTINGS: dict[str, dict[str, float]] = {
    "sgd": {"momentum": 0.9},
    "adam": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
    "adamw": {"b1": 0.9, "b2": 0.999, "eps": 1e-8},
    "lion": {"b1": 0.9, "b2": 0.99},
    "adafactor": {"b1": 0.0, "b2": 0.8, "eps": 1e-30},
    "lamb": {"b1": 0.9, "b2": 0.999, "eps": 1e-6},
}
# The same for the schedules: which of the keys below each reads.
SCHEDULES: dict[str, tuple[str, ...]] = {
    "constant": (),
    "linear": ("decay_steps", "end_factor"),
    "cosine": ("decay_steps", "end_factor"),
    "step": ("boundaries", "factor"),
    "inverse_sqrt": (),
}


@dataclass(frozen=True)
class Config:
    """An optimizer with its schedule.

    Patterns are regular expressions, searched for in paths like "a/b/kernel".

    Attributes:
      name: sgd | adam | adamw | lion | adafactor | lamb.
      learning_rate: the rate that the schedule scales.
      momentum, nesterov: SGD's; None is 0.9.
      b1, b2, eps: the moments' decays and the denominator's guard; None is the paper's value.
        Adafactor's b1 is its momentum (0: none), its b2 the exponent of the second moment's decay.
      weight_decay: factor on the parameter.
      coupled_decay: True adds it to the gradient (L2, after clipping), False to the update; None is
        True for sgd and adam, False for the others.
      decay_paths: only parameters of these paths decay.
      schedule: constant | linear | cosine | step | inverse_sqrt.
      warmup_steps: linear warm-up from 0; inverse_sqrt is sqrt(warmup_steps / step) after it.
      decay_steps: the step at which linear and cosine reach the end; None: the run's last.
      end_factor: the learning rate there, as a share of the full one.
      boundaries, factor: "step" multiplies the rate by `factor` from each of these steps on.
      clip_norm: largest global norm of the gradients; None clips nothing.
      multipliers: {pattern: factor on the learning rate}; where several match, their product.
        A ConfigDict refuses a key with a dot: write [^/]+ for "one name".
      layer_decay: factor on the learning rate from a layer to the one below it
        (training/layer_rates.py); 1 is the same for all.
      input_paths: patterns of what comes before the layers, and learns slowest under layer_decay.
      frozen: parameters of these paths are not trained and have no optimizer state.
      accumulation_steps: microbatches a batch is divided into, one after the other.
      ema_decay: decay of the average of the parameters that evaluation uses; None keeps none.
      loss_scale: "none" | "dynamic" | a constant, for fp16.
    """

    name: str = "adamw"
    learning_rate: float = 1e-3
    momentum: float | None = None
    nesterov: bool = False
    b1: float | None = None
    b2: float | None = None
    eps: float | None = None
    weight_decay: float = 0.0
    coupled_decay: bool | None = None
    decay_paths: tuple[str, ...] = ("kernel$",)
    schedule: str = "constant"
    warmup_steps: int = 0
    decay_steps: int | None = None
    end_factor: float = 0.0
    boundaries: tuple[int, ...] = ()
    factor: float = 0.1
    clip_norm: float | None = None
    multipliers: dict[str, float] = field(default_factory=dict)
    layer_decay: float = 1.0
    input_paths: tuple[str, ...] = layer_rates.INPUTS
    frozen: tuple[str, ...] = ()
    accumulation_steps: int = 1
    ema_decay: float | None = None
    loss_scale: str | float = "none"


TINY: dict[str, Any] = {}


def build(config: Config, total_steps: int) -> Optimizer:
    """The optimizer of a config for a run of `total_steps` updates.

    Raises:
      ConfigError: an unknown name, a value out of range, a key that this optimizer or schedule does
        not read; from `gradients.init`, a pattern that matches no parameter.
    """
    _check(config, total_steps)
    schedule = build_schedule(config, total_steps)
    settings = {
        key: default if getattr(config, key) is None else getattr(config, key)
        for key, default in SETTINGS[config.name].items()
    }
    chain = []
    if config.clip_norm is not None:
        chain.append(optax.clip_by_global_norm(config.clip_norm))
    decay = []
    if config.weight_decay:
        mask = _decay_mask(config.decay_paths)
        decay = [optax.add_decayed_weights(config.weight_decay, mask)]
    coupled = _coupled(config)
    chain += [*(decay if coupled else ()), *_core(config, settings), *(() if coupled else decay)]
    if config.name == "lamb":
        chain.append(optax.scale_by_trust_ratio())
    if config.multipliers:
        chain.append(_multiply(dict(config.multipliers)))
    if config.layer_decay != 1.0:
        chain.append(_decay_layers(config.layer_decay, config.input_paths))
    chain.append(_scale_by_learning_rate(schedule))
    return Optimizer(
        tx=optax.chain(*chain),
        schedule=schedule,
        accumulation_steps=config.accumulation_steps,
        ema_decay=config.ema_decay,
        loss_scale=config.loss_scale,
        trainable=_trainable(config.frozen) if config.frozen else None,
    )


def build_schedule(config: Config, total_steps: int) -> Callable[[Any], jax.Array]:
    """step (int32, updates done before) -> learning rate (float32)."""
    rate, warmup = config.learning_rate, config.warmup_steps
    length = (total_steps if config.decay_steps is None else config.decay_steps) - warmup
    if config.schedule == "linear":
        after = optax.linear_schedule(rate, rate * config.end_factor, length)
    elif config.schedule == "cosine":
        after = optax.cosine_decay_schedule(rate, length, config.end_factor)
    elif config.schedule == "step":
        drops = {boundary - warmup: config.factor for boundary in config.boundaries}
        after = optax.piecewise_constant_schedule(rate, drops)
    elif config.schedule == "inverse_sqrt":
        after = _inverse_sqrt(rate, warmup)
    else:
        after = optax.constant_schedule(rate)
    if not warmup:
        return lambda step: jnp.asarray(after(step), jnp.float32)
    joined = optax.join_schedules([optax.linear_schedule(0.0, rate, warmup), after], [warmup])
    return lambda step: jnp.asarray(joined(step), jnp.float32)


def paths(tree: Tree) -> list[str]:
    """The paths of the leaves, "a/b/kernel", in the tree's order."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [path_name(path) for path, _ in leaves]


def _inverse_sqrt(rate: float, warmup: int) -> Callable[[Any], jax.Array]:
    """Rate times sqrt(warmup / step), of a step counted from the end of the warm-up."""
    start = max(warmup, 1)
    return lambda step: rate * jnp.sqrt(start / jnp.maximum(step + warmup, start))


def _core(config: Config, settings: Mapping[str, float]) -> list[optax.GradientTransformation]:
    """The optimizer's own scaling of the gradients."""
    if config.name == "sgd":
        momentum = settings["momentum"]
        return [optax.trace(momentum, nesterov=config.nesterov)] if momentum else []
    if config.name == "lion":
        return [optax.scale_by_lion(settings["b1"], settings["b2"])]
    if config.name == "adafactor":
        momentum = settings["b1"]
        return [
            optax.scale_by_factored_rms(decay_rate=settings["b2"], epsilon=settings["eps"]),
            optax.clip_by_block_rms(1.0),
            optax.scale_by_param_block_rms(),
            *([optax.ema(momentum, debias=False)] if momentum else []),
        ]
    return [optax.scale_by_adam(settings["b1"], settings["b2"], settings["eps"])]


def _scale_by_learning_rate(
    schedule: Callable[[Any], Any],
) -> optax.GradientTransformationExtraArgs:
    """Times minus the rate at the run's step, which `gradients.step` passes in."""

    def update(updates: Tree, state: Any, params: Any = None, **extra: Any) -> tuple[Tree, Any]:
        rate = schedule(extra["step"])
        return jax.tree.map(lambda u: u * -rate.astype(u.dtype), updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def _multiply(multipliers: Mapping[str, float]) -> optax.GradientTransformation:
    """Times the product of the factors whose patterns are found in the path."""

    def init(params: Tree) -> optax.EmptyState:
        for pattern in multipliers:
            _matches((pattern,), params, f"optimizer.multipliers[{pattern!r}]")
        return optax.EmptyState()

    def update(updates: Tree, state: Any, params: Any = None) -> tuple[Tree, Any]:
        def scaled(path: Any, leaf: jax.Array) -> jax.Array:
            factor, name = 1.0, path_name(path)
            for pattern, value in multipliers.items():
                factor *= value if re.search(pattern, name) else 1.0
            return leaf if factor == 1.0 else leaf * factor

        return jax.tree_util.tree_map_with_path(scaled, updates), state

    return optax.GradientTransformation(init, update)


def _decay_layers(decay: float, inputs: tuple[str, ...]) -> optax.GradientTransformation:
    """Times the factors of `layer_rates`."""

    def init(params: Tree) -> optax.EmptyState:
        layer_rates.factors(params, decay, inputs)
        return optax.EmptyState()

    def update(updates: Tree, state: Any, params: Any = None) -> tuple[Tree, Any]:
        factors = layer_rates.factors(updates, decay, inputs)
        return jax.tree.map(lambda u, f: u * jnp.asarray(f, u.dtype), updates, factors), state

    return optax.GradientTransformation(init, update)


def _decay_mask(patterns: tuple[str, ...]) -> Callable[[Tree], Tree]:
    def mask(tree: Tree) -> Tree:
        if patterns == Config.decay_paths:
            # The default is nobody's choice: only decay that reaches nothing at all is an error.
            return _matches(
                patterns, tree, "optimizer.weight_decay reaches nothing: optimizer.decay_paths"
            )
        for pattern in patterns:
            _matches((pattern,), tree, "optimizer.decay_paths")
        return _matches(patterns, tree, "optimizer.decay_paths")

    return mask


def _trainable(patterns: tuple[str, ...]) -> Callable[[Tree], Tree]:
    def trainable(tree: Tree) -> Tree:
        for pattern in patterns:
            _matches((pattern,), tree, "optimizer.frozen")
        frozen = _matches(patterns, tree, "optimizer.frozen")
        if all(jax.tree.leaves(frozen)):
            raise ConfigError(f"optimizer.frozen={patterns} leaves no parameter to train")
        return jax.tree.map(lambda leaf: not leaf, frozen)

    return trainable


def _matches(patterns: tuple[str, ...], tree: Tree, where: str) -> Tree:
    """A tree of bool, True where a pattern is found; ConfigError where none is found anywhere."""
    names = paths(tree)
    found = [any(re.search(pattern, name) for pattern in patterns) for name in names]
    if not any(found):
        wanted = " or ".join(repr(pattern) for pattern in patterns) or "()"
        near = difflib.get_close_matches(re.sub(r"[^\w/]", "", "".join(patterns)), names, 3, 0.0)
        raise ConfigError(
            f"{where}: {wanted} matches no parameter; the nearest are {', '.join(near)}"
        )
    return jax.tree.unflatten(jax.tree.structure(tree), found)


def _coupled(config: Config) -> bool:
    return config.name in ("sgd", "adam") if config.coupled_decay is None else config.coupled_decay


def _check(config: Config, total_steps: int) -> None:
    """Raises ConfigError for what is wrong, or would do nothing."""
    _choose("name", config.name, SETTINGS)
    _choose("schedule", config.schedule, SCHEDULES)
    for key in ("momentum", "b1", "b2", "eps"):
        if getattr(config, key) is not None and key not in SETTINGS[config.name]:
            raise ConfigError(f"optimizer.{key} does nothing for {config.name!r}: remove it")
    for key in ("decay_steps", "end_factor", "boundaries", "factor"):
        if getattr(config, key) != getattr(Config, key) and key not in SCHEDULES[config.schedule]:
            raise ConfigError(
                f"optimizer.{key} does nothing under schedule {config.schedule!r}: remove it"
            )
    if config.nesterov and (config.name != "sgd" or config.momentum == 0):
        raise ConfigError("optimizer.nesterov needs sgd with momentum")
    if config.name == "adamw" and config.coupled_decay:
        raise ConfigError(
            "optimizer.coupled_decay contradicts 'adamw': name 'adam' couples the decay"
        )
    if config.schedule == "step" and not config.boundaries:
        raise ConfigError(
            "optimizer.schedule 'step' needs optimizer.boundaries, such as (32000, 48000)"
        )
    if config.input_paths != Config.input_paths and config.layer_decay == 1.0:
        raise ConfigError("optimizer.input_paths does nothing without layer_decay: remove it")
    _check_ranges(config, total_steps)
    for key in ("decay_paths", "multipliers", "frozen", "input_paths"):
        for pattern in getattr(config, key):
            _compile(pattern, f"optimizer.{key}")


def _check_ranges(config: Config, total_steps: int) -> None:
    def need(key: str, valid: bool, accepted: str) -> None:
        if not valid:
            raise ConfigError(f"optimizer.{key} is {getattr(config, key)!r}: it must be {accepted}")

    for key in ("learning_rate", "weight_decay", "warmup_steps", "end_factor"):
        need(key, getattr(config, key) >= 0, "0 or more")
    for key in ("momentum", "b1", "b2", "ema_decay"):
        value = getattr(config, key)
        need(key, value is None or 0 <= value < 1, "in [0, 1)")
    need("layer_decay", 0 < config.layer_decay <= 1, "above 0 and at most 1")
    need("accumulation_steps", config.accumulation_steps >= 1, "1 or more")
    need("clip_norm", config.clip_norm is None or config.clip_norm > 0, "positive, or None")
    scale = config.loss_scale
    valid = scale in ("none", "dynamic") if isinstance(scale, str) else scale > 0
    need("loss_scale", valid, "'none', 'dynamic' or a positive number")
    if config.schedule in ("linear", "cosine"):
        end = total_steps if config.decay_steps is None else config.decay_steps
        need("warmup_steps", config.warmup_steps < end, f"below the schedule's end, {end}")
    if config.schedule == "step":
        need("boundaries", min(config.boundaries) > config.warmup_steps, "steps after the warm-up")


def _choose(key: str, value: str, accepted: Mapping[str, Any]) -> None:
    if value not in accepted:
        near = difflib.get_close_matches(value, accepted, 1, 0.5) or sorted(accepted)
        raise ConfigError(f"optimizer.{key} is {value!r}: did you mean {' or '.join(near)}?")


def _compile(pattern: str, where: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{where}: {pattern!r} is no regular expression: {error}") from error
