"""The one rule that says whether a run reproduces its baseline.

Metrics are in their own unit, accuracies in [0, 1].
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.wording import is_percentage, show

REPEATS = 5
FEWEST_REPEATS = 3
# A row that takes longer than this by its whole protocol may have fewer repeats, and says so.
LONG_SECONDS = 3600.0
# A rerun of what has not changed is refused once in a thousand times.
RERUN_CONFIDENCE = 0.999
# Where neither the config nor the paper's spread gives a tolerance, in the metric's own unit.
DEFAULT_TOLERANCES = {
    "accuracy": 0.005,
    "top5": 0.005,
    "macro_f1": 0.01,
    "roc_auc": 0.005,
}
# Of any other metric: this share of the published value.
DEFAULT_SHARE = 0.02


@dataclass(frozen=True)
class Verdict:
    """The rule's answer.

    Attributes:
      word: REPRODUCED | SHORT | FEW SEEDS | NOT JUDGED | UNVERIFIED | REDUCED | OWN; of what was
        not run NOT RUN HERE, with its reason, or NOT RUN.
      sentence: why, for a person.
      bound: the value that the worse end of the interval must reach; None where nothing is judged.
    """

    word: str
    sentence: str
    bound: float | None = None


def tolerance(baseline: Mapping[str, Any]) -> float:
    """The config's, else two standard errors of the published mean, else the metric's default."""
    if baseline.get("tolerance") is not None:
        return float(baseline["tolerance"])
    spread = baseline.get("spread") or {}
    kind, value, n = spread.get("kind"), spread.get("value") or 0.0, spread.get("n") or 0
    if kind == "ci95" and value:
        return float(value)
    if kind in ("seeds", "folds", "splits") and value and n:
        return 2 * float(value) / math.sqrt(n)
    name = str(baseline.get("metric", "")).rsplit("/", 1)[-1]
    return DEFAULT_TOLERANCES.get(name, DEFAULT_SHARE * abs(float(baseline["value"])))


def repeats_needed(baseline: Mapping[str, Any]) -> int:
    """At least 5; fewer where the protocol has fewer, never under 3."""
    spread = baseline.get("spread") or {}
    n = spread.get("n") or 0
    repeats = n and spread.get("kind") in ("seeds", "folds", "splits", "ci95")
    return min(REPEATS, max(FEWEST_REPEATS, n)) if repeats else REPEATS


def judge(
    baseline: Mapping[str, Any],
    values: Sequence[float],
    interval: Sequence[float] | None,
    seconds: float = 0.0,
    members: int = 1,
) -> Verdict:
    """The verdict on finished runs.

    Args:
      baseline: the config's section `baseline`, as plain values.
      values: the metric of each repeat.
      interval: the 95 % t-interval of their mean; None for a single repeat.
      seconds: what all repeats took together.
      members: repeats that the config itself makes: fewer are not its protocol.
    """
    published, metric = baseline.get("value"), str(baseline.get("metric", ""))
    if not values:
        reason = baseline.get("not_run_here")
        return Verdict("NOT RUN HERE", reason) if reason else Verdict("NOT RUN", "No record yet.")
    if baseline.get("reduced"):
        return Verdict(
            "REDUCED",
            f"A smaller protocol than the paper's: {baseline['reduced']}. Only a rerun is held "
            "against this number.",
        )
    if baseline.get("kind") != "published" or published is None:
        return Verdict("OWN", "Nobody published a number for this: the value is the project's own.")
    if not baseline.get("verified"):
        return Verdict(
            "UNVERIFIED", "The source of the published number was not read: it judges nothing."
        )
    needed = max(repeats_needed(baseline), members)
    if len(values) < needed or interval is None:
        if seconds / len(values) * needed >= LONG_SECONDS:
            return Verdict(
                "FEW SEEDS",
                f"{show(sum(values) / len(values), metric)} by {len(values)} of {needed} repeats, "
                f"which together take hours; {show(published, metric)} published.",
            )
        return Verdict(
            "NOT JUDGED", f"{len(values)} of at least {needed} repeats: measured, not yet judged."
        )
    allowed = tolerance(baseline)
    smaller = baseline.get("direction") == "min"
    bound = published + allowed if smaller else published - allowed
    worse = max(interval) if smaller else min(interval)
    distance = worse - bound if smaller else bound - worse
    end = f"The worse end of the 95 % interval, {show(worse, metric)},"
    terms = f"{show(published, metric)} published, tolerance {gap(allowed, metric)}"
    limit = f"{show(bound, metric)} ({terms})"
    if distance <= 0:
        return Verdict("REPRODUCED", f"{end} is no worse than {limit}.", bound)
    return Verdict("SHORT", f"{end} misses {limit} by {gap(distance, metric)}.", bound)


def of_another_config(differences: str) -> Verdict:
    """The verdict on a record whose config has changed since, by what has."""
    return Verdict("NOT JUDGED", f"Measured by another config: {differences}. Measure it again.")


def rerun_allowance(values: Sequence[float], repeats: int) -> float:
    """How far the mean of `repeats` new values may lie from the mean of the recorded ones.

    t(.9995, n - 1) s sqrt(1/n + 1/m) of n recorded values with standard deviation s and m repeats.

    Raises ValueError for fewer than two values: they have no spread.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"{n} recorded values: a rerun is held against at least 2")
    from scipy.special import stdtrit  # half a second, which training need not wait for

    quantile = float(stdtrit(n - 1, (1 + RERUN_CONFIDENCE) / 2))
    return quantile * statistics.stdev(values) * math.sqrt(1 / n + 1 / repeats)


def gap(value: float, metric: str) -> str:
    """A difference of two values: of percentages, in points."""
    return f"{100 * value:.2g} points" if is_percentage(metric) else f"{value:.3g}"
