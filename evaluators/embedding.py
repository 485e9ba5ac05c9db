"""Where a model puts the nodes of a split: its last hidden layer in two dimensions, by class.

The plane is that of the two largest principal components (Pearson 1901): linear, the same on every
run, and distances in it are not larger than the true ones. Letters: `n` nodes, `d` width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.common.passes import each_batch, unpadded
from evaluators.common.pictures import class_name
from training.config import bounded
from training.contracts import Algorithm, Pipeline, Report, TrainState
from training.figures import Scatter


@dataclass(frozen=True)
class Config:
    """Attributes:

    most: nodes that are shown at most, the first of the split.
    """

    most: int = 2000


TINY: dict[str, Any] = {}


def build(
    config: Config, algorithm: Algorithm, pipeline: Pipeline, environment: Any
) -> Callable[[Any, TrainState], Report]:
    """Returns run(compiled, state) -> Report with the figure "embedding", member 0's.

    The report is empty where the algorithm explains no embedding.
    """
    del environment
    bounded(config.most, 1, float("inf"), "evaluators: most of 'embedding'")
    members, info = algorithm.members, pipeline.info

    def run(compiled: Any, state: TrainState) -> Report:
        parts, count = [], 0
        for _, batch, key in each_batch(compiled, state, pipeline):
            arrays = compiled.explain(state, batch, key, "embedding")
            if "embedding" not in arrays or "label" not in batch:
                return Report()
            read = {name: batch[name] for name in ("label", "mask")}
            parts.append(unpadded({"embedding": arrays["embedding"]}, read, members)[0])
            count += len(parts[-1]["label"])
            if count >= config.most:
                break
        rows = np.concatenate([part["embedding"] for part in parts])[: config.most]
        labels = np.concatenate([part["label"] for part in parts])[: config.most]
        if not np.isfinite(rows).all():
            return Report()
        where = "" if members == 1 else f" (member 0 of {members})"
        points, shares = principal(rows)
        figure = Scatter(
            title=f"Last hidden layer, two principal components{where}",
            points=points,
            groups=labels.astype(np.int64),
            group_names=tuple(class_name(info, c) for c in range(info.num_classes)),
            x_label=f"first component, {100 * shares[0]:.0f} % of the variance",
            y_label=f"second component, {100 * shares[1]:.0f} %",
        )
        return Report(figures={"embedding": figure})

    return run


def principal(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the first two principal components [n, 2], their shares of the variance [2]) of [n, d].

    Of the two directions of a component, that in which its largest entry is positive.
    """
    centred = np.asarray(rows, np.float64) - np.mean(rows, axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    chosen = vectors[:, ::-1][:, :2]
    values = np.maximum(values[::-1], 0.0)
    if chosen.shape[1] < 2:
        chosen, values = np.pad(chosen, ((0, 0), (0, 1))), np.append(values, 0.0)
    largest = np.abs(chosen).argmax(axis=0)
    chosen = chosen * np.where(chosen[largest, np.arange(2)] < 0, -1.0, 1.0)
    return centred @ chosen, values[:2] / (values.sum() or 1.0)
