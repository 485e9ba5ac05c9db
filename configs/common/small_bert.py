"""A BERT that two cores can train: its masked language model, and what is learned from it."""

from typing import Any

from configs.common import text_classes
from configs.common.epochs import steps

SCRATCH = "scratch"
# Texts of a batch, of which the configs' `data` has as many.
MASKED_BATCH, CLASSES_BATCH = 64, 32


def masked(data: dict[str, Any], examples: int) -> dict[str, Any]:
    """All sections of 40 epochs of guessing the masked words of `data`."""
    epoch = steps(1, examples, MASKED_BATCH)
    return {
        "model": _model("mlm", data["max_length"]),
        "data": data,
        "task": {"name": "masked_language_modelling"},
        "algorithm": {"name": "supervised"},
        "optimizer": text_classes.optimizer(1e-3, epoch),
        "evaluators": (
            {"name": "standard", "split": "val", "every": 5 * epoch},
            {"name": "standard", "split": "test"},
        ),
        "train": {"steps": 40 * epoch, "log_every": epoch, "save_every": 5 * epoch},
        "baseline": {
            "kind": "own",
            "metric": "test/loss",
            "direction": "min",
            "protocol": "15 % of the pieces, the same ones in every evaluation; last weights",
        },
    }


def classes(
    data: dict[str, Any], examples: int, protocol: str, arg: str, weights: str
) -> dict[str, Any]:
    """All sections of 5 epochs of classes from the weights in the folder `arg`, or from scratch.

    Beside the row from scratch stands the one from `weights`.
    """
    epoch = steps(1, examples, CLASSES_BATCH)
    scratch = arg == SCRATCH
    more = {} if scratch else {"init_from": arg}
    return {
        "model": _model("classes", data["max_length"]),
        "data": data,
        "task": {"name": "sequence_classification"},
        "algorithm": {"name": "supervised"},
        "optimizer": text_classes.optimizer(3e-4, epoch),
        "evaluators": text_classes.evaluators(epoch),
        "train": text_classes.train(5 * epoch, epoch, **more),
        "baseline": text_classes.own(protocol, beside=(weights,) if scratch else ()),
    }


def _model(head: str, max_length: int) -> dict[str, Any]:
    """The section `model`."""
    return {
        "name": "text.bert",
        "head": head,
        "width": 128,
        "depth": 4,
        "heads": 4,
        "mlp_width": 512,
        "max_length": max_length,
    }
