"""What classifiers of SST-2's 6,920 sentences share."""

from typing import Any

EXAMPLES = 6_920


def data(tokenizer: dict[str, Any], batch_size: int, max_length: int = 64) -> dict[str, Any]:
    """The section `data`; the published splits train, val (dev) and test."""
    return {
        "pipeline": "texts",
        "source": {"name": "sst2"},
        "tokenizer": tokenizer,
        "batch_size": batch_size,
        "eval_batch_size": 128,
        "max_length": max_length,
        "bucket_lengths": (16, 32),
        "too_long": "truncate",
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


WORDS = {"name": "words", "lowercase": True, "vocab_size": 14_000}


def bilstm() -> dict[str, Any]:
    """The section `model` of google/flax's example, but for how it sums a text up."""
    return {
        "name": "text.rnn",
        "head": "classes",
        "cell": "lstm",
        "bidirectional": True,
        "embedding_width": 300,
        "width": 256,
        "pool": "max",
        "dropout_rate": 0.5,
    }


PIECES = {"name": "wordpiece", "vocab_size": 4_000, "lowercase": True}


def small_bert(head: str) -> dict[str, Any]:
    """The section `model` of a BERT that two cores can train."""
    return {
        "name": "text.bert",
        "head": head,
        "width": 128,
        "depth": 4,
        "heads": 4,
        "mlp_width": 512,
        "max_length": 64,
    }


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
