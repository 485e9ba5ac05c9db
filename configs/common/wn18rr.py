"""The recipe of knowledge-graph scorers on WN18RR."""

from typing import Any


def scorer(name: str, baseline: dict[str, Any], **model: Any) -> dict[str, Any]:
    """Every section but what `model` and `baseline` change."""
    return {
        "model": {"name": "graph.knowledge_graph", "scorer": name, **model},
        "data": {
            "pipeline": "triples",
            "source": {"name": "knowledge_graph", "dataset": "wn18rr"},
            "batch_size": 512,
        },
        "task": {"name": "knowledge_graph", "negatives": 2048, "penalty": 0.05},
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
