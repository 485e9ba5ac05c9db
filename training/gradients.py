"""The one value_and_grad: from a loss to new parameters, for any named subset of them.

`step` differentiates a loss, accumulates over microbatches, unscales, hands the gradients to an
Optax transformation (which clips them), refuses what is not finite, and keeps an average of the
parameters. It is pure: it works under jit, scan, vmap (ensembles) and on sharded arrays.

An optimizer may leave some parameters frozen: those are constants of the differentiation, and
`None` stands in their place in the gradients, the optimizer state and the average.

Loss scaling: Micikevicius et al. 2018, arXiv:1710.03740, section 3.2; the dynamic scale is halved
at an overflow and doubled after 2000 finite updates in a row.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from training.contracts import (
    Arrays,
    Aux,
    Batch,
    ConfigError,
    Mean,
    Means,
    TrainState,
    Tree,
    stream,
)

LossFn = Callable[[Tree, Tree, Batch, jax.Array, jax.Array, bool], tuple[jax.Array, Aux]]

WHOLE = ""  # the name under which all parameters go where there are no networks
INITIAL_SCALE, LARGEST_SCALE, GROWTH_INTERVAL = 2.0**15, 2.0**24, 2000


@dataclass(frozen=True)
class Optimizer:
    """How one network's gradients become its new parameters.

    Attributes:
      tx: Optax's transformation, learning rate and sign included; `update` is also given
        `step=state.step`, so that a schedule counts the run's updates, not this network's.
      schedule: step (int32) -> learning rate, reported as "learning_rate".
      accumulation_steps: microbatches that one update is the mean of.
      ema_decay: decay of the average of the parameters, None to keep none.
      loss_scale: "none", "dynamic", or a constant.
      trainable: tree -> tree of bool, False where frozen; None trains everything.
    """

    tx: optax.GradientTransformation
    schedule: Callable[[Any], Any]
    accumulation_steps: int = 1
    ema_decay: float | None = None
    loss_scale: str | float = "none"
    trainable: Callable[[Tree], Tree] | None = None


Optimizers = Optimizer | Mapping[str, Optimizer]


def init(optimizers: Optimizers, params: Tree) -> tuple[Tree, dict[str, Tree]]:
    """The state of `optimizers` for `params`, to put into a TrainState.

    Args:
      optimizers: one for all parameters, or {network: Optimizer} with the names of `params`.
      params: the trainable arrays.

    Returns:
      (opt_state, carry): carry holds "ema" and "loss_scale" where an optimizer asks for them; by
      network, like opt_state, where there are several.

    Raises:
      ConfigError: `optimizers` and `params` differ in their networks.
    """
    by_name = _by_name(optimizers)
    if isinstance(optimizers, Mapping):
        have, named = set(params), set(optimizers)
        if have != named:
            raise ConfigError(
                f"optimizer has networks {sorted(named)}, the model has {sorted(have)}"
            )
    opt_state, ema, scale = {}, {}, {}
    for name, optimizer in by_name.items():
        trainable, _ = _split(optimizer, _part(params, name))
        opt_state[name] = optimizer.tx.init(trainable)
        if optimizer.ema_decay is not None:
            # A copy: parameters and average are both donated, and must not be one buffer.
            ema[name] = jax.tree.map(jnp.copy, trainable)
        if optimizer.loss_scale == "dynamic":
            scale[name] = {"scale": jnp.float32(INITIAL_SCALE), "good": jnp.int32(0)}
    carry = {"ema": ema, "loss_scale": scale}
    return _whole(opt_state), {key: _whole(value) for key, value in carry.items() if value}


def differentiate(
    loss_fn: Callable[..., tuple[jax.Array, Any]], params: Tree, *args: Any, scale: Any = None
) -> tuple[Tree, jax.Array, Any]:
    """Gradients of a loss; an inner loop calls it too, and may itself be differentiated.

    Args:
      loss_fn: (params, *args) -> (scalar, anything).
      params: the arrays to differentiate by; None stands where there is none.
      *args: the rest of the loss's arguments.
      scale: factor on the loss during the backward pass, None for 1; it is taken out again.

    Returns:
      (gradients, loss, what the loss returned beside its scalar).
    """

    def scaled(params: Tree) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        loss, aux = loss_fn(params, *args)
        return (loss if scale is None else loss * scale), (loss, aux)

    gradients, (loss, aux) = jax.grad(scaled, has_aux=True)(params)
    if scale is not None:
        gradients = jax.tree.map(lambda gradient: gradient * (1.0 / scale), gradients)
    return gradients, loss, aux


def step(
    loss_fn: LossFn,
    state: TrainState,
    batch: Batch,
    optimizers: Optimizers,
    *,
    networks: str | Sequence[str] = (),
    key: jax.Array | None = None,
) -> tuple[TrainState, Means]:
    """One update of the parameters of `networks`; the caller increments `state.step`.

    An update whose loss or gradients are not finite leaves all but a loss scale as it was, and
    keeps its metrics out of the means.

    Args:
      loss_fn: a Task's loss; it gets all parameters, and train=True. Where its metrics have
        "loss", that Mean's count weighs a microbatch: accumulation is exact under a mask too.
      state, batch: arrays of a batch are [b, ...] where microbatches are accumulated.
      optimizers: one, or {network: Optimizer}, as given to `init`.
      networks: which to update, all by default; those updated together share the first's
        accumulation and loss scale.
      key: for the loss; by default the state's stream "loss" at its step.

    Returns:
      (state, metrics): the loss's, "nonfinite" (1 where the update was refused), "gradient_norm"
      before clipping and "learning_rate", both as "network/..." where there are networks. A dynamic
      loss scale adds "loss_scale" and "overflow": 1, in nonfinite's stead, where halving may help.

    Raises:
      ConfigError: the batch does not divide into microbatches.
    """
    by_name = _by_name(optimizers)
    names = (networks,) if isinstance(networks, str) else tuple(networks) or tuple(by_name)
    first = by_name[names[0]]
    split = {name: _split(by_name[name], _part(state.params, name)) for name in names}
    loss_of, scale = _loss_of(loss_fn, state, split), _scale(first, state, names[0])
    gradients, loss, aux = _accumulate(
        partial(differentiate, loss_of, scale=scale),
        {name: trainable for name, (trainable, _) in split.items()},
        state.mutable,
        batch,
        stream(state.key, "loss", state.step) if key is None else key,
        first.accumulation_steps,
    )
    norms = {name: optax.tree.norm(gradients[name]) for name in names}
    finite = jnp.isfinite(loss) & jnp.isfinite(sum(norms.values()))
    new = {n: _update(by_name[n], state, n, gradients[n], split[n], finite) for n in names}
    carry, metrics = _rescale(first, state, names[0], loss, finite)
    for name, norm in norms.items():
        metrics |= _report(by_name[name], f"{name}/" if name else "", state.step, norm, finite)
    if ema := {name: one["ema"] for name, one in new.items() if "ema" in one}:
        carry["ema"] = _with(carry["ema"], ema)
    accepted = _where(finite, aux.metrics, jax.tree.map(jnp.zeros_like, aux.metrics))
    return dataclasses.replace(
        state,
        params=_with(state.params, {name: one["params"] for name, one in new.items()}),
        opt_state=_with(state.opt_state, {name: one["opt_state"] for name, one in new.items()}),
        mutable=_where(finite, aux.mutable, state.mutable),
        carry=carry,
    ), {**accepted, **metrics}


def averaged(state: TrainState) -> Tree:
    """The parameters with which to evaluate: the average where one is kept, else the last."""
    ema = state.carry.get("ema")
    if ema is None:
        return state.params
    if isinstance(state.params, Mapping):
        ema = {name: ema.get(name) for name in state.params}
    return _combine(ema, state.params)


def merge(*metrics: Means) -> Means:
    """One dict of means out of several; those of one name are merged."""
    merged: Means = {}
    for means in metrics:
        for name, mean in means.items():
            merged[name] = merged[name].merge(mean) if name in merged else mean
    return merged


def _loss_of(loss_fn: LossFn, state: TrainState, split: Mapping[str, tuple[Tree, Tree]]) -> Any:
    """The loss as a function of the trainable parameters alone."""

    def loss_of(trainable: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Any:
        params = {name: _combine(trainable[name], frozen) for name, (_, frozen) in split.items()}
        return loss_fn(_with(state.params, params), mutable, batch, key, state.step, True)

    return loss_of


def _update(
    optimizer: Optimizer,
    state: TrainState,
    name: str,
    gradients: Tree,
    split: tuple[Tree, Tree],
    finite: jax.Array,
) -> Arrays:
    """What one network becomes: "params", "opt_state" and, where it keeps one, "ema"."""
    trainable, frozen = split
    before = _part(state.opt_state, name)
    tx = optax.with_extra_args_support(optimizer.tx)
    updates, opt_state = tx.update(gradients, before, trainable, step=state.step)
    params = _where(finite, optax.apply_updates(trainable, updates), trainable)
    after = {"params": _combine(params, frozen), "opt_state": _where(finite, opt_state, before)}
    if optimizer.ema_decay is not None:
        ema = _part(state.carry["ema"], name)
        after["ema"] = _where(
            finite, optax.incremental_update(params, ema, 1 - optimizer.ema_decay), ema
        )
    return after


def _accumulate(
    grad_fn: Callable[..., tuple[Tree, jax.Array, Aux]],
    params: Tree,
    mutable: Tree,
    batch: Batch,
    key: jax.Array,
    steps: int,
) -> tuple[Tree, jax.Array, Aux]:
    """Gradients, loss and Aux of the whole batch, out of `steps` microbatches."""
    if steps == 1:
        return grad_fn(params, mutable, batch, key)
    batches = _microbatches(batch, steps)

    def body(carry: tuple, index_and_batch: tuple) -> tuple[tuple, Means]:
        mutable, gradients, loss, weight = carry
        index, batch = index_and_batch
        more, more_loss, aux = grad_fn(params, mutable, batch, jax.random.fold_in(key, index))
        count = aux.metrics["loss"].count if "loss" in aux.metrics else jnp.float32(1)
        gradients = jax.tree.map(lambda total, one: total + count * one, gradients, more)
        return (aux.mutable, gradients, loss + count * more_loss, weight + count), aux.metrics

    zeros = jax.tree.map(jnp.zeros_like, params)
    start = (mutable, zeros, jnp.float32(0), jnp.float32(0))
    (mutable, gradients, loss, weight), metrics = jax.lax.scan(
        body, start, (jnp.arange(steps), batches)
    )
    gradients = jax.tree.map(lambda total: total / weight, gradients)
    return gradients, loss / weight, Aux(mutable, jax.tree.map(lambda x: x.sum(0), metrics))


def _microbatches(batch: Batch, steps: int) -> Batch:
    """Leaves [b, ...] as [steps, b / steps, ...]."""
    shapes = {name: jnp.shape(leaf) for name, leaf in batch.items()}
    sizes = {shape[0] if shape else 0 for shape in shapes.values()}
    if len(sizes) != 1 or (size := sizes.pop()) == 0 or size % steps:
        raise ConfigError(
            f"optimizer.accumulation_steps={steps} must divide the leading axis of all arrays of a "
            f"batch, whose shapes are {shapes}"
        )

    def split(leaf: jax.Array) -> jax.Array:
        # Interleaved, so that an array sharded over its first axis stays where it is.
        return jnp.swapaxes(jnp.reshape(leaf, (size // steps, steps, *leaf.shape[1:])), 0, 1)

    return jax.tree.map(split, dict(batch))


def _scale(optimizer: Optimizer, state: TrainState, name: str) -> Any:
    """The factor on the loss: None, a constant, or the dynamic one's array."""
    if optimizer.loss_scale == "none":
        return None
    if optimizer.loss_scale == "dynamic":
        return _part(state.carry["loss_scale"], name)["scale"]
    return jnp.float32(optimizer.loss_scale)


def _report(
    optimizer: Optimizer, prefix: str, step: jax.Array, norm: jax.Array, finite: jax.Array
) -> Means:
    """A network's gradient norm, where it is finite, and learning rate."""
    return {
        prefix + "gradient_norm": Mean(jnp.where(finite, norm, 0.0), finite.astype(jnp.float32)),
        prefix + "learning_rate": Mean.of(optimizer.schedule(step)),
    }


def _rescale(
    optimizer: Optimizer, state: TrainState, name: str, loss: jax.Array, finite: jax.Array
) -> tuple[dict[str, Tree], Means]:
    """(carry with the next loss scale, metrics of the guard)."""
    carry = dict(state.carry)
    if optimizer.loss_scale != "dynamic":
        return carry, {"nonfinite": Mean.of(~finite)}
    before = _part(carry["loss_scale"], name)
    carry["loss_scale"] = _with(carry["loss_scale"], {name: _next_scale(before, finite)})
    overflow = ~finite & jnp.isfinite(loss) & (before["scale"] > 1.0)
    return carry, {
        "nonfinite": Mean.of(~finite & ~overflow),
        "overflow": Mean.of(overflow),
        "loss_scale": Mean.of(before["scale"]),
    }


def _next_scale(entry: Arrays, finite: jax.Array) -> Arrays:
    """Half the scale after an overflow, twice after GROWTH_INTERVAL finite updates in a row."""
    scale, good = entry["scale"], entry["good"] + 1
    grow = good >= GROWTH_INTERVAL
    grown = jnp.where(grow, jnp.minimum(2 * scale, LARGEST_SCALE), scale)
    return {
        "scale": jnp.where(finite, grown, jnp.maximum(scale / 2, 1.0)),
        "good": jnp.where(finite & ~grow, good, 0),
    }


def _where(condition: jax.Array, new: Tree, old: Tree) -> Tree:
    return jax.tree.map(partial(jnp.where, condition), new, old)


def _by_name(optimizers: Optimizers) -> Mapping[str, Optimizer]:
    return optimizers if isinstance(optimizers, Mapping) else {WHOLE: optimizers}


def _part(tree: Tree, name: str) -> Tree:
    return tree[name] if name else tree


def _whole(parts: dict[str, Tree]) -> Tree:
    return parts.get(WHOLE, parts)


def _with(tree: Tree, parts: dict[str, Tree]) -> Tree:
    if WHOLE in parts:
        return parts[WHOLE]
    return {**tree, **parts}


def _split(optimizer: Optimizer, params: Tree) -> tuple[Tree, Tree]:
    """Trainable and frozen parameters, None in the places of the other."""
    if optimizer.trainable is None:
        return params, jax.tree.map(lambda _: None, params)
    mask = optimizer.trainable(params)
    trainable = jax.tree.map(lambda leaf, keep: leaf if keep else None, params, mask)
    return trainable, jax.tree.map(lambda leaf, keep: None if keep else leaf, params, mask)


def _combine(first: Tree, second: Tree) -> Tree:
    """`first`, with the leaves or whole branches of `second` where it has None."""
    return jax.tree.map(
        lambda a, b: b if a is None else a, first, second, is_leaf=lambda leaf: leaf is None
    )
