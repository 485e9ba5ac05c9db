"""Metrics of predictions that are no mean over examples: from host arrays of a whole split.

Letters: `n` examples, `k` classes. Labels and predicted classes are integers in [0, k);
probabilities are in [0, 1] and sum to 1 over k. Where one is not finite the result is NaN.
"""

import numpy as np


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """int64 [k, k]: how many examples of class row [n] were given the class column [n].

    Raises:
      ValueError: a label or prediction outside of [0, num_classes).
    """
    labels, predicted = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    for what, values in (("label", labels), ("prediction", predicted)):
        bad = values[(values < 0) | (values >= num_classes)]
        if bad.size:
            raise ValueError(f"{what} {bad[0]} is outside of 0 to {num_classes - 1}")
    counts = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def class_scores(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(precision, recall, F1), each [k]; 0 where nothing is right, NaN for a class never met."""
    hits = np.diagonal(confusion).astype(np.float64)
    predicted, actual = confusion.sum(axis=0), confusion.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(predicted > 0, hits / predicted, 0.0)
        recall = np.where(actual > 0, hits / actual, 0.0)
        f1 = 2 * hits / (predicted + actual)
    absent = np.isnan(f1)
    return np.where(absent, np.nan, precision), np.where(absent, np.nan, recall), f1


def macro_f1(confusion: np.ndarray) -> float:
    """Mean F1 over the classes that occur among the labels or the predictions; NaN if none does."""
    f1 = class_scores(confusion)[2]
    return float(f1[~np.isnan(f1)].mean()) if np.isfinite(f1).any() else float("nan")


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve; ties count half.

    Args:
      labels: [n] integers.
      scores: [n] for labels 0 and 1; or probabilities [n, k]: of class 1 alone where k is 2, else
        each class against the rest, averaged over the classes with examples on both sides.

    Returns:
      In [0, 1]; NaN where no class has examples on both sides.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    if not np.isfinite(scores).all():
        return float("nan")
    if scores.ndim == 1:
        return _binary_auc(labels == 1, scores)
    if scores.shape[1] == 2:
        return _binary_auc(labels == 1, scores[:, 1])
    areas = [_binary_auc(labels == c, scores[:, c]) for c in range(scores.shape[1])]
    areas = [area for area in areas if not np.isnan(area)]
    return float(np.mean(areas)) if areas else float("nan")


def _binary_auc(positive: np.ndarray, scores: np.ndarray) -> float:
    """The Mann-Whitney statistic by midranks: P(score of a positive > score of a negative)."""
    positives = int(positive.sum())
    negatives = positive.size - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last_ranks = np.cumsum(counts, dtype=np.float64)
    midranks = last_ranks - (counts - 1) / 2
    rank_sum = midranks[inverse][positive].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def reliability(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 15
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence against accuracy (Guo et al. 2017, arXiv:1706.04599, section 2).

    Args:
      labels: [n] integers.
      probabilities: [n, k]; the confidence is the largest of a row.
      bins: intervals ((i - 1) / bins, i / bins] of equal width.

    Returns:
      (mean confidence, accuracy, examples), each [bins]; the first two NaN in an empty bin.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_confidence = np.bincount(place, confidence, minlength=bins) / counts
        accuracy = np.bincount(place, right, minlength=bins) / counts
    return mean_confidence, accuracy, counts


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 15
) -> float:
    """Mean of |accuracy - confidence| over the bins, by their share of examples (equation 3)."""
    if not len(labels) or not np.isfinite(probabilities).all():
        return float("nan")
    confidence, accuracy, counts = reliability(labels, probabilities, bins)
    full = counts > 0
    gaps = np.abs(accuracy[full] - confidence[full])
    return float((gaps * counts[full]).sum() / counts.sum())
