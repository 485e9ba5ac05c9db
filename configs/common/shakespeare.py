"""nanoGPT's recipe of characters on Tiny Shakespeare (karpathy/nanoGPT, train_shakespeare_char)."""

from typing import Any

LINES, LONGEST = 20_069, 36


def gpt(
    *, width: int, depth: int, heads: int, dropout: float, block: int, batch: int, steps: int
) -> dict[str, Any]:
    """The sections that its sizes share: the model, the data but for its splits, the optimizer."""
    return {
        "model": {
            "name": "text.gpt",
            "width": width,
            "depth": depth,
            "heads": heads,
            "use_bias": False,
            "dropout_rate": dropout,
            "attention_dropout_rate": dropout,
        },
        "data": {
            "pipeline": "blocks",
            "source": {"name": "tiny_shakespeare"},
            "tokenizer": {"name": "characters", "vocab_size": 65},
            "block_size": block,
            "batch_size": batch,
        },
        "task": {"name": "language_modelling"},
        "algorithm": {"name": "supervised"},
        "optimizer": {
            "name": "adamw",
            "learning_rate": 1e-3,
            "schedule": "cosine",
            "warmup_steps": 100,
            "decay_steps": steps,
            "end_factor": 0.1,
            "b2": 0.99,
            "clip_norm": 1.0,
            "weight_decay": 0.1,
            # Every matrix, those of tokens and positions too.
            "decay_paths": ("kernel$", "embedding$"),
        },
    }


def lines(batch_size: int, inverted: float) -> dict[str, Any]:
    """The section `data` of lines, of which a share has two words inverted."""
    return {
        "pipeline": "texts",
        "source": {"name": "tiny_shakespeare", "unit": "lines", "inverted": inverted},
        "tokenizer": {"name": "wordpiece", "vocab_size": 1_000, "lowercase": True},
        "batch_size": batch_size,
        "eval_batch_size": 128,
        "max_length": LONGEST,
        "bucket_lengths": (16, 24),
    }
