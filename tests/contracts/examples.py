"""What a part is tried on when no config is at hand: one small batch a field, one model a task."""

from typing import Any

import numpy as np

from training.contracts import Info

BATCH = 4


def images(seed: int = 0) -> dict[str, np.ndarray]:
    """Colour images that patches of 16 pixels tile."""
    rng = np.random.default_rng(seed)
    return {
        "image": rng.normal(size=(BATCH, 32, 32, 3)).astype("f4"),
        "label": rng.integers(0, 7, BATCH).astype("i4"),
    }


# Field of models/<field>/ -> (a task that its models serve, the data's Info, a batch of a seed).
FIELDS: dict[str, tuple[str, Info, Any]] = {
    "vision": ("classification", Info({"train": 64}, num_classes=7), images),
}
# Task -> a model that it is tried with.
TASKS: dict[str, str] = {"classification": "vision.vit"}


def of_model(name: str) -> tuple[str, Info, Any]:
    """The entry of a model's field."""
    field = name.partition(".")[0]
    assert field in FIELDS, (
        f"tests/contracts/examples.py: give the field {field} a task and a batch"
    )
    return FIELDS[field]


def of_task(name: str) -> str:
    """The model that a task is tried with."""
    assert name in TASKS, f"tests/contracts/examples.py: give the task {name} a model"
    return TASKS[name]
