"""Addition as a translation of characters: "12+345" to "=357", computed.

The problem of google/flax's example seq2seq (max_len_query_digit 3): a number of up to two digits
and one of up to `digits`, the smaller first. There training draws its examples and may have seen
those that it is tested on; here every pair is in one split. 12 characters are all that there are.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.sources.common.published import Published
from data.text.kinds import Texts
from training.contracts import ConfigError, Info

_NAME = "addition"
ALPHABET = "+0123456789="
_SHORTER = 2
_MOST_DIGITS = 4


@dataclass(frozen=True)
class Config:
    """Attributes:

    digits: of the longer number, 1 to 4.
    held_out: the fraction of pairs for "val", and that for "test".
    split_seed: draws the split.
    """

    digits: int = 3
    held_out: float = 0.05
    split_seed: int = 0


TINY: dict[str, object] = {}


def build(config: Config) -> Published:
    """The source: splits "train", "val" and "test"; ConfigError for a value out of range."""
    if not 1 <= config.digits <= _MOST_DIGITS:
        raise ConfigError(
            f"data.source.digits is {config.digits}: accepted are 1 to {_MOST_DIGITS}"
        )
    if not 0 < config.held_out < 0.5:
        raise ConfigError(
            f"data.source.held_out is {config.held_out}: it must be between 0 and 0.5"
        )
    total = _number_of_pairs(config.digits)
    held = max(1, int(config.held_out * total))
    return Published(
        name=_NAME,
        form="translation",
        info=Info({"train": total - 2 * held, "val": held, "test": held}),
        pipelines=("texts",),
        identity=repr(config),
        read=functools.partial(_computed, config, held),
        made_up=functools.partial(_made_up, config.digits),
        alphabet=ALPHABET,
    )


def _number_of_pairs(digits: int) -> int:
    shorter, longer = 10 ** min(digits, _SHORTER), 10**digits
    return shorter * longer - shorter * (shorter - 1) // 2


def _example(one: int, other: int) -> tuple[str, str]:
    return f"{one}+{other}", f"={one + other}"


def _made_up(digits: int, rng: np.random.Generator) -> dict[str, Any]:
    numbers = sorted((rng.integers(10 ** min(digits, _SHORTER)), rng.integers(10**digits)))
    source, target = _example(*map(int, numbers))
    return {"source": source, "target": target}


@functools.lru_cache(maxsize=3)
def _computed(config: Config, held: int, split: str) -> Texts:
    shorter, longer = 10 ** min(config.digits, _SHORTER), 10**config.digits
    pairs = np.concatenate(
        [np.stack(np.broadcast_arrays(a, np.arange(a, longer)), axis=1) for a in range(shorter)]
    )
    order = np.random.default_rng((config.split_seed, 0xADD)).permutation(len(pairs))
    parts = dict(zip(("val", "test", "train"), np.split(order, [held, 2 * held]), strict=True))
    examples = [_example(int(a), int(b)) for a, b in pairs[parts[split]]]
    return Texts({"source": [s for s, _ in examples], "target": [t for _, t in examples]})
