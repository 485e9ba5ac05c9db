"""What the recipes on ZINC-12k share."""

from typing import Any

# Updates in an epoch of 10 000 molecules, by batch size.
EPOCH = {128: 79, 256: 40}


def data(batch_size: int, **more: Any) -> dict[str, Any]:
    """The section `data`."""
    return {
        "pipeline": "graphs",
        "source": {"name": "zinc"},
        "batch_size": batch_size,
        "num_buckets": 2,
        **more,
    }


def evaluators(epoch: int) -> tuple[dict[str, Any], ...]:
    """Validation error after every epoch; the test molecules once."""
    return (
        {"name": "regression", "split": "val", "every": epoch},
        {"name": "regression", "split": "test"},
    )


def train(epoch: int, epochs: int, **more: Any) -> dict[str, Any]:
    """The section `train`: the weights of the least validation error are tested."""
    return {
        "steps": epoch * epochs,
        "log_every": epoch,
        "save_every": 10 * epoch,
        "select": {"metric": "val/mae", "mode": "min"},
        "test_weights": "best",
        **more,
    }


def baseline(value: float, spread: float, source: str, protocol: str) -> dict[str, Any]:
    """The section `baseline`: mean absolute error over 4 runs."""
    return {
        "kind": "published",
        "metric": "test/mae",
        "direction": "min",
        "value": value,
        "spread": {"kind": "seeds", "value": spread, "n": 4},
        "source": source,
        "protocol": protocol,
        "verified": True,
        "not_run_here": "needs an accelerator: days on 2 cores",
    }
