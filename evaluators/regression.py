"""How far predicted numbers are from the true ones, and how well they agree.

Root mean square, mean absolute error and R^2; Pearson's correlation, and Spearman's of their ranks,
by which GLUE's STS-B is judged (Wang et al. 2018, arXiv:1804.07461, section 3.2).

Letters: `n` examples, `t` targets. Scalars are means over the targets; the figure is the first's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.common.passes import collect, each_batch, unpadded
from training.contracts import Algorithm, Pipeline, Report, TrainState
from training.figures import Scatter


@dataclass(frozen=True)
class Config:
    """There is nothing to choose."""


TINY: dict[str, Any] = {}


def build(
    config: Config, algorithm: Algorithm, pipeline: Pipeline, environment: Any
) -> Callable[[Any, TrainState], Report]:
    """Returns run(compiled, state) -> Report.

    Scalars by member: rmse and mae in the labels' units, r2, pearson and spearman. The algorithm
    predicts "prediction" [b, t]; batches hold "label" [b] or [b, t].
    """
    del config, environment
    members = algorithm.members

    def run(compiled: Any, state: TrainState) -> Report:
        parts = []
        for _, batch, key in each_batch(compiled, state, pipeline):
            predicted = compiled.predict(state, batch, key)["prediction"]
            read = {name: batch[name] for name in ("label", "mask")}
            parts.append(unpadded({"prediction": predicted}, read, members))
        each = []
        for i in range(members):
            prediction = np.concatenate([part[i]["prediction"] for part in parts])
            label = np.concatenate([part[i]["label"] for part in parts])
            each.append((label.reshape(prediction.shape), prediction))
        where = "" if members == 1 else f" (member 0 of {members})"
        label, prediction = each[0]
        figure = Scatter(
            title=f"Predicted against true{where}",
            points=np.stack([label[:, 0], prediction[:, 0]], axis=1).astype(np.float64),
            x_label="true",
            y_label="predicted",
        )
        return Report(collect([errors(*one) for one in each]), {"predictions": figure})

    return run


def errors(label: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """{"rmse", "mae", "r2", "pearson", "spearman"} of [n, t] each.

    r2 is NaN where all labels are one, correlations also where all predictions are.
    """
    label, prediction = np.asarray(label, np.float64), np.asarray(prediction, np.float64)
    error = prediction - label
    square = np.square(error).mean(axis=0)
    variance = label.var(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.where(variance > 0, 1.0 - square / variance, np.nan)
    return {
        "rmse": float(np.sqrt(square).mean()),
        "mae": float(np.abs(error).mean()),
        "r2": float(r2.mean()),
        "pearson": correlation(label, prediction),
        "spearman": correlation(_ranks(label), _ranks(prediction)),
    }


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, the mean over t of [n, t] each; NaN where a column holds one value only."""
    if (np.ptp(one, axis=0) == 0).any() or (np.ptp(other, axis=0) == 0).any():
        return float("nan")
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    scale = np.sqrt(np.square(one).sum(axis=0) * np.square(other).sum(axis=0))
    return float(((one * other).sum(axis=0) / scale).mean())


def _ranks(values: np.ndarray) -> np.ndarray:
    """float64 [n, t]: ranks in each column, equal values sharing the mean of theirs."""
    ranks = np.empty(values.shape)
    for column in range(values.shape[1]):
        _, place, count = np.unique(values[:, column], return_inverse=True, return_counts=True)
        ranks[:, column] = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks
