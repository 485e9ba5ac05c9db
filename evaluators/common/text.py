"""Token ids made readable, by a pipeline's own decoders, or as numbers where it has none."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from training.contracts import Info, Pipeline

# What ends a line or is nothing but space, in one cell of a table or beside a picture.
_SIGNS = {"\n": " ⏎ ", "\t": " ⇥ "}


def decoder(pipeline: Pipeline, field: str) -> Callable[[Sequence[int]], str]:
    """From ids of a field to text; of made-up data, the ids up to eos, but for special ones."""
    if field in pipeline.decode:
        return pipeline.decode[field]
    special = pipeline.info.special

    def numbers(ids: Sequence[int]) -> str:
        listed = [int(i) for i in ids]
        if special.get("eos") in listed:
            listed = listed[: listed.index(special["eos"])]
        return " ".join(str(i) for i in listed if i not in special.values())

    return numbers


def truth(pipeline: Pipeline, field: str, index: int, ids: np.ndarray) -> str:
    """The text of an example: the data's own where the pipeline has it, else that of its ids."""
    if field in pipeline.references:
        return pipeline.references[field](int(index))
    return decoder(pipeline, field)(ids.tolist())


def cell(text: str) -> str:
    """A text on one line."""
    for sign, shown in _SIGNS.items():
        text = text.replace(sign, shown)
    return text


def labels(pipeline: Pipeline, field: str, ids: Sequence[Any] | np.ndarray) -> tuple[str, ...]:
    """A short name of each token: its text, or the name of a special one in <>."""
    names = _names(pipeline.info)
    decode = decoder(pipeline, field)
    return tuple(names.get(int(i)) or _visible(decode([int(i)])) for i in ids)


def _names(info: Info) -> dict[int, str]:
    # Of two names of an id the tokenizer's own comes first.
    return {index: f"<{name}>" for name, index in reversed(list(info.special.items()))}


def _visible(text: str) -> str:
    return cell(text).strip() or ("␣" if text else "·")
