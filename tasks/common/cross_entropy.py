"""Cross-entropy and ranks for labels that are classes or distributions over them, any leading axes.

Label smoothing: Szegedy et al. 2015, arXiv:1512.00567, section 7: a target q becomes
(1 - s) q + s / k. Axis letters: `k` classes.
"""

import jax
import jax.numpy as jnp


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float = 0.0) -> jax.Array:
    """-sum_k q_k log softmax(logits)_k in nats, float32 [...].

    Args:
      logits: [..., k].
      labels: classes, integers [...], or distributions q, floats [..., k]. The loss of a class
        outside of the k is NaN (or another class's, where it is negative).
      smoothing: s, in [0, 1).
    """
    log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    if labels.ndim == logits.ndim:
        loss = -(labels * log_probabilities).sum(-1)
    else:
        # One entry of each row: a one-hot row over a vocabulary would cost as much as the logits.
        loss = -_entry(log_probabilities, labels)
    if not smoothing:
        return loss
    return (1.0 - smoothing) * loss - smoothing * log_probabilities.mean(-1)


def hard_labels(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The class of each label, int32 [...]: the likeliest one of a distribution."""
    if labels.ndim == logits.ndim:
        return labels.argmax(-1).astype(jnp.int32)
    return labels.astype(jnp.int32)


def in_top(logits: jax.Array, labels: jax.Array, k: int) -> jax.Array:
    """Whether a label's logit is among the k largest, bool [...]; a tie goes to the lower class.

    It counts what is not below the label's logit, so that NaN logits are never right, and needs no
    sorting.
    """
    label_logit = _entry(logits, labels)[..., None]
    classes = jnp.arange(logits.shape[-1])
    tied_behind = (logits == label_logit) & (classes > labels[..., None])
    below = (logits < label_logit) | tied_behind
    return (~below).sum(-1) <= k


def _entry(values: jax.Array, classes: jax.Array) -> jax.Array:
    return jnp.take_along_axis(values, classes[..., None], axis=-1)[..., 0]
