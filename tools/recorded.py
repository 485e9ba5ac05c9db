"""Reading a record: it holds what the pages need, and its mean and interval are of its values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from training import folder, results
from training.contracts import ConfigError

NUMBER = (int, float)
HELD: dict[str, type | tuple[type, ...]] = {
    "values": dict,
    "metric": str,
    "seconds": NUMBER,
    "steps": int,
    "scalars": dict,
    "runs": list,
    "curves": dict,
    "resolved": dict,
    "trivial": (dict, type(None)),
}
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
    for name, kind in HELD.items():
        if name not in found:
            return f"it has no {name!r}"
        if not isinstance(found[name], kind):
            return f"its {name!r} is {found[name]!r:.40}"
    values = list(found["values"].values())
    if not values or not all(isinstance(v, NUMBER) and np.isfinite(v) for v in values):
        return "its 'values' are not one number or more"
    return ""


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
