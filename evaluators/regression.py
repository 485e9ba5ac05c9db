"""How far predicted numbers are from the true ones: root mean square, mean absolute, R^2.

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
    """Returns run(compiled, state) -> Report with rmse, mae and r2 in the labels' units, by member.

    The algorithm predicts "prediction" [b, t]; batches hold "label" [b] or [b, t].
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
    """{"rmse", "mae", "r2"} of [n, t] each; r2 is NaN where all labels are one."""
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
    }
