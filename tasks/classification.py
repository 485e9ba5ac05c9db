"""Classification: one label an example, softmax cross-entropy.

A batch holds "image" [b, height, width, c], and "label": classes int32 [b], or distributions
float32 [b, k] where a transform mixed examples (mixup, arXiv:1710.09412; cutmix, arXiv:1905.04899).
"mask" bool [b], where it is there, is False on padding, which then counts nowhere.

Axis letters: `b` batch, `k` classes, `h` heads, `l` tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tasks.common.cross_entropy import cross_entropy, hard_labels, in_top
from tasks.common.forward import attention, dropout_key, forward, initial
from training.contracts import Arrays, Aux, Batch, Info, Mean, Tree


@dataclass(frozen=True)
class Config:
    """Fields of `task` in a config that names `classification`.

    Attributes:
      label_smoothing: s in [0, 1), share of a training label that is spread over all classes;
        evaluation's loss is the plain cross-entropy.
    """

    label_smoothing: float = 0.0


TINY: dict[str, Any] = {}


@dataclass(frozen=True)
class Classification:
    """The Task of a model whose `__call__(image, train)` returns logits [b, k]."""

    config: Config
    model: Any
    num_classes: int
    needs: ClassVar[Mapping[str, str]] = {"image": "data.pipeline=examples of a source of images"}

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Initial (params, mutable); of the batch only the shape of an image matters."""
        image = batch["image"]
        example = jnp.zeros((1, *image.shape[1:]), image.dtype)
        return initial(self.model, key, example)

    def loss(
        self,
        params: Tree,
        mutable: Tree,
        batch: Batch,
        key: jax.Array,
        step: jax.Array,
        train: bool,
    ) -> tuple[jax.Array, Aux]:
        """Mean cross-entropy in nats; metrics "loss", "accuracy" and, if k > 5, "top5".

        The accuracy of a mixed label is that of its likeliest class.
        """
        label, dropout = batch["label"], dropout_key(key, step, train)
        logits, mutable = forward(self.model, params, mutable, batch["image"], dropout=dropout)
        smoothing = self.config.label_smoothing if train else 0.0
        mask, hard = batch.get("mask"), hard_labels(logits, label)
        loss = Mean.of(cross_entropy(logits, label, smoothing), mask)
        metrics = {"loss": loss, "accuracy": Mean.of(in_top(logits, hard, 1), mask)}
        if self.num_classes > 5:
            metrics["top5"] = Mean.of(in_top(logits, hard, 5), mask)
        return loss.total / jnp.maximum(loss.count, 1.0), Aux(mutable, metrics)

    def predict(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """{"logits": float32 [b, k], "probabilities": float32 [b, k], rows summing to 1}."""
        del key
        logits, _ = forward(self.model, params, mutable, batch["image"], dropout=None)
        return {"logits": logits, "probabilities": jax.nn.softmax(logits, axis=-1)}

    def explain(self, params: Tree, mutable: Tree, batch: Batch, key: jax.Array) -> Arrays:
        """{"attention": float32 [b, layers, h, l, l]}, {} of a model that sows none."""
        del key
        weights, _ = attention(self.model, params, mutable, batch["image"])
        return {} if weights is None else {"attention": weights}


def build(config: Config, model: Any, info: Info) -> Classification:
    """The task of telling `info.num_classes` classes apart.

    Raises:
      ValueError: the data has no classes, or the smoothing is outside of [0, 1).
    """
    if info.num_classes < 1:
        raise ValueError("classification needs a data set with classes; num_classes is 0")
    if not 0.0 <= config.label_smoothing < 1.0:
        raise ValueError(f"task.label_smoothing={config.label_smoothing}: expected [0, 1)")
    return Classification(config, model, info.num_classes)
