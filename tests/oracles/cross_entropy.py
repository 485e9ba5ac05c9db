"""Cross-entropy in float64, one example at a time."""

import numpy as np


def cross_entropy(logits, labels, smoothing=0.0):
    """[n] in nats; labels are classes [n] or distributions [n, k]."""
    logits, losses = np.asarray(logits, np.float64), []
    classes = logits.shape[-1]
    for row, label in zip(logits, labels, strict=True):
        target = np.asarray(label, np.float64)
        if target.ndim == 0:
            target = np.array([float(k == label) for k in range(classes)])
        target = (1 - smoothing) * target + smoothing / classes
        probabilities = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        losses.append(-sum(q * np.log(p) for q, p in zip(target, probabilities, strict=True)))
    return np.array(losses)


def in_top(logits, labels, k):
    """[n]: whether the label is among the first k of a stable descending sort."""
    order = [sorted(range(len(row)), key=lambda c: (-row[c], c))[:k] for row in np.asarray(logits)]
    return np.array([label in best for label, best in zip(labels, order, strict=True)])
