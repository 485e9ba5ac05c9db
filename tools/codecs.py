"""The tokenizers of a run: a user's own text as the ids that its model reads."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from data import splits
from data.text import tokenizers
from data.text.coded import AnyCodec, Texting
from data.text.kinds import FORMS
from tools import pipelines
from training.contracts import ConfigError, DataError


def of_run(values: Mapping[str, Any]) -> dict[str, AnyCodec]:
    """By field of the texts ("text"; "source" and "target") those of a resolved config.

    Raises ConfigError where the run reads no text.
    """
    config: Any
    source: Any
    config, source = pipelines.build_source(values)
    if not hasattr(config, "tokenizer"):
        raise ConfigError(f"data.pipeline is {values['data']['pipeline']!r}, which reads no text")
    training = splits.choose(config.splits, source.info.num_examples, "train")
    fields = tuple(field for field in FORMS[source.form] if field != "tags")
    own: dict[tuple[str, ...], tokenizers.Config] = {fields: config.tokenizer}
    other = getattr(config, "source_tokenizer", None)
    if other is not None and other.name:
        own = {("source",): other, ("target",): config.tokenizer}
    return Texting(source, training, own, values["smoke"]).codecs()


def encode(codec: AnyCodec, text: str, where: str) -> list[int]:
    """The ids of a text, without special tokens.

    Raises ConfigError for a text that is empty, or that the vocabulary cannot spell.
    """
    try:
        ids, _ = codec.encode([text])
    except DataError as error:
        raise ConfigError(f"{where}: {error}") from error
    if not len(ids):
        raise ConfigError(f"{where} holds no token: there is nothing to go on from")
    return np.asarray(ids).tolist()


def around(codec: AnyCodec, ids: list[int]) -> list[int]:
    """A text between bos and eos, where there are such, as data.pipeline=texts has it."""
    special = {name: [codec.special[name]] for name in ("bos", "eos") if name in codec.special}
    return [*special.get("bos", ()), *ids, *special.get("eos", ())]
