"""A split's texts as ids, its tokenizers with them: prepared once and kept, or made up."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.splits import Range
from data.text import learning, made_up, store, tokenizer_files, tokenizers
from data.text.codecs import Codec
from data.text.kinds import Source, Texts
from data.text.made_up import MadeUp
from data.text.store import Ids
from training.contracts import ConfigError

AnyCodec = Codec | MadeUp


@dataclass(frozen=True)
class Coded:
    """Examples of a split.

    Attributes:
      ids: by field of the texts, without special tokens; of "tags", a class for each id of "text",
        -1 where a word goes on.
      labels: int32 or float32 [n], or None.
      digest: `Pipeline.digest`; "" of made-up ones.
    """

    ids: Mapping[str, Ids]
    labels: np.ndarray | None
    digest: str = ""


@dataclass(frozen=True)
class Texting:
    """A source with the tokenizers of its fields.

    Attributes:
      source: where texts come from.
      training: the examples that tokenizers are trained on.
      tokenizers: their configs, by the fields that each serves.
      fake: made-up texts and ids, which need no file.
    """

    source: Source
    training: Range
    tokenizers: Mapping[tuple[str, ...], tokenizers.Config]
    fake: bool

    def codecs(self) -> dict[str, AnyCodec]:
        """By field; trained now where they never were.

        Raises:
          ConfigError: a vocabulary that is not of the config's size.
          DataError: texts or a tokenizer's file that are missing or damaged.
        """
        found: dict[str, AnyCodec] = {}
        for fields, config in self.tokenizers.items():
            where = "data.source_tokenizer" if fields == ("source",) else "data.tokenizer"
            codec = MadeUp(config) if self.fake else self._codec(fields, config, where)
            found |= dict.fromkeys(fields, codec)
        return found

    def _codec(self, fields: tuple[str, ...], config: tokenizers.Config, where: str) -> Codec:
        if not config.trained:
            return tokenizer_files.read(config, where)
        if config.name == "characters" and self.source.alphabet:
            return learning.train(config, (), self.source.alphabet, where)

        def make(folder: Path) -> None:
            codec = learning.train(config, self.training_texts(fields), where=where)
            (folder / "tokenizer.json").write_text(codec.tokenizer.to_str(), "utf-8")

        key = self._key(fields, config)
        folder = store.kept(self.source.name, key, make, "a tokenizer")
        return tokenizer_files.open_file(config, folder / "tokenizer.json").checked(where)

    def _key(self, fields: tuple[str, ...], config: tokenizers.Config) -> dict[str, object]:
        key: dict[str, object] = {"tokenizer": tokenizer_files.fingerprint(config)}
        if config.trained:
            key |= {
                "trained on": [str(self.training), *fields],
                "source": self.source.identity,
            }
        return key

    def training_texts(self, fields: Sequence[str]) -> list[str]:
        """What a tokenizer of some fields is trained on."""
        return [text for field in fields for text in self.texts(self.training).fields[field]]

    def texts(self, chosen: Range) -> Texts:
        """The examples of a range; may raise DataError."""
        return self.source.texts(chosen.split).part(chosen.start, chosen.stop)

    def coded(self, chosen: Range, codecs: Mapping[str, AnyCodec], count: int) -> Coded:
        """The examples of a range as ids; `count` made-up ones where they are fake.

        Raises DataError for texts that are missing, damaged or not as they should be.
        """
        fields = [f for f in self.tokenizers for f in f]
        tagged = self.source.form == "tags"
        wanted = [*fields, "tags"] if tagged else fields
        encode = self._tagged if tagged else self._plain
        if self.fake:
            return _coded(encode(made_up.texts_of(self.source, wanted, count), codecs))

        def make(folder: Path) -> None:
            store.write(folder, encode(self.texts(chosen), codecs))

        key: dict[str, object] = {"source": self.source.identity, "examples": str(chosen)}
        key |= {"/".join(f): self._key(f, config) for f, config in self.tokenizers.items()}
        folder = store.kept(self.source.name, key, make, "token ids")
        return _coded(store.read(folder), store.digest(folder))

    def _plain(self, texts: Texts, codecs: Mapping[str, AnyCodec]) -> dict[str, np.ndarray]:
        arrays = {}
        for field in texts.fields:
            flat, offsets = codecs[field].encode(texts.fields[field])
            arrays |= {field: flat, f"{field}-offsets": offsets}
        return arrays if texts.labels is None else arrays | {"labels": texts.labels}

    def _tagged(self, texts: Texts, codecs: Mapping[str, AnyCodec]) -> dict[str, np.ndarray]:
        classes = {name: i for i, name in enumerate(self.source.info.class_names)}
        ids: list[np.ndarray] = [np.zeros(0, np.int32)]
        tags: list[np.ndarray] = [np.zeros(0, np.int32)]
        offsets = [0]
        pairs = zip(texts.fields["text"], texts.fields["tags"], strict=True)
        for text, listed in pairs:
            words, own = text.split(), listed.split()
            found = codecs["text"].encode_words(words)
            ids += found
            for tag, pieces in zip(own, found, strict=True):
                tags.append(
                    np.array([classes[tag], *[-1] * (len(pieces) - 1)][: len(pieces)], "i4")
                )
            offsets.append(offsets[-1] + sum(map(len, found)))
        ends = np.array(offsets, np.int64)
        return {
            "text": np.concatenate(ids), "text-offsets": ends,
            "tags": np.concatenate(tags), "tags-offsets": ends,
        }  # fmt: skip


def _coded(arrays: Mapping[str, np.ndarray], digest: str = "") -> Coded:
    fields = [name for name in arrays if f"{name}-offsets" in arrays]
    ids = {field: Ids(arrays[field], arrays[f"{field}-offsets"]) for field in fields}
    return Coded(ids, arrays.get("labels"), digest)


def described(codecs: Mapping[str, AnyCodec], coded: Coded) -> dict[str, Any]:
    """What a Pipeline says of its ids: "decode", "lossless", "vocabularies" and "digest".

    Made-up texts are what their ids say, and have no vocabulary.
    """
    named = {"tokenizer": codecs["target" if "target" in codecs else "text"]}
    if codecs.get("source", named["tokenizer"]) is not named["tokenizer"]:
        named["source_tokenizer"] = codecs["source"]
    real = {name: codec for name, codec in named.items() if isinstance(codec, Codec)}
    return {
        "decode": _decoders(codecs),
        "lossless": all(codec.lossless for codec in real.values()),
        "vocabularies": {
            name: codec.tokenizer.get_vocab(with_added_tokens=True) for name, codec in real.items()
        },
        "digest": coded.digest,
    }


def _decoders(codecs: Mapping[str, AnyCodec]) -> dict[str, Callable[[Sequence[int]], str]]:
    if "target" in codecs:
        return {"source": codecs["source"].decode, "target": codecs["target"].sentence}
    return {"tokens": codecs["text"].decode}


def references(
    texting: Texting, codecs: Mapping[str, AnyCodec], chosen: Range
) -> dict[str, Callable[[int], str]]:
    """`Pipeline.references`; texts are read when the first is asked for."""

    @functools.cache
    def fields() -> Mapping[str, Sequence[str]]:
        if not texting.fake:
            return texting.texts(chosen).fields
        return made_up.texts_of(texting.source, list(codecs), len(chosen)).fields

    def of(field: str) -> Callable[[int], str]:
        return lambda index: codecs[field].reference(fields()[field][index - chosen.start])

    if "target" in codecs:
        return {field: of(field) for field in ("source", "target")}
    return {} if "pair" in codecs else {"tokens": of("text")}


def check_form(source: Source, forms: Sequence[str]) -> None:
    """Raises ConfigError where a source's examples are of none of some forms."""
    if source.form not in forms:
        raise ConfigError(
            f"this data.pipeline takes examples of the form {' or '.join(forms)}, and those of "
            f"{source.name!r} are of the form {source.form!r} (data/text/kinds.py)"
        )
