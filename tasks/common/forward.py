"""A model's first variables and its output, in training and in evaluation: what tasks share."""

from typing import Any

import jax

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
    """(the model's output, its new mutable collections); it trains where there is a dropout key."""
    variables = {"params": params, **mutable}
    if dropout is None:
        return model.apply(variables, *inputs, train=False, **options), mutable
    return model.apply(
        variables,
        *inputs,
        train=True,
        rngs={"dropout": dropout},
        mutable=list(mutable),
        **options,
    )


def dropout_key(key: jax.Array, step: jax.Array, train: bool) -> jax.Array | None:
    """The key of this update's dropout; None in evaluation."""
    return stream(key, "dropout", step) if train else None
