"""What keeps the test set out of a search: by what a config selects, and what trials evaluate."""

import re
from collections.abc import Mapping
from typing import Any

from training import config as configs
from training import stopping
from training.checks import check_selected
from training.contracts import ConfigError, Evaluator, is_test

# (source, "[" where a part of it is meant) of a split such as "train[90%:]+extra".
NAMES = re.compile(r"([A-Za-z_]\w*)(\[)?(?:[^\]+]*\])?")


def hidden(values: Mapping[str, Any], split: str) -> bool:
    """Whether a split is a test set: by its name, by that of its data, or by what both read."""
    splits = values["data"]["splits"]
    spec = str(splits.get(split, split))
    names = {m[0] for m in NAMES.findall(spec)}
    if is_test(split) or any(map(is_test, names)):
        return True
    tested = [str(other) for name, other in splits.items() if is_test(name)]
    # All of a source is tested, of which this split is a part; or the very same part is.
    whole = {name for other in tested for name, part in NAMES.findall(other) if not part}
    return spec in tested or bool(names & whole)


def selects(values: Mapping[str, Any]) -> tuple[str, str]:
    """(metric, "max" | "min") by which a config selects; raises ConfigError unless it is a
    validation metric that an evaluator gives while a run trains.
    """
    train = configs.typed(configs.Train, values["train"], "train")
    metric, rule = train.select.metric, train.stopping.rule
    if not metric:
        raise ConfigError(
            f"{values['name']} selects by nothing, and a sweep ranks by what is selected: give "
            "--config.train.select.metric=val/accuracy, or another metric of a validation split"
        )
    stopping.build(train.select, train.stopping)
    read = [metric]
    read += [train.stopping.loss] * (rule in ("moving_mean", "either_or_both"))
    read += [train.stopping.accuracy] * (rule == "either_or_both")
    for name in read:
        if hidden(values, name.partition("/")[0]):
            raise ConfigError(
                f"{values['name']} selects or stops by {name!r}, whose split is the test set: a "
                "sweep may see a validation split alone"
            )
    listed = [Evaluator(e["name"], e["split"], e["every"], _never) for e in values["evaluators"]]
    check_selected(metric, listed)
    return metric, train.select.mode


def _never(*_: Any) -> Any:
    raise AssertionError("an evaluator that is only listed is never run")


def every(values: Mapping[str, Any], metric: str) -> int:
    """Updates between two evaluations of the split of a metric."""
    split = metric.partition("/")[0]
    return min(e["every"] for e in values["evaluators"] if e["split"] == split and e["every"])


def config(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a trial: without what runs at the end, and without what reads the test set."""
    kept = [e for e in values["evaluators"] if e["every"] and not hidden(values, e["split"])]
    return {**values, "evaluators": tuple(kept)}
