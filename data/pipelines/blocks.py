"""A stream of tokens, cut into blocks of one length.

A batch holds "tokens" int32 [b, l] and "targets" int32 [b, l], the token that follows each; in
evaluation also "mask" bool [b] and "index" int64 [b], the number of the block, -1 on padding.

Training batch s is b blocks at random offsets, drawn from (seed, s) alone: nanoGPT's protocol.
Evaluation takes the blocks of the split one after another, so that each token but the first is a
target exactly once; -1 stands where nothing follows. Of a split in `random_blocks` it takes that
many batches of random blocks, always the same ones, as nanoGPT estimates its losses.

Documents are joined with the token "eos" between two of them, where the tokenizer has it; empty
ones are dropped. Letters: `b` blocks of a batch, `l` tokens of a block, `t` of the stream.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from data import splits
from data.names import nearest
from data.pipelines.common.rows import Arrays, Rows, spec_of, this_process
from data.text import tokenizers
from data.text.coded import Texting, check_form, described
from data.text.kinds import Source
from data.text.store import Ids
from training.contracts import ConfigError, Info, Pipeline

_log = logging.getLogger("reprise.data")
_DRAWS = 0xB10C
# Texts of a fake stream, which is repeated to its length.
_FAKES = 64


@dataclass(frozen=True)
class Config:
    """The `data` section, but for its `source` and `pipeline`.

    Attributes:
      batch_size: training blocks of a batch over all processes.
      eval_batch_size: those of evaluation; 0 for as many.
      block_size: tokens of a block.
      random_blocks: by the name of a split: batches of random blocks that its evaluation takes, in
        place of the whole.
      splits: split expressions (data/splits.py) by the names that evaluators use.
      tokenizer: what makes ids of the texts.
    """

    batch_size: int = 64
    eval_batch_size: int = 0
    block_size: int = 256
    random_blocks: dict[str, int] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=lambda: dict(splits.USUAL))
    tokenizer: tokenizers.Config = field(
        default_factory=lambda: tokenizers.Config("characters", vocab_size=256)
    )


TINY: dict[str, object] = {"block_size": 32, "eval_batch_size": 0}


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
    _check(config)
    check_form(source, ("documents", "text"))
    chosen = splits.choose(config.splits, source.info.num_examples, split)
    texts = texting(config, source, fake)
    codecs = texts.codecs()
    special = codecs["text"].special
    size = config.batch_size if train or not config.eval_batch_size else config.eval_batch_size
    coded = texts.coded(chosen, codecs, _FAKES)
    stream = joined(coded.ids["text"], special, source.name)
    if fake:
        stream = np.resize(stream, size * config.block_size * 5 // 2 + 1)
    blocks = Blocks(stream, config.block_size, special.get("pad", 0), split)
    random = train or split in config.random_blocks
    total = config.random_blocks.get(split, 1) * size if random else blocks.consecutive
    process = this_process(process_index, process_count)
    rows = Rows(total, size, seed, train, shuffled=False, process=process)

    def batch(number: int) -> Arrays:
        if random:
            starts = blocks.drawn((seed, number), size)
        else:
            starts = rows.of(number)[0] * config.block_size
        found = blocks.at(starts[rows.part()])
        if not train:
            places, mask = (array[rows.part()] for array in rows.of(number))
            found["targets"] = np.where(mask[:, None], found["targets"], -1)
            found |= {"mask": mask, "index": np.where(mask, places, -1)}
        return found

    def batches(start: int = 0) -> Iterator[Arrays]:
        for number in rows.numbers(start):
            yield batch(number)

    return Pipeline(
        (spec_of(batch(0), size),),
        _info(config, source, special),
        batches,
        num_batches=None if train else rows.num_batches,
        **described(codecs, coded),
    )


def texting(config: Config, source: Source, fake: bool = False) -> Texting:
    """The source with the config's tokenizer."""
    training = splits.choose(config.splits, source.info.num_examples, "train")
    return Texting(source, training, {("text",): config.tokenizer}, fake)


def _info(config: Config, source: Source, special: Mapping[str, int]) -> Info:
    return replace(
        source.info,
        vocab_size=config.tokenizer.vocab_size,
        max_length=config.block_size,
        special=special,
    )


def _check(config: Config) -> None:
    for key, least in (("batch_size", 1), ("eval_batch_size", 0), ("block_size", 1)):
        if getattr(config, key) < least:
            raise ConfigError(f"data.{key} is {getattr(config, key)}: it must be {least} or more")
    for split, count in config.random_blocks.items():
        if split not in config.splits:
            raise ConfigError(f"data.random_blocks.{split}: {nearest(split, config.splits)}")
        if count < 1:
            raise ConfigError(f"data.random_blocks.{split} is {count}: it must be 1 or more")
    tokenizers.check(config.tokenizer)


def joined(documents: Ids, special: Mapping[str, int], name: str) -> np.ndarray:
    """int32 [t]: the documents one after another, "eos" between two where there is one."""
    ends = documents.offsets[1:][documents.lengths > 0]
    dropped = len(documents) - len(ends)
    if dropped:
        _log.warning("%s: %d empty documents are left out", name, dropped)
    if len(ends) < 2 or "eos" not in special:
        return documents.flat
    return np.insert(documents.flat, ends[:-1], np.int32(special["eos"]))


@dataclass(frozen=True)
class Blocks:
    """Blocks of a stream.

    Attributes:
      stream: int32 [t].
      size: l.
      pad: the token beyond the end.
      split: its name, for messages.
    """

    stream: np.ndarray
    size: int
    pad: int
    split: str

    def __post_init__(self) -> None:
        if len(self.stream) <= self.size:
            raise ConfigError(
                f"data.block_size is {self.size}, but the split {self.split!r} has "
                f"{len(self.stream)} tokens: it must be less"
            )

    @property
    def consecutive(self) -> int:
        """Blocks that hold all of the stream."""
        return -(-(len(self.stream) - 1) // self.size)

    def drawn(self, key: tuple[int, int], count: int) -> np.ndarray:
        """int64 [count]: random offsets of whole blocks and the token behind each."""
        rng = np.random.default_rng((*key, _DRAWS))
        return rng.integers(0, len(self.stream) - self.size, count)

    def at(self, starts: np.ndarray) -> Arrays:
        """{"tokens", "targets"} int32 [b, l] of the blocks at `starts` [b]."""
        places = starts[:, None] + np.arange(self.size + 1)
        last = len(self.stream) - 1
        found = self.stream[np.minimum(places, last)]
        beyond = places > last
        tokens = np.where(beyond[:, :-1], np.int32(self.pad), found[:, :-1])
        return {"tokens": tokens, "targets": np.where(beyond[:, 1:], np.int32(-1), found[:, 1:])}
