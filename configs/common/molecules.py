"""What the recipes on small molecules share."""

from typing import Any


def esol(split: str) -> dict[str, Any]:
    """Delaney's solubilities (log mol/L), 80/10/10 by "random" or "scaffold"."""
    return {
        "pipeline": "graphs",
        "source": {"name": "moleculenet", "dataset": "esol", "split": split},
        "batch_size": 32,
        "num_buckets": 2,
    }


def evaluators(every: int) -> tuple[dict[str, Any], ...]:
    """Validation error every so many updates; the test molecules once, the worst of them drawn."""
    return (
        {"name": "regression", "split": "val", "every": every},
        {"name": "regression", "split": "test"},
        {"name": "molecules", "split": "test"},
    )


def select(steps: int) -> dict[str, Any]:
    """The section `train`: three splits at once, each testing its best weights on validation."""
    return {
        "steps": steps,
        "log_every": 200,
        "ensemble": 3,
        "ensemble_by": "loop",
        "ensemble_data": "own",
        "select": {"metric": "val/rmse", "mode": "min"},
        "test_weights": "best",
    }
