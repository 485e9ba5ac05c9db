"""Reading a record: it holds what the pages need, and its mean and interval are of its values."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from training import folder, results
from training.contracts import ConfigError

# Another version of NumPy or SciPy may round the last digits otherwise.
ROUNDING = 1e-9


def read(path: Path) -> dict[str, Any] | None:
    """The record of a file; None where there is no file.

    Raises ConfigError for what is no record.
    """
    if not path.exists():
        return None
    found = folder.read_json(epath.Path(path)) if path.is_file() else None
    if wrong := fault(found):
        raise ConfigError(f"{path} is no record: {wrong}; restore it, or delete it to measure anew")
    assert isinstance(found, dict)
    known, said = summary(list(found["values"].values())), {}
    for name, value in known.items():
        kept = found.get(name)
        said[name] = kept if _same(kept, value) else value
    return {**found, **said}


def fault(found: Any) -> str:
    """What is missing or of another kind; "" of a record."""
    if not isinstance(found, dict):
        return "it is not a JSON object"
    for name, fits in HELD.items():
        if name not in found:
            return f"it has no {name!r}"
        if not fits(found[name]):
            return f"its {name!r} is {str(found[name])!r:.50}"
    stated = found["resolved"]["baseline"].get("metric")
    return "" if stated == found["metric"] else f"its 'metric' is not its config's, {stated!r}"


def fault_of_result(found: Mapping[str, Any]) -> str:
    """What a finished run's result.json lacks for a record; "" where it lacks nothing."""
    for name, fits in RESULT.items():
        if name not in found or not fits(found[name]):
            return f"its {name!r} is {str(found.get(name))!r:.50}"
    counts = len(found["seeds"]), len(found["values"])
    return "" if counts[0] == counts[1] else f"{counts[0]} seeds of {counts[1]} values"


def _number(value: Any) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
    )


def _known(value: Any) -> bool:
    """A number, or None where it was none."""
    return value is None or _number(value)


def _time(value: Any) -> bool:
    return _number(value) and value >= 0


def _of(kind: type, fits: Callable[[Any], bool], empty: bool = True) -> Callable[[Any], bool]:
    """Whether a value is a list or dict whose items fit."""

    def fit(value: Any) -> bool:
        items = value.values() if isinstance(value, dict) else value
        return isinstance(value, kind) and (empty or bool(value)) and all(map(fits, items))

    return fit


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _any(value: Any) -> bool:
    del value
    return True


def _with(**fields: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether a value is a dict that has these, and they fit."""
    return lambda value: (
        isinstance(value, dict)
        and all(name in value and fits(value[name]) for name, fits in fields.items())
    )


def _point(value: Any) -> bool:
    """[step, mean, standard deviation or None]."""
    return isinstance(value, list) and len(value) == 3 and all(map(_known, value))


_section = _of(dict, _any)
_run = _with(
    seconds=_time, commit=_text, devices=_of(list, _text), cpu_count=_any, python=_text,
    versions=_section,
)  # fmt: skip
HELD = {
    "values": _of(dict, _number, empty=False),
    "metric": _text,
    "seconds": _time,
    "steps": _number,
    "scalars": _of(dict, _known),
    "runs": _of(list, _run, empty=False),
    "curves": _of(dict, _of(dict, _of(list, _point, empty=False))),
    "resolved": _with(model=_section, data=_section, train=_section, baseline=_section),
    "trivial": lambda value: value is None or _with(name=_text, value=_number)(value),
}
RESULT = {
    "values": _of(list, _known, empty=False),
    "seeds": _of(list, _any, empty=False),
    "seconds": _time,
    "steps": _number,
    "scalars": _of(dict, _any),
    "metric": _text,
}


def summary(values: Sequence[float]) -> dict[str, Any]:
    """{"mean", "interval"} of repeats; the interval is None of a single one."""
    bounds = results.interval(values)
    return {"mean": float(np.mean(values)), "interval": list(bounds) if bounds else None}


def _same(kept: Any, value: Any) -> bool:
    if kept is None or value is None:
        return kept is value
    try:
        return bool(np.allclose(kept, value, rtol=ROUNDING, atol=0.0))
    except (TypeError, ValueError):
        return False
