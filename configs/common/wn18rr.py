"""The recipe of knowledge-graph scorers on WN18RR.

Relations have an inverse of their own; the vectors are held down by a nuclear 3-norm penalty
(Lacroix et al. 2018, arXiv:1806.07297) and by dropout on the queries (Ruffinelli et al. 2020,
"You CAN teach an old dog new tricks"). Both were chosen on the validation facts.
"""

from typing import Any


def scorer(name: str, baseline: dict[str, Any], **model: Any) -> dict[str, Any]:
    """Every section but what `model` and `baseline` change."""
    return {
        "model": {"name": "graph.knowledge_graph", "scorer": name, "reciprocal": True, **model},
        "data": {
            "pipeline": "triples",
            "source": {"name": "knowledge_graph", "dataset": "wn18rr"},
            "batch_size": 512,
        },
        "task": {
            "name": "knowledge_graph",
            "negatives": 2048,
            "penalty": 0.1,
            "dropout_rate": 0.5,
        },
        "algorithm": {"name": "supervised"},
        "optimizer": {"name": "adam", "learning_rate": 3e-3, "schedule": "cosine"},
        "evaluators": (
            {"name": "knowledge_ranking", "split": "val", "every": 850},
            {"name": "knowledge_ranking", "split": "test"},
        ),
        "train": {
            "steps": 6800,
            "log_every": 170,
            "save_every": 850,
            "select": {"metric": "val/mrr", "mode": "max"},
            "test_weights": "best",
        },
        "baseline": {"metric": "test/mrr", **baseline},
    }
