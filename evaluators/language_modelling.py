"""How well a text is foretold: nats, bits and perplexity of a whole split, every token once.

The loss of all tokens is summed before anything is made of it: a perplexity is the exponential of
the mean, and no mean of the batches' perplexities.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluators.common.passes import MeanSum, each_batch, plain, unpadded
from evaluators.common.text import decoder
from training.contracts import Algorithm, ConfigError, Pipeline, Report, TrainState


@dataclass(frozen=True)
class Config:
    """Attributes:

    characters: whether bits are also counted by the character of the targets' text, which compares
      models of different tokenizers, of characters and of bytes: others do not say all of a text.
    """

    characters: bool = False


TINY: dict[str, Any] = {}


def build(
    config: Config, algorithm: Algorithm, pipeline: Pipeline, environment: Any
) -> Callable[[Any, TrainState], Report]:
    """Returns run(compiled, state) -> Report.

    Scalars by member: nats and bits_per_token, means over all tokens that are asked for;
    perplexity; with `characters` bits_per_character. The task's metric "loss" is in nats a token;
    with `characters` batches hold "targets" [b, l].

    Raises:
      ConfigError: `characters`, and a tokenizer that loses some.
    """
    del environment
    members = algorithm.members
    decode = decoder(pipeline, "tokens")
    if config.characters and not pipeline.lossless:
        raise ConfigError(
            "evaluators: characters of 'language_modelling' needs data.tokenizer.name=characters "
            "or bpe, without lowercase: this one does not keep all of a text"
        )

    def run(compiled: Any, state: TrainState) -> Report:
        total, characters = MeanSum(), np.zeros(members)
        for _, batch, key in each_batch(compiled, state, pipeline):
            total.add({"loss": compiled.evaluate(state, batch, key)["loss"]})
            if config.characters:
                characters += _characters(batch, decode, members)
        nats = np.asarray(total.compute()["loss"], np.float64)
        bits = nats / math.log(2.0)
        scalars = {"nats": nats, "bits_per_token": bits, "perplexity": np.exp(nats)}
        if config.characters:
            tokens = total.counts()["loss"]
            scalars["bits_per_character"] = bits * tokens / characters.reshape(nats.shape)
        return Report({name: plain(value) for name, value in scalars.items()})

    return run


def _characters(batch: Any, decode: Callable[..., str], members: int) -> np.ndarray:
    """Of the text of each member's targets, [m]."""
    if "targets" not in batch:
        raise ConfigError("evaluators: characters of 'language_modelling' needs a language's data")
    read = {name: batch[name] for name in ("targets", "mask")}
    each = unpadded({}, read, members)
    return np.array([sum(len(decode(row[row >= 0])) for row in one["targets"]) for one in each])
