"""From a config's plain values to frozen dataclasses, and one clear line where they do not fit.

A config is a nested mapping with the sections of `SECTIONS`. `typed` turns a mapping into the
dataclass of the part that it builds: an unknown key or a value of a wrong type names the key, where
it stands and what would be right.
"""

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from training.contracts import ConfigError
from training.stopping import Select, Stopping

T = TypeVar("T")

SECTIONS = (
    "model",
    "data",
    "task",
    "algorithm",
    "optimizer",
    "evaluators",
    "mesh",
    "train",
    "baseline",
)


@dataclass(frozen=True)
class Mesh:
    """Sizes of the device mesh's axes; -1 takes what the others leave. A batch is split over data x
    fsdp.

    `rules` place arrays by path: (regular expression, an axis or None for each of the last
    dimensions), such as ("head/kernel$", None, "fsdp"); a tuple of axes splits by their product.
    The first rule that is found in a path wins, and what none names follows the defaults of
    training/placement.py; optimizer state follows its parameter.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1
    sequence: int = 1
    rules: tuple[tuple[Any, ...], ...] = ()


@dataclass(frozen=True)
class Train:
    """How a run goes.

    Attributes:
      steps: updates in all.
      seed: of the parameters, the data order and every other random choice.
      steps_per_call: updates in one call of the compiled function; all intervals are multiples of
        it.
      log_every, save_every: updates between log lines and between checkpoints (0: only at the end).
      ensemble, ensemble_by, ensemble_data: members trained at once, "vmap" | "unroll" | "loop",
        "shared" | "own" data order.
      select: the validation metric that chooses the best weights.
      stopping: the rule that ends training early.
      test_weights: "last" | "best": the weights that are tested.
      nonfinite: on a loss or gradient that is not finite, whose update is always refused: "stop"
        (exit 4), "skip", or "rollback": go back to the last checkpoint and pass over the batches
        since.
      max_rollbacks: after so many, the next one is a "stop".
      watchdog_minutes: without a step for so long, or without another process at a barrier, a run
        leaves its threads' stacks in its folder and ends with exit code 75 (0: never).
      init_from: the folder of a run, or DIR@STEP, whose weights are taken as far as they fit.
      keep_checkpoints: the newest ones that are kept.
      compilation_cache: folder of the persistent compilation cache; "" turns it off.
    """

    steps: int = 1000
    seed: int = 0
    steps_per_call: int = 1
    log_every: int = 100
    save_every: int = 0
    ensemble: int = 1
    ensemble_by: str = "vmap"
    ensemble_data: str = "shared"
    select: Select = field(default_factory=Select)
    stopping: Stopping = field(default_factory=Stopping)
    test_weights: str = "last"
    nonfinite: str = "stop"
    max_rollbacks: int = 3
    watchdog_minutes: float = 30.0
    init_from: str = ""
    keep_checkpoints: int = 2
    compilation_cache: str = "~/.cache/reprise/xla"


SPREADS = ("seeds", "folds", "splits", "episodes", "ci95", "none")


@dataclass(frozen=True)
class Spread:
    """The paper's +- : over what it was taken, its value in the metric's unit, and how many."""

    kind: str = "none"
    value: float = 0.0
    n: int = 0


@dataclass(frozen=True)
class Baseline:
    """The number that a config is measured against.

    Attributes:
      kind: "published", or "own" where nobody published one.
      metric: such as "test/accuracy", the name in result.json.
      value: in the metric's own unit (accuracy in [0, 1]); None where there is none to state.
      direction: "max" | "min".
      tolerance: how far below `value` the worse end of our interval may lie; None: the rule's
        default.
      source: arXiv id and table, or repository and file.
      protocol: what the source did, and where this config differs.
      verified: whether that source was read.
      reduced: what is smaller here than in the paper, so that nothing is said of the paper; or "".
      not_run_here: why there may be no record of it, such as an accelerator that it needs; or "".
      short: why the number is missed and what was tried, where it is; or "".
      beside: arguments of the same config whose number stands beside this one, as where a protocol
        favours it.
    """

    kind: str = "own"
    metric: str = "test/accuracy"
    value: float | None = None
    direction: str = "max"
    spread: Spread = field(default_factory=Spread)
    tolerance: float | None = None
    source: str = ""
    protocol: str = ""
    verified: bool = False
    reduced: str = ""
    not_run_here: str = ""
    short: str = ""
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """What `fit` needs of a config: its name, two of its sections, and all values for the record.

    Attributes:
      name: such as "vision/vit_digits".
      values: the resolved config, plain, as config.json has it.
      command: the command line that repeats the run.
      profile: whether to trace some steps after warm-up.
    """

    name: str
    train: Train
    baseline: Baseline
    mesh: Mesh = field(default_factory=Mesh)
    values: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    profile: bool = False


def nearest(name: str, names: Iterable[str]) -> str:
    """'; did you mean X?', or the accepted names where none is near."""
    names = sorted(names)
    lower = {n.lower(): n for n in names}
    found = difflib.get_close_matches(str(name).lower(), lower, n=3, cutoff=0.5)
    close = [lower[n] for n in found]
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    return f"known: {', '.join(names)}" if names else "none are known"


def choose(value: str, accepted: Iterable[str], where: str) -> None:
    """Raises ConfigError unless `value` is among `accepted`."""
    accepted = tuple(accepted)
    if value not in accepted:
        raise ConfigError(f"{where} is {value!r}: {nearest(value, accepted)}")


def bounded(value: float, low: float, high: float, where: str) -> None:
    """Raises ConfigError unless low <= value <= high; NaN is refused."""
    if not low <= value <= high:
        limits = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
        raise ConfigError(f"{where} is {value!r}; it must be {limits}")


def typed(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """The dataclass `cls` from `values`; raises ConfigError that names `where` + key."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is {values!r}, not a section with keys")
    hints = typing.get_type_hints(cls)
    names = {f.name for f in dataclasses.fields(typing.cast(Any, cls))}
    for key in values:
        if key not in names:
            raise ConfigError(f"unknown key {where}.{key}: {nearest(key, names)}")
    return cls(**{k: _convert(hints[k], v, f"{where}.{k}") for k, v in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return plain(value)
    if origin in (types.UnionType, typing.Union):
        return _convert_union(args, value, where)
    if dataclasses.is_dataclass(hint):
        return typed(typing.cast(type, hint), value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong(where, value, "a list")
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_convert(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
        if len(args) != len(value):
            raise _wrong(where, value, f"{len(args)} values")
        return tuple(
            _convert(a, v, f"{where}[{i}]")
            for i, (a, v) in enumerate(zip(args, value, strict=True))
        )
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(where, value, "a section with keys")
        return {str(k): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    return _convert_scalar(hint, value, where)


def _convert_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in args:
        return None
    options = [a for a in args if a is not type(None)]
    for option in options[:-1]:
        try:
            return _convert(option, value, where)
        except ConfigError:
            continue
    return _convert(options[-1], value, where)


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    names = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}
    if hint is dict and isinstance(value, Mapping):
        return plain(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise _wrong(where, value, names.get(hint, hint.__name__))
    return value


def _wrong(where: str, value: Any, expected: str) -> ConfigError:
    return ConfigError(f"{where} is {value!r} ({type(value).__name__}); it must be {expected}")


def plain(value: Any) -> Any:
    """Nested dicts and tuples of plain values, from ConfigDicts, dataclasses and lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(plain(v) for v in value)
    return value


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train.steps": 100, "evaluators.0.name": ...} of nested mappings and tuples."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, (tuple, list)) and any(isinstance(v, Mapping) for v in value):
            value = {str(i): v for i, v in enumerate(value)}
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = tuple(value) if isinstance(value, list) else value
    return flat


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """{dotted key: (old value, new value)} where two configs differ; None for a missing key."""
    a, b = flatten(plain(old)), flatten(plain(new))
    return {k: (a.get(k), b.get(k)) for k in sorted({*a, *b}) if a.get(k) != b.get(k)}


def fingerprint(config: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of a config's values, the same everywhere and in any order."""
    text = json.dumps(plain(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
