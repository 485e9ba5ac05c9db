"""result.json: the number of a run with its interval, beside its baseline."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from training import config as configs
from training.compiled import Selection
from training.config import nearest
from training.contracts import Pipeline
from training.folder import number, read_json, write_json

log = logging.getLogger("reprise")


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """The t-interval of the mean of independent repeats; None for fewer than two."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # half a second, which only the end of a run needs

    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / np.sqrt(len(values))
    half = float(stdtrit(len(values) - 1, 0.5 + confidence / 2)) * error
    return mean - half, mean + half


def result(
    config: configs.Settings,
    selection: Selection,
    scalars: Mapping[str, Any],
    step: int,
    seconds: float,
) -> dict[str, Any]:
    """What result.json says, from the last `scalars` {"test/accuracy": value or [m]}."""
    baseline, train = config.baseline, config.train
    if baseline.metric not in scalars:
        near = nearest(baseline.metric, scalars) if scalars else "no evaluator runs at the end"
        log.warning("baseline.metric is %r, which nothing measured: %s", baseline.metric, near)
    values = [number(v) for v in np.atleast_1d(scalars.get(baseline.metric, np.nan))]
    known = [v for v in values if v is not None]
    bounds = interval(known) if len(known) == len(values) else None
    members = train.ensemble > 1
    return {
        "name": config.name,
        "metric": baseline.metric,
        "value": float(np.mean(known)) if known and len(known) == len(values) else None,
        "values": values,
        "interval": list(bounds) if bounds else None,
        "seeds": [f"{train.seed}.{i}" for i in range(train.ensemble)] if members else [train.seed],
        "scalars": {k: _mean(v) for k, v in scalars.items()},
        "selected": _selected(train, selection, members),
        # A list, as JSON gives it back.
        "baseline": {**configs.plain(baseline), "beside": list(baseline.beside)},
        "steps": step,
        "seconds": round(seconds, 3),
        "status": "done",
    }


def _mean(value: Any) -> float | None:
    return number(np.mean(np.asarray(value, np.float64)))


def _selected(train: configs.Train, selection: Selection, members: bool) -> dict[str, Any] | None:
    if not train.select.metric:
        return None
    values = [number(v) for v in np.asarray(selection.value)]
    steps = [int(s) for s in np.asarray(selection.step)]
    return {
        "metric": train.select.metric,
        "value": values if members else values[0],
        "step": steps if members else steps[0],
        "tested": train.test_weights,
    }


def finished(path: epath.Path, steps: int) -> dict[str, Any] | None:
    """The result of a run that is done, unless it was asked for more steps since."""
    file = path / "result.json"
    if not file.exists():
        return None
    found = read_json(file)
    before = read_json(path / "config.json")["train"]["steps"]
    return found if found.get("status") == "done" and before >= steps else None


def batch_size(pipeline: Pipeline, axis: int) -> int:
    """Examples in a global batch; 0 where batches are empty (an algorithm that acts)."""
    specs = list(pipeline.specs[0].values())
    return int(specs[0].shape[axis]) if specs and specs[0].shape else 0


def write(path: epath.Path, result: Mapping[str, Any]) -> None:
    """result.json and report.html."""
    write_json(path / "result.json", result)
    write_report(path)


def write_report(path: epath.Path) -> None:
    """report.html of a run's folder as it is."""
    from training import report  # its drawing library is needed here alone

    report.write(path)
