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
