"""Classes or numbers of whole graphs, many of them packed into one batch.

A batch holds packs of graphs, "graph/nodes" [p, n, f], "graph/senders" [p, e], ... (padding inside
of a pack is in its masks), and flat "label" [b] in the order of the packs, b = p g: classes int32,
or numbers float32 [b] or [b, t] in their own units. "mask" bool [b] is False where there is no
graph. Regression standardises by "target/mean" and "target/std" float32 [t], of the training
graphs, where the batch has them; metrics and predictions are in the labels' units.

Axis letters: `b` graphs, `p` packs, `g` graphs of a pack, `n` nodes, `e` edges, `k` classes, `t`
targets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tasks.common.cross_entropy import cross_entropy, in_top
from tasks.common.forward import dropout_key, forward, initial
from tasks.common.graphs import graph_of
from training.contracts import Arrays, Aux, Batch, ConfigError, Info, Mean, Tree

LOSSES = ("squared", "absolute", "huber")
# The name under which models that need all packs at once (batch statistics) sum over them.
PACKS = "packs"


@dataclass(frozen=True)
class Config:
    """Fields of `task` in a config that names `graph_prediction`.

    Attributes:
      regression_loss: of standardised targets: "squared", "absolute" or "huber" (squared below 1).
    """

    regression_loss: str = "squared"


TINY: dict[str, Any] = {}


@dataclass(frozen=True)
class GraphPrediction:
    """The Task of a model whose `__call__(graph, num_graphs, train)` returns [g, k] of one pack."""

    config: Config
    model: Any
    num_targets: int
    needs: ClassVar[Mapping[str, str]] = {"graph/node_graph": "data.pipeline=graphs"}

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Initial (params, mutable), from the shapes of the first pack."""
        graphs = graph_of(batch)
        packs = len(graphs["senders"])
        pack = {name: array[0] for name, array in graphs.items()}
        num_graphs = len(batch["label"]) // packs
        return initial(self.model, key, pack, num_graphs)

    def loss(
        self,
        params: Tree,
        mutable: Tree,
        batch: Batch,
        key: jax.Array,
        step: jax.Array,
        train: bool,
    ) -> tuple[jax.Array, Aux]:
        """The loss; metrics "loss" and "accuracy", or "loss", "mse" and "mae" in the labels' units.

        The loss is the mean cross-entropy in nats, or of standardised targets the mean error.
        """
        out, mutable = self._apply(params, mutable, batch, dropout_key(key, step, train))
        label, mask = batch["label"], batch.get("mask")
        if not self.num_targets:
            loss = Mean.of(cross_entropy(out, label), mask)
            metrics = {"loss": loss, "accuracy": Mean.of(in_top(out, label, 1), mask)}
            return loss.total / jnp.maximum(loss.count, 1.0), Aux(mutable, metrics)
        mean, std = self._statistics(batch)
        error = out - (label.reshape(out.shape) - mean) / std
        loss = Mean.of(self._error(error).mean(-1), mask)
        metrics = {
            "loss": loss,
            "mse": Mean.of(jnp.square(error * std).mean(-1), mask),
            "mae": Mean.of(jnp.abs(error * std).mean(-1), mask),
        }
        return loss.total / jnp.maximum(loss.count, 1.0), Aux(mutable, metrics)

    def predict(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """Of classes "logits" and "probabilities" float32 [b, k]; else "prediction" [b, t]."""
        del key
        out, _ = self._apply(params, mutable, batch, None)
        if not self.num_targets:
            return {"logits": out, "probabilities": jax.nn.softmax(out, axis=-1)}
        mean, std = self._statistics(batch)
        return {"prediction": out * std + mean}

    def _apply(
        self, params: Tree, mutable: Tree, batch: Batch, dropout: jax.Array | None
    ) -> tuple[jax.Array, Tree]:
        """(outputs [b, k], the mutable collections); it trains where there is a dropout key."""
        graphs = graph_of(batch)
        packs = len(graphs["senders"])
        num_graphs = len(_one_of(batch, graphs)) // packs if packs else 0
        model = self.model

        def of_pack(graph: Arrays, key: jax.Array | None) -> tuple[jax.Array, Tree]:
            return forward(model, params, mutable, graph, num_graphs, dropout=key)

        if packs == 1:
            # XLA has faster gathers and scatters of one pack than of a batch of one.
            out, changed = of_pack({k: v[0] for k, v in graphs.items()}, dropout)
        else:
            if hasattr(model, "axis_name"):
                model = model.clone(axis_name=PACKS)
            keys = jax.random.split(dropout, packs) if dropout is not None else None
            out, changed = jax.vmap(
                of_pack, (0, None if keys is None else 0), (0, None), axis_name=PACKS
            )(graphs, keys)
        return out.reshape(packs * num_graphs, -1), changed

    def _statistics(self, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """(mean, std) of the targets, [t]; of labels that are not standardised, 0 and 1."""
        ones = jnp.ones(self.num_targets, jnp.float32)
        return batch.get("target/mean", 0 * ones), batch.get("target/std", ones)

    def _error(self, error: jax.Array) -> jax.Array:
        if self.config.regression_loss == "squared":
            return jnp.square(error)
        size = jnp.abs(error)
        if self.config.regression_loss == "absolute":
            return size
        return jnp.where(size < 1.0, 0.5 * jnp.square(error), size - 0.5)


def _one_of(batch: Batch, graphs: Arrays) -> jax.Array:
    """An array [b] of a batch, which says how many graphs there are."""
    for name in ("label", "mask", "index"):
        if name in batch:
            return batch[name]
    raise ConfigError(f"a batch of graphs needs 'label' or 'mask' beside {', '.join(graphs)}")


def build(config: Config, model: Any, info: Info) -> GraphPrediction:
    """The task of saying the class or the targets of graphs.

    Raises:
      ConfigError: the data has neither, or there is no such loss.
    """
    if not info.num_targets and not info.num_classes:
        raise ConfigError("graph_prediction needs classes or targets; the data has neither")
    if config.regression_loss not in LOSSES:
        raise ConfigError(
            f"task.regression_loss={config.regression_loss!r}: expected one of {', '.join(LOSSES)}"
        )
    return GraphPrediction(config, model, info.num_targets)
