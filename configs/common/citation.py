"""What the recipes of graph networks on the three citation graphs share.

Planetoid's split (Yang et al. 2016, arXiv:1603.08861): 20 labelled nodes a class to train on, 500
to validate, 1000 to test; features are words, each node's summing to 1.
"""

from typing import Any


def data(dataset: str, normalise: bool = True) -> dict[str, Any]:
    """The section `data`: full batches."""
    return {
        "pipeline": "nodes",
        "source": {"name": "planetoid", "dataset": dataset, "normalise": normalise},
    }


def seen(dataset: str) -> dict[str, Any]:
    """The same; training leaves out what the labelled nodes cannot see through two layers."""
    return data(dataset) | {"receptive_field": 2}


def evaluators(*pictures: str) -> tuple[dict[str, Any], ...]:
    """Validation after every update, as the stopping rules read it; the test nodes once."""
    drawn = tuple({"name": name, "split": "test"} for name in pictures)
    return (
        {"name": "standard", "split": "val", "every": 1},
        {"name": "standard", "split": "test"},
        {"name": "classification", "split": "test"},
        *drawn,
    )


def gcn(dataset: str, baseline: float) -> dict[str, Any]:
    """Every section of the table's GCN; `baseline` is the accuracy that it states."""
    return {
        "model": {"name": "graph.gcn", "hidden": 16, "dropout_rate": 0.5},
        "data": seen(dataset),
        # The penalty lies on the first layer alone, and in the loss that stops.
        "task": {"name": "node_classification", "l2": 5e-4, "l2_paths": ("layer_00",)},
        "algorithm": {"name": "supervised"},
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "evaluators": evaluators("embedding"),
        "train": {
            "steps": 200,
            "log_every": 20,
            "ensemble": 100,
            "ensemble_by": "loop",
            "select": {"metric": "val/loss", "mode": "min"},
            "stopping": {"rule": "moving_mean", "window": 10, "loss": "val/loss"},
            "test_weights": "last",
        },
        "baseline": {
            "kind": "published",
            "metric": "test/accuracy",
            "value": baseline,
            "source": "arXiv:1609.02907, table 2",
            "protocol": "mean of 100 initialisations on Planetoid's split, stopped on validation "
            "loss, last weights",
            "verified": True,
        },
    }


def gat(dataset: str, baseline: float, spread: float) -> dict[str, Any]:
    """Every section of the table's GAT; `baseline` +- `spread` is the accuracy that it states."""
    return {
        "model": {"name": "graph.gat", "hidden": 8, "heads": 8, "output_heads": 1},
        "data": seen(dataset),
        "task": {"name": "node_classification"},
        "algorithm": {"name": "supervised"},
        # PetarV-/GAT puts L2 on every parameter; Adam sees it in the gradient.
        "optimizer": {
            "name": "adam",
            "learning_rate": 0.005,
            "weight_decay": 5e-4,
            "decay_paths": ("",),
        },
        "evaluators": evaluators("embedding", "graph_attention"),
        "train": {
            "steps": 100_000,
            "log_every": 100,
            "ensemble": 100,
            "ensemble_by": "loop",
            "select": {"metric": "val/accuracy", "mode": "max"},
            "stopping": {
                "rule": "either_or_both",
                "patience": 100,
                "loss": "val/loss",
                "accuracy": "val/accuracy",
            },
            "test_weights": "best",
        },
        "baseline": {
            "kind": "published",
            "metric": "test/accuracy",
            "value": baseline,
            "spread": {"kind": "seeds", "value": spread, "n": 100},
            "source": "arXiv:1710.10903, table 2",
            "protocol": "mean of 100 runs on Planetoid's split; patience 100 on validation loss or "
            "accuracy, weights of the last time that both were best; here 20 runs",
            "verified": True,
        },
    }


def gae(variational: bool, baseline: float) -> dict[str, Any]:
    """Every section of the table's graph auto-encoders on Cora; `baseline` is the AUC."""
    return {
        "model": {
            "name": "graph.gae",
            "variational": variational,
            "hidden": 32,
            "embedding": 16,
        },
        "data": {**data("cora", normalise=False), "pipeline": "links"},
        "task": {"name": "link_prediction"},
        "algorithm": {"name": "supervised"},
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "evaluators": (
            {"name": "link_ranking", "split": "val", "every": 20},
            {"name": "link_ranking", "split": "test"},
        ),
        "train": {
            "steps": 200,
            "log_every": 20,
            "ensemble": 10,
            "ensemble_by": "loop",
            "ensemble_data": "own",
        },
        "baseline": {
            "kind": "published",
            "metric": "test/auc",
            "value": baseline,
            "tolerance": 0.015,
            "source": "arXiv:1611.07308, table 1",
            "protocol": "85/5/10 % of the edges, 200 epochs, last weights, mean of 10 splits",
            "verified": True,
        },
    }
