"""How well scores tell edges from pairs that are none: area under ROC, and average precision.

AP is sum_n (R_n - R_n-1) P_n over the thresholds, precision and recall at the n-th score, without
interpolation (as Kipf and Welling 2016, arXiv:1611.07308, report it). Letters: `n` pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.common.passes import collect, each_batch, unpadded
from training import metrics
from training.contracts import Algorithm, Pipeline, Report, TrainState
from training.figures import Curve


@dataclass(frozen=True)
class Config:
    """There is nothing to choose."""


TINY: dict[str, Any] = {}


def build(
    config: Config, algorithm: Algorithm, pipeline: Pipeline, environment: Any
) -> Callable[[Any, TrainState], Report]:
    """Returns run(compiled, state) -> Report with auc and ap, by member, and precision by recall.

    The algorithm predicts "logits" [b]; batches hold "label" [b], 1 for an edge.
    """
    del config, environment
    members = algorithm.members

    def run(compiled: Any, state: TrainState) -> Report:
        parts = []
        for _, batch, key in each_batch(compiled, state, pipeline):
            logits = compiled.predict(state, batch, key)["logits"]
            read = {name: batch[name] for name in ("label", "mask")}
            parts.append(unpadded({"logits": logits}, read, members))
        each = [
            tuple(np.concatenate([part[i][name] for part in parts]) for name in ("label", "logits"))
            for i in range(members)
        ]
        scalars = collect(
            [
                {
                    "auc": metrics.roc_auc(label, logits),
                    "ap": average_precision(label, logits),
                }
                for label, logits in each
            ]
        )
        where = "" if members == 1 else f" (member 0 of {members})"
        figure = _curve(*each[0], where)
        return Report(scalars, {} if figure is None else {"precision": figure})

    return run


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """AP in [0, 1] of labels [n], 1 or 0, and scores [n]; ties share one threshold.

    NaN where no label is 1 or a score is not finite.
    """
    if not np.isfinite(scores).all() or not (labels == 1).any():
        return float("nan")
    precision, recall = _precision_recall(labels, scores)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def _precision_recall(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(precision, recall) at each distinct score, the highest first."""
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(labels[order] == 1)
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    return found[ends] / (ends + 1), found[ends] / found[-1]


def _curve(labels: np.ndarray, scores: np.ndarray, where: str) -> Curve | None:
    if not np.isfinite(scores).all() or not (labels == 1).any():
        return None
    precision, recall = _precision_recall(labels, scores)
    return Curve(
        title=f"Precision by recall{where}",
        x=recall,
        series={"precision": precision},
        x_label="recall",
        y_label="precision",
    )
