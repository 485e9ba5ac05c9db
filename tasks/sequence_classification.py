"""Classes or numbers of texts, and of pairs of texts.

A batch holds "tokens" int32 [b, l], "lengths" int32 [b], of pairs "token_types" int32 [b, l], and
"label": classes int32 [b], or numbers float32 [b] or [b, t]. "mask" bool [b], where it is there, is
False on padding rows, which then count nowhere.

Axis letters: `b` batch, `l` length, `k` classes, `t` targets, `h` heads, `d` width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tasks.common.cross_entropy import cross_entropy, in_top
from tasks.common.forward import attention, dropout_key, forward, initial
from tasks.common.text import check_smoothing, inputs
from training.contracts import Arrays, Aux, Batch, ConfigError, Info, Mean, Tree


@dataclass(frozen=True)
class Config:
    """Fields of `task` in a config that names `sequence_classification`.

    Attributes:
      label_smoothing: s in [0, 1), share of a training label that is spread over all classes;
        evaluation's loss is the plain cross-entropy.
    """

    label_smoothing: float = 0.0


TINY: dict[str, Any] = {}


@dataclass(frozen=True)
class SequenceClassification:
    """The Task of a model that gives "logits" [b, k] or [b, t] of (tokens, lengths, token_types).

    Attributes:
      num_targets: t of a regression, 0 for classes.
    """

    config: Config
    model: Any
    num_targets: int
    needs: ClassVar[Mapping[str, str]] = {
        "tokens": "data.pipeline=texts",
        "label": "a source of texts with labels",
    }

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Initial (params, mutable)."""
        return initial(self.model, key, *inputs(batch))

    def loss(
        self,
        params: Tree,
        mutable: Tree,
        batch: Batch,
        key: jax.Array,
        step: jax.Array,
        train: bool,
    ) -> tuple[jax.Array, Aux]:
        """Mean cross-entropy in nats, or squared error in the labels' units squared.

        Metrics are "loss" and "accuracy", of a regression "loss" and "mae".
        """
        dropout = dropout_key(key, step, train)
        out, mutable = forward(self.model, params, mutable, *inputs(batch), dropout=dropout)
        logits, label, mask = out["logits"], batch["label"], batch.get("mask")
        if self.num_targets:
            error = logits - label.reshape(logits.shape)
            loss = Mean.of(jnp.square(error).mean(-1), mask)
            metrics = {"loss": loss, "mae": Mean.of(jnp.abs(error).mean(-1), mask)}
        else:
            smoothing = self.config.label_smoothing if train else 0.0
            loss = Mean.of(cross_entropy(logits, label, smoothing), mask)
            metrics = {"loss": loss, "accuracy": Mean.of(in_top(logits, label, 1), mask)}
        return loss.total / jnp.maximum(loss.count, 1.0), Aux(mutable, metrics)

    def predict(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """Of classes "logits" and "probabilities" float32 [b, k]; else "prediction" [b, t]."""
        del key
        out, _ = forward(self.model, params, mutable, *inputs(batch), dropout=None)
        logits = out["logits"]
        if self.num_targets:
            return {"prediction": logits}
        return {"logits": logits, "probabilities": jax.nn.softmax(logits, axis=-1)}

    def explain(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """What the classes are told by, "embedding" float32 [b, d], and where the model looks.

        "attention" float32 [b, layers, h, l, l] is there where the model sows it.
        """
        del key
        weights, out = attention(self.model, params, mutable, *inputs(batch))
        arrays = {"embedding": out["pooled"].astype(jnp.float32)}
        return arrays if weights is None else {**arrays, "attention": weights}


def build(config: Config, model: Any, info: Info) -> SequenceClassification:
    """The task of saying the class or the targets of texts.

    Raises:
      ConfigError: the data has neither, or the smoothing is out of its range.
    """
    if not info.num_targets and not info.num_classes:
        raise ConfigError("sequence_classification needs classes or targets; the data has neither")
    check_smoothing(config.label_smoothing)
    return SequenceClassification(config, model, info.num_targets)
