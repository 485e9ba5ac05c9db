"""Axes with round ticks: from values to shares of a plot's width or height."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Axis:
    """From values to shares of an axis in [0, 1]; `ticks` are (share, label)."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def __call__(self, values: Any) -> np.ndarray:
        """The shares of `values`, 0 at the axis's low end and 1 at its high one."""
        values = np.asarray(values, np.float64)
        if self.log:
            span = math.log(self.high / self.low)
            return np.log(np.maximum(values, 1e-300) / self.low) / span
        return (values - self.low) / (self.high - self.low)


def make_axis(
    values: Any,
    count: int = 5,
    log: bool = False,
    percent: bool = False,
    tight: bool = False,
    whole: bool = False,
) -> Axis:
    """An axis that holds all finite `values`, with about `count` round ticks.

    `tight` adds no margin; `whole` lets no tick lie between whole numbers; an axis in percent of
    values up to 1 does not go beyond 1.
    """
    values = np.asarray(values, np.float64).ravel()
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if low == high:
        margin = abs(low) * 0.05 or 0.5
        low, high = low - margin, high + margin
        log = log and low > 0
    if log:
        return _log_axis(low / 1.15, high * 1.15)
    if not tight:
        margin = 0.05 * (high - low)
        most = 1.0 if percent and high <= 1 else math.inf
        low, high = (0.0 if 0 <= low <= margin else low - margin), min(high + margin, most)
    step = _round_step((high - low) / count)
    if whole:
        step = max(1.0, 2 * step if step == 2.5 else step)
    first = math.ceil(low / step - 1e-9)
    positions = [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]
    ticks = tuple(((p - low) / (high - low), _tick(p, step, percent)) for p in positions)
    return Axis(low, high, ticks)


def _log_axis(low: float, high: float) -> Axis:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1,) if high / low > 1e3 else (1, 3) if high / low > 30 else (1, 2, 5)
    marks = [d * 10.0**e for e in decades for d in digits if low <= d * 10.0**e <= high]
    span = math.log(high / low)
    return Axis(low, high, tuple((math.log(m / low) / span, f"{m:g}") for m in marks), log=True)


def _round_step(step: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(d * power for d in (1, 2, 2.5, 5, 10) if d * power >= step * (1 - 1e-9))


def _tick(value: float, step: float, percent: bool) -> str:
    if percent:
        value, step = 100 * value, 100 * step
    unit = " %" if percent else ""
    if abs(value) < step * 1e-6:
        return f"0{unit}"
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M{unit}"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k{unit}"
    if 0 < step < 1e-4 and value:
        digits = math.floor(math.log10(abs(value))) - math.floor(math.log10(step) + 1e-9) + 1
        mantissa, exponent = f"{value:.{max(digits, 0)}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}{unit}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if round(step * 10**decimals, 6) % 1:
        decimals += 1
    return f"{value:,.{decimals}f}{unit}"


def axes(x_axis: Axis, y_axis: Axis, x_label: str, y_label: str) -> dict[str, Any]:
    """Ticks in percent of the area, and the room that the y labels need."""
    return {
        "x_ticks": [(round(100 * p, 2), text) for p, text in x_axis.ticks],
        "y_ticks": [(round(100 * p, 2), text) for p, text in y_axis.ticks],
        "x_label": x_label,
        "y_label": y_label,
        "gutter": max((len(text) for _, text in y_axis.ticks), default=1),
    }
