"""Link prediction by reconstruction: which pairs of nodes of one graph are joined.

Kipf and Welling 2016, arXiv:1611.07308, equations 2 to 6 (tkipf/gae). A batch holds pairs, "source"
and "target" int32 [b], and "label" int32 [b], 1 for an edge; the training graph lies in the
constant arrays "graph/...". In training the pairs are its undirected edges, each once, and the loss
is the weighted cross-entropy over all n^2 pairs, of which edges, both ways, and each node with
itself are positive. With E edges and S = 2 E:

    loss = n^2 / (2 (n^2 - S)) mean_ij BCE(z_i z_j, positives weighing (n^2 - S) / S)
           - 1 / (2 n^2) sum_i sum_d (1 + 2 log_std - mean^2 - std^2)      of a variational model

In evaluation it is the mean cross-entropy of the batch's pairs.

Axis letters: `b` pairs, `n` nodes, `d` width of an embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tasks.common.forward import dropout_key, forward, initial
from tasks.common.graphs import graph_of
from tasks.common.links import sum_softplus
from training.contracts import Arrays, Aux, Batch, ConfigError, Info, Mean, Tree, stream


@dataclass(frozen=True)
class Config:
    """Fields of `task` in a config that names `link_prediction`.

    Attributes:
      divergence: factor on the divergence of a variational model, 1 in the paper.
    """

    divergence: float = 1.0


TINY: dict[str, Any] = {}


@dataclass(frozen=True)
class LinkPrediction:
    """The Task of an encoder whose `__call__(graph, train)` returns "mean" and maybe "log_std"."""

    config: Config
    model: Any
    needs: ClassVar[Mapping[str, str]] = {
        "source": "data.pipeline=links",
        "graph/senders": "data.pipeline=links",
    }

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
        """The loss in nats; metrics "loss", and in evaluation "accuracy" of the pairs."""
        dropout = dropout_key(key, step, train)
        code, mutable = forward(self.model, params, mutable, graph_of(batch), dropout=dropout)
        if train:
            value = self._reconstruction(code, batch, stream(key, "sample", step))
            return value, Aux(mutable, {"loss": Mean.of(value)})
        logits = pair_logits(code, batch)
        label, mask = batch["label"], batch.get("mask")
        values = jax.nn.softplus(logits) - label * logits
        loss = Mean.of(values, mask)
        metrics = {"loss": loss, "accuracy": Mean.of((logits > 0) == (label > 0), mask)}
        return loss.total / jnp.maximum(loss.count, 1.0), Aux(mutable, metrics)

    def predict(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """{"logits": float32 [b], "probabilities": float32 [b]} that the pairs are joined."""
        del key
        code, _ = forward(self.model, params, mutable, graph_of(batch), dropout=None)
        logits = pair_logits(code, batch)
        return {"logits": logits, "probabilities": jax.nn.sigmoid(logits)}

    def _reconstruction(self, code: Arrays, batch: Batch, key: jax.Array) -> jax.Array:
        z_nd = code["mean"]
        if "log_std" in code:
            z_nd += jnp.exp(code["log_std"]) * jax.random.normal(key, z_nd.shape)
        n = len(z_nd)
        pairs, joined = n * n, (batch["label"] > 0).astype(jnp.float32)
        if "mask" in batch:
            joined = jnp.where(batch["mask"], joined, 0.0)
        edges = jnp.maximum(2.0 * joined.sum(), 1.0)
        weight = (pairs - edges) / edges
        # BCE of a non-edge is softplus(x); an edge pays weight * softplus(-x) in place of it.
        x = (z_nd[batch["source"]] * z_nd[batch["target"]]).sum(-1)
        own = jnp.square(z_nd).sum(-1)
        total = sum_softplus(z_nd)
        total += 2.0 * (joined * (weight * jax.nn.softplus(-x) - jax.nn.softplus(x))).sum()
        total += (weight * jax.nn.softplus(-own) - jax.nn.softplus(own)).sum()
        value = total / (2.0 * (pairs - edges))
        if "log_std" in code and self.config.divergence:
            mean, log_std = code["mean"], code["log_std"]
            terms = 1 + 2 * log_std - jnp.square(mean) - jnp.exp(2 * log_std)
            value -= self.config.divergence * 0.5 / pairs * terms.sum()
        return value


def pair_logits(code: Arrays, batch: Batch) -> jax.Array:
    """z_i z_j of the batch's pairs, float32 [b]; z is the mean of a distribution."""
    z_nd = code["mean"]
    return (z_nd[batch["source"]] * z_nd[batch["target"]]).sum(-1)


def build(config: Config, model: Any, info: Info) -> LinkPrediction:
    """The task of telling edges from pairs that are none.

    Raises:
      ConfigError: the data is not one graph, or the divergence's factor is negative.
    """
    if not info.num_nodes:
        raise ConfigError("link_prediction needs one graph; num_nodes is 0")
    if config.divergence < 0:
        raise ConfigError(f"task.divergence={config.divergence}: expected 0 or more")
    return LinkPrediction(config, model)
