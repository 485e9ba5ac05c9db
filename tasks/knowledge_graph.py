"""Completing facts of a knowledge graph: which tail goes with (head, relation), which head with
(relation, tail).

A batch holds "head", "relation" and "tail" int32 [b]; the training facts, both ways, lie in the
constant arrays "graph/..." for models with an encoder. The loss is the cross-entropy of the true
entity among all entities, or among itself and `negatives` drawn at random for the whole batch, for
tails and heads alike ("1 vs all" of Lacroix et al. 2018, arXiv:1806.07297; where sampled, each
stands for n / `negatives`, Jean et al. 2014, arXiv:1412.2007). In evaluation it is over all
entities.

`predict` ranks as Bordes et al. 2013 do ("filtered"): among all entities but those that any split
states as true, "known_tails" and "known_heads" int32 [b, k], -1 where there is none. Ties get the
mean of their ranks (Sun et al. 2020, arXiv:1911.03903).

Axis letters: `b` facts, `n` entities, `c` candidates, `k` known entities, `d` width.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tasks.common.cross_entropy import cross_entropy
from tasks.common.forward import dropout_key, forward, initial
from tasks.common.graphs import graph_of
from training.contracts import Arrays, Aux, Batch, ConfigError, Info, Mean, Tree, stream

# What is asked for -> what is given, and what is known to be true beside it.
SIDES = {"tail": ("head", "known_tails"), "head": ("tail", "known_heads")}


@dataclass(frozen=True)
class Config:
    """Fields of `task` in a config that names `knowledge_graph`.

    Attributes:
      negatives: entities that a training batch draws to compare with; 0 compares with all.
      label_smoothing: s in [0, 1), share of a label that is spread over all candidates.
      penalty: factor on sum |v|^power over the components of a fact's vectors, complex ones whole.
      penalty_power: 2, or 3 for the nuclear 3-norm of Lacroix et al.
      dropout_rate: on the queries, in training.
    """

    negatives: int = 0
    label_smoothing: float = 0.0
    penalty: float = 0.0
    penalty_power: int = 3
    dropout_rate: float = 0.0


TINY: dict[str, Any] = {}


@dataclass(frozen=True)
class KnowledgeGraph:
    """The Task of a model that gives vectors of "entities", of relations for the queries for "tail"
    and "head", and has `query`, `compare`, `score` and `squares`.
    """

    config: Config
    model: Any
    num_nodes: int
    needs: ClassVar[Mapping[str, str]] = {"head": "data.pipeline=triples"}

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
        """Mean cross-entropy of both sides in nats, and the penalty in training; metric "loss"."""
        mask = batch.get("mask")
        dropout = dropout_key(key, step, train)
        vectors, mutable = forward(self.model, params, mutable, graph_of(batch), dropout=dropout)
        drawn = self._drawn(stream(key, "negatives", step)) if train else None
        values = jnp.zeros(len(batch["head"]))
        for side in SIDES:
            dropout = stream(key, f"query {side}", step) if train else None
            values += self._cross_entropy(vectors, batch, side, drawn, dropout) / len(SIDES)
        if train and self.config.penalty:
            values += self.config.penalty * self._penalty(vectors, batch)
        loss = Mean.of(values, mask)
        return loss.total / jnp.maximum(loss.count, 1.0), Aux(mutable, {"loss": loss})

    def predict(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """Float32 [b]: "tail_rank", "head_rank", 1 the best, ties halved; "score" of the fact."""
        del key
        vectors, _ = forward(self.model, params, mutable, graph_of(batch), dropout=None)
        query_bd = self._query(vectors, batch, "tail", "head")
        ranks = {"score": self.model.score(query_bd, vectors["entities"][batch["tail"]])}
        for side, (given, known) in SIDES.items():
            query_bd = self._query(vectors, batch, side, given)
            scores_bn = self.model.compare(query_bd, vectors["entities"])
            others = batch.get(known, batch[side][:, None])
            ranks[f"{side}_rank"] = filtered_rank(scores_bn, batch[side], others)
        return ranks

    def _query(self, vectors: Arrays, batch: Batch, side: str, given: str) -> jax.Array:
        given_bd, relation_bd = vectors["entities"][batch[given]], vectors[side][batch["relation"]]
        return self.model.query(given_bd, relation_bd, side)

    def _drawn(self, key: jax.Array) -> jax.Array | None:
        """Entities int32 [c] that a training batch compares with; None for all."""
        if not self.config.negatives:
            return None
        return jax.random.randint(key, (self.config.negatives,), 0, self.num_nodes)

    def _cross_entropy(
        self,
        vectors: Arrays,
        batch: Batch,
        side: str,
        drawn: jax.Array | None,
        dropout: jax.Array | None,
    ) -> jax.Array:
        """Of the true entity, float32 [b]."""
        smoothing = self.config.label_smoothing if dropout is not None else 0.0
        query_bd = self._query(vectors, batch, side, SIDES[side][0])
        if dropout is not None and self.config.dropout_rate:
            keep = 1.0 - self.config.dropout_rate
            kept = jax.random.bernoulli(dropout, keep, query_bd.shape)
            query_bd = jnp.where(kept, query_bd / keep, jnp.zeros((), query_bd.dtype))
        entities_nd, true_b = vectors["entities"], batch[side]
        if drawn is None:
            return cross_entropy(self.model.compare(query_bd, entities_nd), true_b, smoothing)
        own_b = self.model.score(query_bd, entities_nd[true_b])
        # Each stands for as many as it was drawn from: the sum is, in the mean, that over all.
        weight = self.num_nodes / self.config.negatives
        others_bc = self.model.compare(query_bd, entities_nd[drawn]) + math.log(weight)
        # What is drawn and true is no negative.
        others_bc = jnp.where(drawn == true_b[:, None], -jnp.inf, others_bc)
        scores = jnp.concatenate([own_b[:, None], others_bc], axis=1)
        if smoothing:
            scores = jnp.maximum(scores, jnp.finfo(jnp.float32).min / 2)
        return cross_entropy(scores, jnp.zeros_like(true_b), smoothing)

    def _penalty(self, vectors: Arrays, batch: Batch) -> jax.Array:
        """sum |v|^power of head, relation (the mean of both ways) and tail, float32 [b]."""

        def powers(rows_bd: jax.Array) -> jax.Array:
            return (self.model.squares(rows_bd) ** (self.config.penalty_power / 2)).sum(-1)

        values = jnp.zeros(len(batch["head"]))
        for side in SIDES:
            values += powers(vectors["entities"][batch[side]])
            values += powers(vectors[side][batch["relation"]]) / len(SIDES)
        return values


def filtered_rank(scores_bn: jax.Array, true_b: jax.Array, known_bk: jax.Array) -> jax.Array:
    """Rank of the true entity among those not known to be true, float32 [b], ties halved.

    A score that is not finite is the last.

    Args:
      scores_bn: the higher, the better.
      true_b: int32 [b].
      known_bk: int32 [b, k], the true one may be among them; below 0 is none.
    """
    n = scores_bn.shape[1]
    own_b1 = jnp.take_along_axis(scores_bn, true_b[:, None], axis=1)
    rows_b1 = jnp.arange(len(true_b))[:, None]
    # A negative index would count from the end.
    left_out = jnp.concatenate([jnp.where(known_bk < 0, n, known_bk), true_b[:, None]], axis=1)
    counted = jnp.ones(scores_bn.shape, bool).at[rows_b1, left_out].set(False, mode="drop")
    # What is not below counts as above, so that NaN is never in front.
    above = (counted & ~(scores_bn <= own_b1)).sum(1).astype(jnp.float32)
    tied = (counted & (scores_bn == own_b1)).sum(1).astype(jnp.float32)
    return jnp.where(jnp.isfinite(own_b1[:, 0]), 1.0 + above + 0.5 * tied, float(n))


def build(config: Config, model: Any, info: Info) -> KnowledgeGraph:
    """The task of completing facts.

    Raises:
      ConfigError: the data has no entities, or a value is out of its range.
    """
    if not info.num_nodes:
        raise ConfigError("knowledge_graph needs entities; num_nodes is 0")
    for key in ("label_smoothing", "dropout_rate"):
        if not 0 <= getattr(config, key) < 1:
            raise ConfigError(f"task.{key}={getattr(config, key)}: expected [0, 1)")
    for key in ("negatives", "penalty"):
        if not 0 <= getattr(config, key) < float("inf"):
            raise ConfigError(f"task.{key}={getattr(config, key)}: expected 0 or more")
    if config.penalty_power not in (2, 3):
        raise ConfigError(f"task.penalty_power={config.penalty_power}: expected 2 or 3")
    return KnowledgeGraph(config, model, info.num_nodes)
