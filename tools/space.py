"""What a sweep may choose: --search.section.key=KIND:..., one dimension of the search each.

    --search.optimizer.learning_rate=log:1e-4:1e-1     a number, evenly over its logarithm
    --search.model.dropout_rate=uniform:0:0.8          a number, evenly
    --search.model.depth=int:1:8                       a whole number, both ends included
    --search.model.hidden=choice:16,32,64              one of these values, as --config.* takes them

A value reaches the config as --config.section.key=VALUE would, and is checked in the same way.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tools import resolve
from training import config as configs
from training.contracts import ConfigError

PREFIX = "--search."
FORMS = {
    "uniform": "uniform:LOW:HIGH",
    "log": "log:LOW:HIGH",
    "int": "int:LOW:HIGH",
    "choice": "choice:A,B,...",
}
# What decides on which data, and by which number, trials are compared.
MEASURES = ("data.source", "data.splits", "evaluators", "train.select", "baseline")
# A comma that stands in no bracket.
COMMA = re.compile(r",(?![^(\[]*[)\]])")


class Suggests(Protocol):
    """What a dimension needs of a trial of Optuna."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number from `low` to `high`."""
        ...

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """One of `choices`."""
        ...


@dataclass(frozen=True)
class Dimension:
    """A key of the config, and what it may be.

    Attributes:
      key: such as "optimizer.learning_rate".
      kind: uniform | log | int | choice.
      spec: what followed the equals sign.
      low, high: the ends, both included; of a choice 0.
      choices: the values of a choice, as text.
    """

    key: str
    kind: str
    spec: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()

    def suggest(self, trial: Suggests) -> Any:
        """The value of a trial, drawn unless the trial has one."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.key, self.choices)
        if self.kind == "int":
            return trial.suggest_int(self.key, int(self.low), int(self.high))
        return trial.suggest_float(self.key, self.low, self.high, log=self.kind == "log")

    def examples(self) -> tuple[Any, ...]:
        """Every choice; of a range its ends, and a value between them that is no round one."""
        if self.kind == "choice":
            return self.choices
        if self.kind == "int":
            return int(self.low), int(self.high)
        return self.low, self.low + (self.high - self.low) / math.e, self.high


def override(key: str, value: Any) -> str:
    """What stands behind --config. for a value."""
    return f"{key}={value if isinstance(value, str) else repr(value)}"


def take(argv: Sequence[str]) -> tuple[tuple[Dimension, ...], list[str]]:
    """(the dimensions, all other arguments); raises ConfigError for one that is no dimension."""
    found: dict[str, Dimension] = {}
    for argument in argv:
        if not argument.startswith(PREFIX):
            continue
        dimension = parse(argument)
        if dimension.key in found:
            raise ConfigError(f"{PREFIX}{dimension.key} is given twice: one range for each key")
        found[dimension.key] = dimension
    return tuple(found.values()), [a for a in argv if not a.startswith(PREFIX)]


def parse(argument: str) -> Dimension:
    """The dimension of "--search.section.key=KIND:..."; raises ConfigError."""
    key, _, spec = argument.removeprefix(PREFIX).partition("=")
    kind, colon, rest = spec.partition(":")
    if not key or not colon:
        forms = " | ".join(FORMS.values())
        raise ConfigError(f"{argument}: write {PREFIX}{key or 'section.key'}={forms}")
    configs.choose(kind, FORMS, f"the kind of {PREFIX}{key}")
    if kind == "choice":
        choices = tuple(c.strip() for c in COMMA.split(rest))
        if not all(choices) or len(set(choices)) < len(choices):
            raise ConfigError(f"{argument}: a value is empty or there twice ({FORMS[kind]})")
        return Dimension(key, kind, spec, choices=choices)
    low, high = _ends(argument, kind, rest)
    return Dimension(key, kind, spec, low, high)


def _ends(argument: str, kind: str, text: str) -> tuple[float, float]:
    read = int if kind == "int" else float
    try:
        low, high = (read(part) for part in text.split(":"))
    except ValueError:
        what = "whole numbers" if kind == "int" else "numbers"
        raise ConfigError(f"{argument}: it needs two {what}, {FORMS[kind]}") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"{argument}: LOW must be below HIGH, both finite ({FORMS[kind]})")
    if kind == "log" and low <= 0:
        raise ConfigError(f"{argument}: LOW must be above 0, as its logarithm is taken")
    return low, high


def check(
    dimensions: Sequence[Dimension],
    config: Mapping[str, Any],
    overrides: Sequence[str],
    smoke: bool = False,
) -> None:
    """Raises ConfigError unless the config takes every dimension's values.

    Args:
      config: what the config's file gives.
      overrides: the command line's fixed values, "train.steps=100".
      smoke: whether runs are made small.
    """
    if not dimensions:
        example = f"{PREFIX}optimizer.learning_rate=log:1e-4:1e-1"
        raise ConfigError(f"nothing to search: give a range, such as {example}")
    fixed = {o.partition("=")[0] for o in overrides}
    for dimension in dimensions:
        key = dimension.key
        if key == "train.seed":
            raise ConfigError(f"{PREFIX}{key}: a seed is nothing to choose; see --seeds=K")
        if any(key == m or key.startswith(f"{m}.") for m in MEASURES):
            raise ConfigError(f"{PREFIX}{key} would change what trials are measured on")
        if key in fixed:
            raise ConfigError(f"{PREFIX}{key} and --config.{key} are both given: one of them")
        for value in dimension.examples():
            resolved(config, overrides, {key: value}, smoke)


def resolved(
    config: Mapping[str, Any],
    overrides: Sequence[str],
    chosen: Mapping[str, Any],
    smoke: bool = False,
) -> dict[str, Any]:
    """The whole config with the values {key: value} that a search chose.

    Raises ConfigError, in the words of --search, where they do not fit it or one another.
    """
    searched = [override(key, value) for key, value in chosen.items()]
    try:
        return resolve.resolve(config, [*overrides, *searched], smoke)
    except ConfigError as error:
        text = str(error)
        for key in chosen:
            text = text.replace(f"--config.{key}", f"{PREFIX}{key}")
        where = "" if PREFIX in text else f"{PREFIX}{' '.join(searched)}: "
        raise ConfigError(f"{where}{text}") from error
