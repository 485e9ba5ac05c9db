"""A class for each token of a text: named entities, parts of speech.

A batch holds "tokens" int32 [b, l], "lengths" int32 [b], and "labels" int32 [b, l], -1 where none
is asked for (special tokens, pieces of a word after its first). "mask" bool [b], where it is there,
is False on padding rows, which then count nowhere.

Axis letters: `b` batch, `l` length, `k` classes, `h` heads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from tasks.common.forward import attention, dropout_key, forward, initial
from tasks.common.text import check_smoothing, inputs, token_means
from training.contracts import Arrays, Aux, Batch, ConfigError, Info, Tree


@dataclass(frozen=True)
class Config:
    """Fields of `task` in a config that names `token_classification`.

    Attributes:
      label_smoothing: s in [0, 1), share of a training label that is spread over all classes;
        evaluation's loss is the plain cross-entropy.
    """

    label_smoothing: float = 0.0


TINY: dict[str, Any] = {}


@dataclass(frozen=True)
class TokenClassification:
    """The Task of a model that gives "logits" [b, l, k] of (tokens, lengths, token types)."""

    config: Config
    model: Any
    needs: ClassVar[Mapping[str, str]] = {"labels": "a source of texts whose tokens have labels"}

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
        """Mean cross-entropy in nats of the labelled tokens; metrics "loss" and "accuracy"."""
        dropout = dropout_key(key, step, train)
        out, mutable = forward(self.model, params, mutable, *inputs(batch), dropout=dropout)
        smoothing = self.config.label_smoothing if train else 0.0
        loss, metrics = token_means(out["logits"], batch["labels"], batch, smoothing)
        return loss, Aux(mutable, metrics)

    def predict(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """{"logits", "probabilities"}: float32 [b, l, k], of all places, padding included."""
        del key
        out, _ = forward(self.model, params, mutable, *inputs(batch), dropout=None)
        return {"logits": out["logits"], "probabilities": jax.nn.softmax(out["logits"], axis=-1)}

    def explain(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """{"attention": float32 [b, layers, h, l, l]}, {} of a model that sows none."""
        del key
        weights, _ = attention(self.model, params, mutable, *inputs(batch))
        return {} if weights is None else {"attention": weights}


def build(config: Config, model: Any, info: Info) -> TokenClassification:
    """The task of saying the classes of tokens.

    Raises:
      ConfigError: the data has no classes, or the smoothing is out of its range.
    """
    if info.num_classes < 1:
        raise ConfigError("token_classification needs data with classes; num_classes is 0")
    check_smoothing(config.label_smoothing)
    return TokenClassification(config, model)
