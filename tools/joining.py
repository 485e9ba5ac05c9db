"""More repeats for a record whose runs are on another machine, or gone: its numbers stay."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tools import outcomes, recorded


def joined(row: outcomes.Row, new: Mapping[str, Any]) -> dict[str, Any]:
    """The record of the row's repeats and the new ones.

    The new record alone where the row has none, has one of another config, or has one of these
    seeds, which was then measured again.
    """
    old = row.record
    if old is None or outcomes.changed(old["resolved"], row.values):
        return dict(new)
    if set(old["values"]) & set(new["values"]):
        return dict(new)
    values = {**old["values"], **new["values"]}
    counts = len(old["values"]), len(new["values"])
    common = sorted(set(old["scalars"]) & set(new["scalars"]))
    both = {
        **new,
        "values": values,
        **recorded.summary(list(values.values())),
        "seconds": round(old["seconds"] + new["seconds"], 1),
        "steps": max(old["steps"], new["steps"]),
        "scalars": {k: _mean((old["scalars"][k], new["scalars"][k]), counts) for k in common},
        "runs": [*old["runs"], *new["runs"]],
        "curves": _curves(old["curves"], new["curves"], counts),
    }
    return outcomes.judged(row, both)


def _mean(values: Sequence[float | None], counts: tuple[int, int]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.average(known, weights=counts)) if len(known) == len(values) else None


def _curves(old: Mapping[str, Any], new: Mapping[str, Any], counts: tuple[int, int]) -> Any:
    """What both have, at the steps that both have, where these are more than one."""
    found: dict[str, dict[str, list[Any]]] = {}
    for name in [name for name in new if name in old]:
        for split in [split for split in new[name] if split in old[name]]:
            before = {point[0]: point[1:] for point in old[name][split]}
            points = [
                [step, *_pooled((before[step], rest), counts)]
                for step, *rest in new[name][split]
                if step in before and None not in (before[step][0], rest[0])
            ]
            if len(points) > 1:
                found.setdefault(name, {})[split] = points
    return found


def _pooled(points: Sequence[Sequence[float | None]], counts: tuple[int, int]) -> list[float]:
    """[mean, std] of two groups of which these are known; a group of one has no std."""
    means = np.array([mean for mean, _ in points], float)
    squares = [(n - 1) * (std or 0.0) ** 2 for (_, std), n in zip(points, counts, strict=True)]
    between = counts[0] * counts[1] / sum(counts) * (means[0] - means[1]) ** 2
    std = np.sqrt((sum(squares) + between) / (sum(counts) - 1))
    return [float(f"{value:.4g}") for value in (np.average(means, weights=counts), std)]
