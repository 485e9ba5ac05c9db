"""What a text model is told of its data, and what of it no model can be built from."""

from typing import Any


def vocabulary(info: Any, source: bool = False) -> int:
    """Ids of the text, or of the source text; ValueError where the data has no tokens."""
    size = (info.source_vocab_size if source else 0) or info.vocab_size
    if size < 1:
        raise ValueError("a text model needs data of tokens; its vocab_size is 0")
    return size


def longest(asked: int | None, info: Any) -> int:
    """Positions of the model: `model.max_length`, or where it is None the data's longest text."""
    length = info.max_length if asked is None else asked
    if length < 1:
        stated = "the data states none" if asked is None else f"not {asked}"
        raise ValueError(f"model.max_length: expected at least 1; {stated}")
    return length


def check_choice(config: Any, **accepted: tuple[str, ...]) -> None:
    """Raises ValueError unless each field's value is one of those that are accepted."""
    for field, values in accepted.items():
        value = getattr(config, field)
        if value not in values:
            raise ValueError(f"model.{field}={value!r}: expected one of {', '.join(values)}")
