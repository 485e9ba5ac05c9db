"""What translations of Multi30k share: the protocol of bentrevett/pytorch-seq2seq."""

from typing import Any

EXAMPLES, BATCH = 29_000, 128
# The notebooks': <unk> <pad> <sos> <eos> and no mask. A fifth special token, or room for two more
# entries, would shift every id and give the softmax rows that no text trains.
SPECIALS = ("pad", "unk", "bos", "eos")
# Words that come twice or more (7,849 and 5,889), and the special tokens.
GERMAN, ENGLISH = 7_853, 5_893
# Rows of batches of any texts, whose longest has 30 words in the median.
BOUNDS = (16, 24, 28, 32, 36, 40)


def data(bounds: tuple[int, ...] = BOUNDS, mixed: bool = True) -> dict[str, Any]:
    """The section `data`: words by spaCy's rules, lower-cased, those seen once unknown.

    The notebooks' batches hold texts of any lengths: the BucketIterator of their torchtext sorts
    training texts only with `sort_within_batch`, which they do not set.
    """
    words = {"name": "words", "lowercase": True, "min_frequency": 2, "specials": SPECIALS}
    return {
        "pipeline": "texts",
        "source": {"name": "multi30k"},
        "source_tokenizer": {**words, "splitter": "spacy:de", "vocab_size": GERMAN},
        "tokenizer": {**words, "splitter": "spacy:en", "vocab_size": ENGLISH},
        "batch_size": BATCH,
        "max_length": 48,
        "bucket_lengths": bounds,
        "mixed": mixed,
    }


def evaluators(epoch: int) -> tuple[dict[str, Any], ...]:
    """Validation after every epoch; the test set once."""
    return (
        {"name": "standard", "split": "val", "every": epoch},
        {"name": "standard", "split": "test"},
        {"name": "language_modelling", "split": "test"},
        {"name": "translation", "split": "test"},
        {"name": "text_attention", "split": "test"},
    )


def train(steps: int, epoch: int) -> dict[str, Any]:
    """The section `train`: the weights of the best validation loss are tested."""
    return {
        "steps": steps,
        "log_every": 50,
        "save_every": epoch,
        "select": {"metric": "val/loss", "mode": "min"},
        "test_weights": "best",
    }


def baseline(value: float, notebook: str) -> dict[str, Any]:
    """The section `baseline`."""
    return {
        "kind": "published",
        "metric": "test/bleu",
        "value": value,
        "source": f"bentrevett/pytorch-seq2seq, {notebook}",
        "protocol": "de to en, test2016, 10 epochs, best validation loss, greedy; unsmoothed "
        "corpus BLEU-4 on lower-cased words",
        "verified": True,
    }
