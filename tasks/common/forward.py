"""A model's first variables, its output, in training and in evaluation, and what it sows.

Axis letters: `b` batch, `h` heads, `l` tokens.
"""

from typing import Any

import jax
import jax.numpy as jnp

from training.contracts import Tree, stream

# What a module sows for pictures is no state of the model.
_SOWN = "intermediates"


def initial(model: Any, key: jax.Array, *inputs: Any) -> tuple[Tree, Tree]:
    """(params, mutable) of a Flax `model` called with `inputs` and train=False."""
    variables = model.init(stream(key, "params"), *inputs, train=False)
    mutable = {name: tree for name, tree in variables.items() if name not in ("params", _SOWN)}
    return variables["params"], mutable


def forward(
    model: Any, params: Tree, mutable: Tree, *inputs: Any, dropout: jax.Array | None, **options: Any
) -> tuple[Any, Tree]:
    """(the model's output, its new mutable collections); it trains where there is a dropout key.

    What a model draws besides, such as which tokens it reads, comes from its stream "sample".
    """
    variables = {"params": params, **mutable}
    if dropout is None:
        return model.apply(variables, *inputs, train=False, **options), mutable
    return model.apply(
        variables,
        *inputs,
        train=True,
        rngs={"dropout": dropout, "sample": stream(dropout, "sample")},
        mutable=list(mutable),
        **options,
    )


def attention(
    model: Any, params: Tree, mutable: Tree, *inputs: Any, within: tuple[str, ...] = ("",)
) -> tuple[jax.Array | None, Any]:
    """(weights float32 [b, layers, h, l, l], the model's output); None of a model that sows none.

    `within` chooses the layers by a part of their path, the first of these that any has.
    """
    out, sown = model.apply({"params": params, **mutable}, *inputs, train=False, mutable=[_SOWN])
    found = []
    for path, weights in jax.tree_util.tree_leaves_with_path(sown):
        names = [str(getattr(entry, "key", "")) for entry in path]
        if "attention" in names[-2:]:
            # A scanned model's weights have their layers in front already.
            layers = weights if weights.ndim == 5 else weights[None]
            found.append(("/".join(names[:-1]), layers))
    for part in within:
        chosen = [layers for path, layers in found if part in path]
        if chosen:
            return jnp.moveaxis(jnp.concatenate(chosen), 0, 1), out
    return None, out


def dropout_key(key: jax.Array, step: jax.Array, train: bool) -> jax.Array | None:
    """The key of this update's dropout; None in evaluation."""
    return stream(key, "dropout", step) if train else None
