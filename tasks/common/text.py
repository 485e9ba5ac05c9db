"""What tasks of text share: which places of a batch hold tokens, and losses over them.

Axis letters: `b` batch, `l` length, `v` vocabulary or classes.
"""

import jax
import jax.numpy as jnp

from tasks.common.cross_entropy import cross_entropy, in_top
from training.contracts import Batch, ConfigError, Mean, Means


def within(lengths: jax.Array, length: int) -> jax.Array:
    """Bool [b, l]: True at the first `lengths` [b] of `length` places."""
    return jnp.arange(length) < lengths[:, None]


def token_means(
    logits: jax.Array, labels: jax.Array, batch: Batch, smoothing: float = 0.0
) -> tuple[jax.Array, Means]:
    """(the mean cross-entropy in nats, {"loss", "accuracy"}), over tokens.

    Args:
      logits: float32 [b, l, v].
      labels: int32 [b, l], below 0 where nothing is asked.
      batch: "mask" bool [b], if it is there, is False on rows that count nowhere.
      smoothing: of the labels.
    """
    asked = asked_of(labels, batch)
    labels = jnp.maximum(labels, 0)
    loss = Mean.of(cross_entropy(logits, labels, smoothing), asked)
    means = {"loss": loss, "accuracy": Mean.of(in_top(logits, labels, 1), asked)}
    return loss.total / jnp.maximum(loss.count, 1.0), means


def asked_of(labels: jax.Array, batch: Batch) -> jax.Array:
    """Bool [b, l]: the labels of 0 or more, of rows that count."""
    asked = labels >= 0
    return asked & batch["mask"][:, None] if "mask" in batch else asked


def check_smoothing(smoothing: float) -> None:
    """Raises ConfigError unless task.label_smoothing is in [0, 1)."""
    if not 0.0 <= smoothing < 1.0:
        raise ConfigError(f"task.label_smoothing={smoothing}: expected [0, 1)")


def inputs(batch: Batch) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """(tokens [b, l], lengths [b], token types [b, l]) of one text or two; None for what is not."""
    return batch["tokens"], batch.get("lengths"), batch.get("token_types")
