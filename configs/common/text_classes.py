"""What classifiers of texts share."""

from typing import Any


def optimizer(learning_rate: float, warmup_steps: int) -> dict[str, Any]:
    """The section `optimizer`: BERT's, with a linear fall to 0."""
    return {
        "name": "adamw",
        "learning_rate": learning_rate,
        "schedule": "linear",
        "warmup_steps": warmup_steps,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
    }


def evaluators(every: int, *pictures: str) -> tuple[dict[str, Any], ...]:
    """Validation as often as said; the test set once."""
    return (
        {"name": "standard", "split": "val", "every": every},
        {"name": "standard", "split": "test"},
        {"name": "classification", "split": "test"},
        *({"name": name, "split": "test"} for name in pictures),
    )


def train(steps: int, every: int, **more: Any) -> dict[str, Any]:
    """The section `train`: the weights of the best accuracy on dev are tested."""
    return {
        "steps": steps,
        "log_every": every,
        "save_every": every,
        "select": {"metric": "val/accuracy", "mode": "max"},
        "test_weights": "best",
        **more,
    }


def own(text: str, **more: Any) -> dict[str, Any]:
    """The section `baseline` of a number that nobody published."""
    return {"kind": "own", "metric": "test/accuracy", "protocol": text, **more}
