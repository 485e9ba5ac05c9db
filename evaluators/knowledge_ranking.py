"""Where the true entity stands among all candidates: filtered mean reciprocal rank and Hits@k.

Bordes et al. 2013: each fact is asked for its tail and for its head; other true answers are left
out, which the task does; ties get the mean of their ranks (Sun et al. 2020, arXiv:1911.03903), so
that a scorer that says the same of all is as bad as chance. Letters: `n` facts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.common.passes import collect, each_batch, unpadded
from training.config import bounded
from training.contracts import Algorithm, Pipeline, Report, TrainState
from training.figures import TextTable

SIDES = ("tail", "head")


@dataclass(frozen=True)
class Config:
    """Attributes:

    hits: the k of Hits@k, the share of ranks up to k.
    """

    hits: tuple[int, ...] = (1, 3, 10)


TINY: dict[str, Any] = {}


def build(
    config: Config, algorithm: Algorithm, pipeline: Pipeline, environment: Any
) -> Callable[[Any, TrainState], Report]:
    """Returns run(compiled, state) -> Report.

    Scalars by member: mrr, hits1, hits3, hits10 and mean_rank, over tails and heads alike; a figure
    tells them apart. The algorithm predicts "tail_rank" and "head_rank" [b].
    """
    del environment
    for k in config.hits:
        bounded(k, 1, float("inf"), "evaluators: hits of 'knowledge_ranking'")
    members = algorithm.members

    def run(compiled: Any, state: TrainState) -> Report:
        parts = []
        for _, batch, key in each_batch(compiled, state, pipeline):
            ranks = compiled.predict(state, batch, key)
            parts.append(unpadded(ranks, {"mask": batch["mask"]}, members))
        each = [
            {s: np.concatenate([part[i][f"{s}_rank"] for part in parts]) for s in SIDES}
            for i in range(members)
        ]
        both = [np.concatenate([ranks[side] for side in SIDES]) for ranks in each]
        scalars = collect([summary(ranks, config.hits) for ranks in both])
        where = "" if members == 1 else f" (member 0 of {members})"
        return Report(scalars, {"sides": _table(each[0], config.hits, where)})

    return run


def summary(ranks: np.ndarray, hits: tuple[int, ...]) -> dict[str, float]:
    """{"mrr", "mean_rank", "hits1", ...} of ranks [n], 1 the best."""
    ranks = np.asarray(ranks, np.float64)
    found = {"mrr": float((1.0 / ranks).mean()), "mean_rank": float(ranks.mean())}
    return found | {f"hits{k}": float((ranks <= k).mean()) for k in hits}


def _table(ranks: dict[str, np.ndarray], hits: tuple[int, ...], where: str) -> TextTable:
    found = {side: summary(ranks[side], hits) for side in SIDES}
    columns = ("asked for", "MRR", *(f"Hits@{k}" for k in hits), "mean rank")
    rows = tuple(
        (
            f"the {side}",
            f"{one['mrr']:.3f}",
            *(f"{one[f'hits{k}']:.3f}" for k in hits),
            f"{one['mean_rank']:,.1f}",
        )
        for side, one in found.items()
    )
    return TextTable(f"Filtered ranks{where}", columns, rows)
