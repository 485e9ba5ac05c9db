"""Batches of texts, padded: one text or two with a label, tags, documents, translations.

Which arrays a batch holds follows from the form of the source's examples (data/text/kinds.py):

    text         "tokens" [b, l], "lengths" [b], "label" [b] (int32 classes or float32 numbers)
    pair         the same, and "token_types" [b, l], 1 from the second text on
    tags         the same with "labels" [b, l] in place of "label", -1 where no word begins
    translation  "source" [b, m], "source_lengths" [b], "target" [b, l] from bos to eos,
                 "target_lengths" [b], both ends counted
    documents    "tokens", "targets", "segments", "positions" [b, l] (data/text/assembly.py)

All are int32; "mask" bool [b] is False on padding; in evaluation "index" int64 [b] is the example's
place in its published split, -1 on padding. `bucket_lengths` and `packing` follow a plan of each
epoch (data/text/plans.py): a training batch is a function of (seed, number), and an evaluation pass
holds each example once, in the order of its bucket.

Letters: `b` rows of a batch, `l` and `m` tokens of a row, `n` examples.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from data import splits
from data.pipelines.common.rows import Arrays, this_process
from data.splits import Range
from data.text import assembly, tokenizers
from data.text.assembly import Assembler
from data.text.batching import Batching
from data.text.coded import AnyCodec, Texting, check_form, described, references
from data.text.kinds import FORMS, Source
from training.contracts import ConfigError, DataError, Info, Pipeline

_log = logging.getLogger("reprise.data")


@dataclass(frozen=True)
class Config:
    """The `data` section, but for its `source` and `pipeline`.

    Attributes:
      batch_size: training rows of a batch over all processes.
      eval_batch_size: those of evaluation; 0 for as many.
      max_length: tokens of the longest row, special ones included.
      max_target_length: of a translation's target, at most max_length, which 0 stands for.
      bucket_lengths: shorter rows, rising, for batches of texts that fit them; () for one length.
      mixed: training batches hold texts of any lengths, in rows of the first of these that fits the
        longest; else texts that fit the same one.
      packing: documents share rows of max_length, as many as fit (in training).
      too_long: "refuse" a longer text, or "truncate" it; how many are is said once.
      form: "documents" learns labelled texts as a language; "" takes the source's own form.
      splits: split expressions (data/splits.py) by the names that evaluators use.
      tokenizer: what makes ids of the texts.
      source_tokenizer: of a translation's source; with the name "" it is `tokenizer`, which then
        is trained on both sides.
    """

    batch_size: int = 32
    eval_batch_size: int = 0
    max_length: int = 128
    max_target_length: int = 0
    bucket_lengths: tuple[int, ...] = ()
    mixed: bool = False
    packing: bool = False
    too_long: str = "refuse"
    form: str = ""
    splits: dict[str, str] = field(default_factory=lambda: dict(splits.USUAL))
    tokenizer: tokenizers.Config = field(
        default_factory=lambda: tokenizers.Config("words", vocab_size=8192)
    )
    source_tokenizer: tokenizers.Config = field(default_factory=lambda: tokenizers.Config(""))


# A made-up text may be longer than a row; it is cut.
TINY: dict[str, object] = {
    "max_length": 32, "max_target_length": 0, "bucket_lengths": (), "mixed": False,
    "eval_batch_size": 0, "too_long": "truncate",
}  # fmt: skip


def build(
    config: Config,
    source: Source,
    split: str,
    *,
    train: bool,
    seed: int,
    fake: bool = False,
    process_index: int | None = None,
    process_count: int | None = None,
) -> Pipeline:
    """The Pipeline of `config.splits[split]`; texts are prepared now, where they never were.

    Arguments are those of every pipeline (data/pipelines/examples.py).

    Raises:
      ConfigError: whatever does not fit together. DataError: texts that are missing or damaged.
    """
    form = _check(config, source)
    chosen = splits.choose(config.splits, source.info.num_examples, split)
    size = config.batch_size if train or not config.eval_batch_size else config.eval_batch_size
    texts = texting(config, source, fake)
    codecs = texts.codecs()
    coded = texts.coded(chosen, codecs, min(len(chosen), size * 5 // 2))
    special = {field: codec.special for field, codec in codecs.items()}
    targets = config.max_target_length or config.max_length
    maker = assembly.assembler(form, coded, special, config.max_length, targets)
    examples = _usable(maker, chosen, form, source.name)
    if not fake:
        _check_lengths(maker, chosen, config, texts)
    process = this_process(process_index, process_count)
    bounds = tuple(sorted({*config.bucket_lengths, config.max_length}))
    packed = config.packing and train
    mixed = config.mixed and train
    batching = Batching(maker, examples, bounds, size, seed, train, packed, mixed, process)
    rows = batching.rows

    def batches(start: int = 0) -> Iterator[Arrays]:
        for number in rows.numbers(start):
            batch = batching.batch(number)
            if not train:
                batch["index"] = np.where(batch["mask"], batch["index"] + chosen.start, -1)
            yield batch

    return Pipeline(
        # The longest first: what is compiled ahead of time is what needs most.
        tuple(batching.spec(bound) for bound in reversed(bounds)),
        _info(config, source, codecs),
        batches,
        num_batches=None if train else rows.num_batches,
        references=references(texts, codecs, chosen),
        **described(codecs, coded),
    )


def together(batches: Sequence[Mapping[str, np.ndarray]]) -> list[Arrays]:
    """Batches in rows of the longest of them: those of one call are stacked."""
    widths = {
        name: max(batch[name].shape[1] for batch in batches)
        for name, array in batches[0].items()
        if array.ndim == 2
    }
    pads = {name: _pad_of(name, batches) for name in widths}
    grown = []
    for batch in batches:
        wider = {
            name: np.pad(batch[name], ((0, 0), (0, width - batch[name].shape[1])),
                         constant_values=pads[name])
            for name, width in widths.items()
        }  # fmt: skip
        grown.append(dict(batch) | wider)
    return grown


def _pad_of(name: str, batches: Sequence[Mapping[str, np.ndarray]]) -> int:
    """What stands behind the end of a row."""
    if name in assembly.FILL:
        return assembly.FILL[name]
    for batch in batches:
        lengths = {"tokens": "lengths"}.get(name, f"{name}_lengths")
        ends = batch[lengths] if lengths in batch else (batch["segments"] > 0).sum(axis=1)
        rows = np.flatnonzero(ends < batch[name].shape[1])
        if len(rows):
            return int(batch[name][rows[0], -1])
    # All rows are full, and no token is special to them.
    return 0


def _check(config: Config, source: Source) -> str:
    """The form of the examples; raises ConfigError for a value that is out of its range."""
    check_form(source, tuple(FORMS))
    form = config.form or source.form
    if form != source.form and (form, source.form) != ("documents", "text"):
        raise ConfigError(
            f"data.form is {config.form!r}, and the examples of {source.name!r} are of the form "
            f"{source.form!r}: leave it empty, or make documents of labelled texts"
        )
    for key, least in (
        ("batch_size", 1), ("eval_batch_size", 0), ("max_length", 4), ("max_target_length", 0),
    ):  # fmt: skip
        if getattr(config, key) < least:
            raise ConfigError(f"data.{key} is {getattr(config, key)}: it must be {least} or more")
    lengths = config.bucket_lengths
    if any(not 4 <= length <= config.max_length for length in lengths):
        raise ConfigError(
            f"data.bucket_lengths is {lengths}: accepted are 4 to data.max_length, "
            f"{config.max_length}"
        )
    if config.too_long not in ("refuse", "truncate"):
        raise ConfigError(
            f"data.too_long is {config.too_long!r}: it must be 'refuse' or 'truncate'"
        )
    if config.packing and (form != "documents" or lengths):
        raise ConfigError(
            "data.packing is True, which is for documents (data.form), in rows of data.max_length: "
            "leave data.bucket_lengths empty"
        )
    if config.mixed and not lengths:
        raise ConfigError("data.mixed is for data.bucket_lengths, and there are none")
    tokenizers.check(config.tokenizer)
    targets = config.max_target_length
    if targets and not 4 <= targets <= config.max_length:
        raise ConfigError(
            f"data.max_target_length is {targets}: accepted are 0 and 4 to data.max_length, "
            f"{config.max_length}"
        )
    if form != "translation" and (config.source_tokenizer.name or config.max_target_length):
        raise ConfigError(
            "data.source_tokenizer and data.max_target_length are for translations only"
        )
    if config.source_tokenizer.name:
        tokenizers.check(config.source_tokenizer, "data.source_tokenizer")
    if form == "tags" and config.tokenizer.name == "characters":
        raise ConfigError("data.tokenizer.name is 'characters', and the tags are those of words")
    return form


def texting(config: Config, source: Source, fake: bool = False) -> Texting:
    """The source with the config's tokenizers."""
    training = splits.choose(config.splits, source.info.num_examples, "train")
    fields = tuple(field for field in FORMS[source.form] if field != "tags")
    own: dict[tuple[str, ...], tokenizers.Config] = {fields: config.tokenizer}
    if config.source_tokenizer.name:
        own = {("source",): config.source_tokenizer, ("target",): config.tokenizer}
    return Texting(source, training, own, fake)


def _usable(maker: Assembler, chosen: Range, form: str, name: str) -> np.ndarray:
    """int64 [n]: the examples that have a text.

    Empty documents are left out, which is said once; others are refused.
    """
    empty = np.flatnonzero(maker.empty)
    if len(empty) and form != "documents":
        more = f", and {len(empty) - 1} more" if len(empty) > 1 else ""
        raise DataError(
            f"{name}: example {empty[0] + chosen.start} of {chosen.split!r} has no text{more}"
        )
    if len(empty):
        _log.warning("%s: %d empty texts of %r are left out", name, len(empty), chosen.split)
    usable = np.flatnonzero(~maker.empty)
    if not len(usable):
        raise DataError(f"{name}: no text of {chosen.split!r} can be used")
    return usable


def _check_lengths(maker: Assembler, chosen: Range, config: Config, texts: Texting) -> None:
    """Raises ConfigError where a text is too long and is not to be cut; else says how many are."""
    excess, name = maker.excess, texts.source.name
    cut = np.flatnonzero(excess > 0)
    if not len(cut):
        return
    if config.too_long == "truncate":
        _log.warning(
            "%s: %d of %d texts of %r are longer than data.max_length, %d: they are cut",
            name, len(cut), len(excess), chosen.split, config.max_length,
        )  # fmt: skip
        return
    most = int(excess.argmax())
    text = next(iter(texts.texts(chosen).fields.values()))[most]
    raise ConfigError(
        f"{name}: {len(cut)} of {len(excess)} texts of {chosen.split!r} are longer than "
        f"data.max_length, {config.max_length}; example {most + chosen.start} the most, by "
        f"{excess[most]} tokens ({text[:40]!r}): raise it, or set data.too_long=truncate"
    )


def _info(config: Config, source: Source, codecs: Mapping[str, AnyCodec]) -> Info:
    other = config.source_tokenizer
    return replace(
        source.info,
        vocab_size=config.tokenizer.vocab_size,
        source_vocab_size=other.vocab_size if other.name else 0,
        max_length=max(config.max_length, config.max_target_length),
        special=codecs["target" if "target" in codecs else "text"].special,
    )
