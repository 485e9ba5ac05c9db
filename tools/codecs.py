"""The tokenizers of a run: a user's own text as the ids that its model reads."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from data.text.coded import AnyCodec
from tools import find, pipelines
from training.contracts import ConfigError, DataError


def of_run(values: Mapping[str, Any]) -> dict[str, AnyCodec]:
    """By field of the texts ("text"; "source" and "target") those of a resolved config.

    Raises ConfigError where the run reads no text.
    """
    name = values["data"]["pipeline"]
    module = find.part("data.pipeline", name)
    if not hasattr(module, "texting"):
        raise ConfigError(f"data.pipeline is {name!r}, which reads no text")
    config, source = pipelines.build_source(values)
    return module.texting(config, source, values["smoke"]).codecs()


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
