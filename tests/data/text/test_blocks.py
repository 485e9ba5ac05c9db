"""Blocks of a stream: random ones from (seed, number) alone, or each target exactly once."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.pipelines import blocks
from data.text.tokenizers import Config as Tokens
from tests.data.helpers import equal, take
from tests.data.text.own import Own
from training.contracts import ConfigError

SOURCE = Own(size=60, form="documents")


def made(split="train", train=True, seed=0, process=(0, 1), fake=False, **changes: Any):
    options = {"batch_size": 4, "block_size": 8, "tokenizer": Tokens("words", 120)} | changes
    return blocks.build(
        blocks.Config(**options), SOURCE, split, train=train, seed=seed, fake=fake,
        process_index=process[0], process_count=process[1],
    )  # fmt: skip


def stream(split):
    """The tokens of a split, from evaluation's own blocks."""
    pipeline = made(split, False, batch_size=1)
    tokens = [b["tokens"][0][b["targets"][0] >= 0] for b in pipeline.batches(0)]
    last = [b["targets"][0] for b in pipeline.batches(0)][-1]
    return np.concatenate([*tokens, last[last >= 0][-1:]])


def test_training_may_begin_at_any_batch_and_two_processes_make_one():
    whole = take(made(), 6)
    assert equal(take(made(), 1, 4)[0], whole[4])
    parts = [take(made(process=(i, 2)), 6) for i in (0, 1)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert equal(batch, {k: np.concatenate([first[k], second[k]]) for k in first})
    assert not equal(whole[0], take(made(seed=1), 1)[0])
    assert take(made(), 1, 10**9)


def test_a_training_block_is_a_piece_of_the_stream():
    text = " ".join(map(str, stream("train").tolist()))
    for batch in take(made(), 20):
        for tokens, targets in zip(batch["tokens"], batch["targets"], strict=True):
            assert np.array_equal(tokens[1:], targets[:-1])
            assert " ".join(map(str, [*tokens, targets[-1]])) in text


def test_offsets_cover_the_stream_and_no_more():
    """The first token is drawn as a beginning, and the last one as a target."""
    found = blocks.Blocks(np.arange(12, dtype=np.int32), 8, 0, "train")
    starts = np.concatenate([found.drawn((0, s), 16) for s in range(20)])
    assert set(starts.tolist()) == {0, 1, 2, 3}
    assert found.at(np.array([3]))["targets"].max() == 11


@settings(max_examples=60, deadline=None)
@given(st.integers(9, 200), st.integers(1, 8), st.integers(1, 5))
def test_every_target_counts_once(length, size, rows):
    text = np.arange(length, dtype=np.int32)
    cut = blocks.Blocks(text, size, 0, "val")
    targets = []
    for start in range(0, cut.consecutive, rows):
        numbers = np.arange(start, min(start + rows, cut.consecutive))
        batch = cut.at(numbers * size)
        kept = batch["targets"] >= 0
        assert (batch["targets"][kept] == batch["tokens"][kept] + 1).all()
        targets += batch["targets"][kept].tolist()
    assert targets == list(range(1, length))


@pytest.mark.parametrize("processes", [1, 2])
def test_evaluation_counts_every_target_once_on_any_number_of_processes(processes):
    expected = stream("val")
    found, index = [], []
    for process in range(processes):
        pipeline = made("val", False, process=(process, processes))
        for batch in pipeline.batches(0):
            assert (batch["targets"][~batch["mask"]] == -1).all()
            found += batch["targets"][batch["targets"] >= 0].tolist()
            index += batch["index"][batch["mask"]].tolist()
    assert sorted(found) == sorted(expected[1:].tolist())
    assert sorted(index) == list(range(-(-(len(expected) - 1) // 8)))


def test_random_blocks_estimate_as_nanogpt_does():
    pipeline = made("val", False, random_blocks={"val": 5})
    batches = list(pipeline.batches(0))
    assert len(batches) == pipeline.num_batches == 5
    assert all(b["mask"].all() and (b["targets"] >= 0).all() for b in batches)
    assert all(map(equal, batches, made("val", False, random_blocks={"val": 5}).batches(0)))
    starts = {tuple(row) for b in batches for row in b["tokens"].tolist()}
    assert len(starts) > 10


def test_documents_are_joined_by_an_end():
    ends = (stream("val") == 3).sum()
    assert ends == 6
    characters = made("val", False, tokenizer=Tokens("characters", 60))
    whole = "".join(SOURCE.texts("val").fields["text"])
    text = "".join(
        characters.decode["tokens"](row[:kept])
        for b in characters.batches(0)
        for row, kept in zip(b["tokens"], (b["targets"] >= 0).sum(axis=1), strict=True)
    )
    assert text == whole[:-1]


def test_fakes_have_the_real_shapes():
    for split, train in (("train", True), ("val", False)):
        real, fake = made(split, train), made(split, train, fake=True)
        assert fake.specs == real.specs and fake.info == real.info
        batches = take(fake, 3) if train else list(fake.batches(0))
        assert {k: (v.shape, v.dtype) for k, v in batches[0].items()} == {
            k: (s.shape, s.dtype) for k, s in real.specs[0].items()
        }
        assert max(b["tokens"].max() for b in batches) < 120


def test_empty_documents_are_left_out_and_counted(caplog):
    source = Own(size=9, form="documents", extra=("", " "))
    config = blocks.Config(batch_size=2, block_size=4, tokenizer=Tokens("words", 99))
    with caplog.at_level("WARNING"):
        blocks.build(config, source, "train", train=True, seed=0)
    assert "own: 2 empty documents are left out" in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"block_size": 10**6}, r"but the split 'train' has \d+ tokens: it must be less"),
        ({"block_size": 0}, "block_size is 0"),
        ({"random_blocks": {"train": -1}}, r"random_blocks\.train is -1"),
        ({"random_blocks": {"vol": 1}}, r"random_blocks\.vol: .*'val'"),
        ({"process": (0, 3)}, "not a multiple of the 3 processes"),
        ({"tokenizer": Tokens("characters", 10)}, "the tokenizer has 1[0-9] entries"),
    ],
)
def test_settings_that_do_not_fit(options, said):
    with pytest.raises(ConfigError, match=said):
        made(**options)
