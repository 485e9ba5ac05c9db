"""Texts that TFDS has a builder for: prepared once as array_record, then read whole."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from data.raw import RawFile
from data.sources.common import builders
from data.sources.common.published import Published
from data.sources.common.small_images import raw_lines
from data.text.kinds import Texts
from training.contracts import DataError, Info

_AT_ONCE = 4096


def published(
    name: str,
    version: str,
    files: tuple[RawFile, ...],
    fields: Mapping[str, str],
    info: Info,
    made_up: Callable[[np.random.Generator], Mapping[str, Any]],
) -> Published:
    """The source of a builder, such as "glue/sst2"; `fields` name its features by ours.

    Texts and pairs of them have a label; "source" and "target" are a translation, which has none.
    """
    pairs = tuple(fields.items())
    form = "translation" if "source" in fields else "pair" if "pair" in fields else "text"
    dtype = "" if form == "translation" else "float32" if info.num_targets else "int32"
    return Published(
        name=name,
        form=form,
        info=info,
        pipelines=("texts", "blocks") if form == "text" else ("texts",),
        # Two translations of the same files differ in their direction.
        identity=" ".join([*(fields.values() if not dtype else ()), *(f.sha256 for f in files)]),
        read=functools.partial(_read, name, version, files, pairs, dtype),
        made_up=made_up,
        files=files,
        found=functools.partial(_found, name, version, files, info),
    )


def _found(name: str, version: str, files: tuple[RawFile, ...], info: Info) -> list[str]:
    prepared = builders.verify(name, version, dict(info.num_examples))
    return raw_lines(name, files) + ([prepared] if prepared else [])


@functools.lru_cache(maxsize=3)
def _read(
    name: str,
    version: str,
    files: tuple[RawFile, ...],
    fields: tuple[tuple[str, str], ...],
    dtype: str,
    split: str,
) -> Texts:
    with builders.quiet():
        examples = builders.open_prepared(name, version, files).as_data_source(split)
    texts: dict[str, list[str]] = {field: [] for field, _ in fields}
    labels: list[float] = []
    for start in range(0, len(examples), _AT_ONCE):
        places = range(start, min(start + _AT_ONCE, len(examples)))
        for place, example in zip(places, examples.__getitems__(places), strict=True):
            for field, feature in fields:
                texts[field].append(_text(example[feature], f"{name}: {split!r}, {place}"))
            if dtype:
                labels.append(example["label"])
    return Texts(texts, np.array(labels, dtype) if dtype else None)


def _text(value: bytes | str, where: str) -> str:
    if isinstance(value, str):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 at its byte {error.start}") from error
