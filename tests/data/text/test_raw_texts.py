"""The real raw files of REPRISE_RAW_DIR: the counts, and the vocabularies that were published."""

import collections

import numpy as np
import pytest

from data.pipelines import blocks, texts
from data.sources import multi30k, sst2, tiny_shakespeare
from data.text import words
from data.text.tokenizers import Config as Tokens
from tools import data as tool
from tools import parts, resolve

pytestmark = pytest.mark.raw
NANOGPT = {"train": "train[:90%]", "test": "train[90%:]"}
SPECIALS = ("pad", "unk", "bos", "eos")
TRANSLATIONS = ("text/transformer_multi30k", "text/gru_bahdanau_multi30k")


def test_tiny_shakespeare():
    source = tiny_shakespeare.build(tiny_shakespeare.Config())
    text = source.texts("train").fields["text"]
    assert (
        len(text) == 1115394
        and len(set(text)) == 65
        and "".join(sorted(set(text))) == (source.alphabet)
    )
    config = blocks.Config(
        batch_size=64, block_size=64, splits=NANOGPT, tokenizer=Tokens("characters", 65)
    )
    train = blocks.build(config, source, "train", train=True, seed=0)
    assert train.info.special == {} and train.info.vocab_size == 65
    batch = next(train.batches(0))
    shown = train.decode["tokens"](batch["tokens"][0]) + text[:0]
    assert shown in text[:1003854]
    found = blocks.build(config, source, "test", train=False, seed=0)
    batches = list(found.batches(0))
    assert sum((b["targets"] >= 0).sum() for b in batches) == 111540 - 1
    whole = np.concatenate([b["tokens"].ravel() for b in batches])
    assert found.decode["tokens"](whole[:111540]) == text[1003854:]


def test_lines_of_tiny_shakespeare():
    """A masked language model and what is fine-tuned from it read the same pieces."""
    kinds = [tiny_shakespeare.Config("lines", share) for share in (0.0, 0.5)]
    whole, half = (tiny_shakespeare.build(kind) for kind in kinds)
    splits = half.info.num_examples
    counts = {split: np.bincount(half.texts(split).labels).tolist() for split in splits}
    assert counts == {"train": [10035, 10034], "val": [1137, 1138], "test": [885, 884]}
    assert half.texts("train").fields["text"][1] == (
        "You are all resolved to rather die than to famish?"
    )
    config = texts.Config(max_length=36, tokenizer=Tokens("wordpiece", 1000, lowercase=True))
    one, other = (
        next(texts.build(config, source, "train", train=True, seed=0).batches(0))
        for source in (whole, half)
    )
    same = other["label"] == 0
    np.testing.assert_array_equal(one["tokens"][same], other["tokens"][same])
    assert (one["tokens"][~same] != other["tokens"][~same]).any(axis=1).all()
    np.testing.assert_array_equal(np.sort(one["tokens"]), np.sort(other["tokens"]))


def test_sst2():
    source = sst2.build(sst2.Config())
    counts = {split: np.bincount(source.texts(split).labels).tolist() for split in sst2.COUNTS}
    assert counts == {"train": [3310, 3610], "val": [428, 444], "test": [912, 909]}
    config = texts.Config(max_length=70, tokenizer=Tokens("wordpiece", 4000))
    built = texts.build(config, source, "test", train=False, seed=0)
    assert sum(b["mask"].sum() for b in built.batches(0)) == 1821


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_the_words_of_multi30k_are_those_that_were_published(name: str):
    """7,853 German and 5,893 English entries, in the notebooks with <unk> <pad> <sos> <eos>.

    Of the configs, so that an entry which no text has (a mask, a size too large) is seen.
    """
    values = resolve.resolve(resolve.load_file(f"configs/{name}.py"), (), False)
    source = multi30k.build(multi30k.Config())
    train = source.texts("train").fields
    for field, language, published in (("source", "de", 7853), ("target", "en", 5893)):
        counted = collections.Counter()
        cut = words.splitter(f"spacy:{language}", lowercase=True)
        for text in train[field]:
            counted.update(cut(text))
        assert sum(count >= 2 for count in counted.values()) + len(SPECIALS) == published
    built = parts.build(values).pipeline("test")
    assert (built.info.source_vocab_size, built.info.vocab_size) == (7853, 5893)
    assert sorted({*built.info.special}) == ["bos", "cls", "eos", "pad", "sep", "unk"]
    batch = next(built.batches(0))
    assert batch["source"].max() < 7853 and batch["target"].max() < 5893
    assert built.references["target"](0) == "a man in an orange hat starring at something ."
    assert (
        built.references["source"](0)
        == "ein mann mit einem orangefarbenen hut , der etwas anstarrt ."
    )
    assert sum(b["mask"].sum() for b in built.batches(0)) == 1000


def test_verify_finds_them_all(capsys):
    assert tool.run(["verify", "tiny_shakespeare", "sst2", "multi30k", "addition"]) == 0
    said = capsys.readouterr().out
    for line in (
        "tiny_shakespeare: good: 1115394 train",
        "sst2: good: 6920 train, 872 val",
        "multi30k: good: 29000 train, 1014 val, 1000 test",
        "addition: good: 85546",
    ):
        assert line in said
