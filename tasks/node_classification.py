"""Classification of the nodes of one graph: some have labels, all lend their neighbours features.

A batch holds "node" int32 [b], the nodes that it asks about, and "label" int32 [b]; the graph lies
in the constant arrays "graph/...". "mask" bool [b], where it is there, is False on padding, which
then counts nowhere. Where the batch also holds "neighbours_1" [b, s], "neighbours_2" [b, s, t], ...
(sampled neighbours, of each node, of each of those, ...), the model reads those alone. Where it
holds "seen" int32 [b], training reads the part of the graph in "field/...", "seen" being the nodes'
places there.

`l2` adds l2 / 2 |W|^2 of the parameters of `l2_paths` to the loss, in evaluation too: the
validation loss by which Kipf and Welling (arXiv:1609.02907; tkipf/gcn) stop holds the penalty.

Axis letters: `b` nodes asked about, `n` nodes, `e` edges, `k` classes, `h` heads, `d` width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tasks.common.cross_entropy import cross_entropy, in_top
from tasks.common.forward import dropout_key, forward, initial
from tasks.common.graphs import FIELD, graph_of, l2_penalty
from training.contracts import Arrays, Aux, Batch, ConfigError, Info, Mean, Tree


@dataclass(frozen=True)
class Config:
    """Fields of `task` in a config that names `node_classification`.

    Attributes:
      l2: factor of the penalty in the loss, 0 for none.
      l2_paths: regular expressions for the paths of the parameters that it lies on.
    """

    l2: float = 0.0
    l2_paths: tuple[str, ...] = ("layer_00",)


TINY: dict[str, Any] = {}


@dataclass(frozen=True)
class NodeClassification:
    """The Task of a model whose `__call__(graph, train)` returns logits [n, k] of all nodes."""

    config: Config
    model: Any
    needs: ClassVar[Mapping[str, str]] = {"node": "data.pipeline=nodes"}

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Initial (params, mutable)."""
        return initial(self.model, key, graph_of(batch))

    def loss(
        self,
        params: Tree,
        mutable: Tree,
        batch: Batch,
        key: jax.Array,
        step: jax.Array,
        train: bool,
    ) -> tuple[jax.Array, Aux]:
        """Mean cross-entropy in nats and the penalty; metrics "loss" (both) and "accuracy"."""
        logits, mutable = self._logits(params, mutable, batch, dropout_key(key, step, train))
        label, mask = batch["label"], batch.get("mask")
        values = cross_entropy(logits, label)
        if self.config.l2:
            values += l2_penalty(params, self.config.l2, self.config.l2_paths)
        loss = Mean.of(values, mask)
        metrics = {"loss": loss, "accuracy": Mean.of(in_top(logits, label, 1), mask)}
        return loss.total / jnp.maximum(loss.count, 1.0), Aux(mutable, metrics)

    def predict(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """{"logits": float32 [b, k], "probabilities": float32 [b, k], rows summing to 1}."""
        del key
        logits, _ = self._logits(params, mutable, batch, None)
        return {"logits": logits, "probabilities": jax.nn.softmax(logits, axis=-1)}

    def explain(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """The last hidden layer, "embedding" [b, d], and "attention" [b, layers, h, n].

        Row (node, layer, head) of the attention sums to 1 over all nodes of the graph; there is
        none of a model that does not attend, and layers with fewer heads than the first repeat
        theirs. Both are of the whole graph, without sampling.
        """
        del key
        graph = graph_of(batch)
        _, sown = self.model.apply(
            {"params": params, **mutable}, graph, train=False, mutable=["intermediates"]
        )
        found = {"embedding": [], "attention": []}
        # What is sown is a tuple, as long as often as its module sowed it.
        for path, leaves in jax.tree_util.tree_leaves_with_path(
            sown, is_leaf=lambda node: isinstance(node, tuple)
        ):
            if path[-1].key in found:
                found[path[-1].key] += leaves
        arrays = {}
        if found["embedding"]:
            arrays["embedding"] = found["embedding"][-1][batch["node"]].astype(jnp.float32)
        if found["attention"]:
            heads = max(own.shape[1] for _, own in found["attention"])
            rows = [attention_rows(w, graph, batch["node"], heads) for w in found["attention"]]
            arrays["attention"] = jnp.stack(rows, axis=1)
        return arrays

    def _logits(
        self, params: Tree, mutable: Tree, batch: Batch, dropout: jax.Array | None
    ) -> tuple[jax.Array, Tree]:
        """(logits [b, k], the new collections); it trains where there is a dropout key."""
        if dropout is not None and "seen" in batch:
            graph, node = graph_of(batch, FIELD), batch["seen"]
        else:
            graph, node = graph_of(batch), batch["node"]
        names = (f"neighbours_{distance}" for distance in range(1, len(batch)))
        hops = [batch[name] for name in names if name in batch]
        if hops:
            if not getattr(self.model, "samples_neighbours", False):
                raise ConfigError(
                    "sampled neighbours need a model of them, such as graph.graphsage"
                )
            hops = (node, *hops)
            return forward(self.model, params, mutable, graph, hops=hops, dropout=dropout)
        logits_nk, mutable = forward(self.model, params, mutable, graph, dropout=dropout)
        return logits_nk[node], mutable


def attention_rows(
    weights: tuple[jax.Array, jax.Array], graph: Arrays, node: jax.Array, heads: int
) -> jax.Array:
    """Weights [b, h, n] that nodes [b] give to all nodes, of those of edges [e, h] and of selves.

    Args:
      weights: (float32 [e, h], float32 [n, h]).
      graph: its "senders" and "receivers" int32 [e].
      node: int32 [b].
      heads: h of the result; fewer ones are repeated.
    """
    edge_eh, self_nh = weights
    n = len(self_nh)
    # Each node's rows in the batch: a node may be asked about more than once, as padding is.
    wanted = jnp.full(n, len(node), jnp.int32).at[node].set(jnp.arange(len(node), dtype=jnp.int32))
    rows = jnp.zeros((len(node), n, edge_eh.shape[1]))
    rows = rows.at[wanted[graph["receivers"]], graph["senders"]].add(edge_eh, mode="drop")
    rows = rows.at[wanted, jnp.arange(n)].add(self_nh, mode="drop")
    rows = jnp.moveaxis(rows[wanted[node]], 1, 2)
    return jnp.tile(rows, (1, -(-heads // rows.shape[1]), 1))[:, :heads]


def build(config: Config, model: Any, info: Info) -> NodeClassification:
    """The task of telling the classes of nodes apart.

    Raises:
      ConfigError: the data has no classes, the penalty is negative, or the part of the graph that
        training has is smaller than what the model sees.
    """
    if info.num_classes < 1:
        raise ConfigError("node_classification needs nodes with classes; num_classes is 0")
    if config.l2 < 0:
        raise ConfigError(f"task.l2={config.l2}: expected 0 or more")
    _check_field(model, info.receptive_field)
    return NodeClassification(config, model)


def _check_field(model: Any, field: int) -> None:
    """Raises ConfigError where a model sees further than the `field` edges that training keeps."""
    if not field:
        return
    sees = getattr(model, "hops", None)
    if sees is None:
        raise ConfigError(
            f"data.receptive_field is {field}, and this model's nodes see all others: set 0"
        )
    if sees > field:
        raise ConfigError(
            f"data.receptive_field is {field}, and this model sees nodes {sees} edges away: "
            f"set {sees}, or 0 for the whole graph"
        )
