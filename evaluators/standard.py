"""The means of a task's own metrics over a split, each example counted exactly once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evaluators.common.passes import MeanSum, each_batch
from training.contracts import Algorithm, Pipeline, Report, TrainState


@dataclass(frozen=True)
class Config:
    """There is nothing to choose: the metrics are the task's."""


TINY: dict[str, Any] = {}


def build(
    config: Config, algorithm: Algorithm, pipeline: Pipeline, environment: Any
) -> Callable[[Any, TrainState], Report]:
    """Returns run(compiled, state) -> Report of the metrics that `Algorithm.evaluate` names."""
    del config, algorithm, environment

    def run(compiled: Any, state: TrainState) -> Report:
        total = MeanSum()
        pending = None
        for _, batch, key in each_batch(compiled, state, pipeline):
            means = compiled.evaluate(state, batch, key)
            if pending is not None:  # read one batch late: the device is never kept waiting
                total.add(pending)
            pending = means
        if pending is not None:
            total.add(pending)
        return Report(scalars=total.compute())

    return run
