"""Whether a run's intervals and selection fit: before it begins, and once its evaluators ran."""

from collections.abc import Mapping, Sequence

from training.config import Settings, nearest
from training.contracts import ConfigError, Evaluator


def check_intervals(k: int, config: Settings, evaluators: Sequence[Evaluator]) -> None:
    """Raises ConfigError for an interval that is not a whole number of calls."""
    intervals: Mapping[str, int] = {
        "train.steps": config.train.steps,
        "train.log_every": config.train.log_every,
        "train.save_every": config.train.save_every,
        **{f"evaluators.{i}.every": e.every for i, e in enumerate(evaluators)},
    }
    for name, value in (("steps", config.train.steps), ("steps_per_call", k)):
        if value < 1:
            raise ConfigError(f"train.{name} is {value}; it must be at least 1")
    for name in ("max_rollbacks", "watchdog_minutes"):
        if getattr(config.train, name) < 0:
            raise ConfigError(f"train.{name} is {getattr(config.train, name)}; it is at least 0")
    for name, value in intervals.items():
        if value < 0:
            raise ConfigError(f"{name} is {value}; it must not be negative")
        if value % k:
            near = (value // k or 1) * k
            raise ConfigError(
                f"{name} is {value}, not a multiple of train.steps_per_call {k}: {near} would be"
            )


def check_selected(
    metric: str, evaluators: Sequence[Evaluator], given: Mapping[int, set[str]] | None = None
) -> None:
    """Raises ConfigError for a selected metric that no evaluator gives while training.

    `given` holds the names that evaluators gave, by their position; those not in it may give any.
    """
    given = given or {}
    split = metric.partition("/")[0]
    reading = [i for i, e in enumerate(evaluators) if e.every > 0 and e.split == split]
    if not metric or any(i not in given or metric in given[i] for i in reading):
        return
    if not reading:
        raise ConfigError(
            f"train.select.metric is {metric!r}, and no evaluator reads {split!r} while training: "
            "select by a metric of a validation split that one reads (every > 0)"
        )
    known = set[str]().union(*(given[i] for i in reading))
    raise ConfigError(f"train.select.metric is {metric!r}: {nearest(metric, known)}")
