"""Batches of texts: functions of (seed, number), each example once in evaluation, the same for any
number of processes; packing and buckets change how texts lie, and nothing of what they are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.pipelines import blocks, texts
from data.text.tokenizers import Config as Tokens
from tests.data.helpers import equal, take
from tests.data.text.own import Own
from training.contracts import ConfigError, DataError

WORDS = Tokens("words", 80)
KINDS: dict[str, tuple[Own, dict[str, Any]]] = {
    "text": (Own(), {}),
    "buckets": (Own(), {"bucket_lengths": (7, 10)}),
    "mixed": (Own(), {"bucket_lengths": (7, 10), "mixed": True}),
    "pair": (Own(form="pair"), {"max_length": 32, "bucket_lengths": (12,)}),
    "tags": (Own(form="tags"), {}),
    "translation": (Own(form="translation"), {"bucket_lengths": (8,)}),
    "documents": (Own(form="documents"), {"bucket_lengths": (8,)}),
    "packed": (Own(form="documents"), {"packing": True}),
}


def made(kind, split="train", train=True, seed=0, process=(0, 1), **changes: Any):
    """A small pipeline of a kind."""
    source, options = KINDS[kind] if isinstance(kind, str) else (kind, {})
    options = {"batch_size": 4, "max_length": 16, "tokenizer": WORDS} | options | changes
    return texts.build(
        texts.Config(**options), source, split, train=train, seed=seed,
        process_index=process[0], process_count=process[1],
    )  # fmt: skip


def joined(pipeline, name):
    """The unmasked rows of a field of one pass, by index."""
    rows = {}
    for batch in pipeline.batches(0):
        for place in np.flatnonzero(batch["mask"]):
            rows[int(batch["index"][place])] = batch[name][place]
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_training_may_begin_at_any_batch_and_two_processes_make_one(kind):
    whole = take(made(kind), 14)
    for start in (1, 5, 9):
        again = take(made(kind), 14 - start, start)
        assert all(equal(a, b) for a, b in zip(whole[start:], again, strict=True))
    parts = [take(made(kind, process=(i, 2)), 14) for i in (0, 1)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert equal(batch, {k: np.concatenate([first[k], second[k]]) for k in first})
    assert not all(equal(a, b) for a, b in zip(whole, take(made(kind, seed=1), 14), strict=True))
    # At once: it would take hours to walk there.
    assert take(made(kind), 1, 10**9)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_have_the_shapes_of_a_spec_and_fakes_the_same(kind):
    source, _ = KINDS[kind]
    for split, train in (("train", True), ("val", False)):
        pipeline = made(kind, split, train)
        specs = [{k: (s.shape, s.dtype) for k, s in spec.items()} for spec in pipeline.specs]
        seen = set()
        for batch in take(pipeline, 12) if train else pipeline.batches(0):
            shapes = {k: (a.shape, a.dtype) for k, a in batch.items()}
            assert shapes in specs
            seen.add(str(shapes))
        assert len(specs) <= 3
        if kind == "buckets" and train:
            assert len(seen) == 3
        options = {"batch_size": 4, "max_length": 16, "tokenizer": WORDS} | KINDS[kind][1]
        fake = texts.build(texts.Config(**options), source, split, train=train, seed=0, fake=True)
        assert fake.specs == pipeline.specs and fake.info == pipeline.info
        assert set(fake.decode) == set(pipeline.decode)
        batch = next(fake.batches(0))
        assert {k: (a.shape, a.dtype) for k, a in batch.items()} in specs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("process_count", [1, 2])
def test_evaluation_holds_each_example_once(kind, process_count):
    index: list[int] = []
    for process in range(process_count):
        pipeline = made(kind, "val", False, process=(process, process_count))
        batches = list(pipeline.batches(0))
        assert len(batches) == pipeline.num_batches
        for batch in batches:
            index += batch["index"][batch["mask"]].tolist()
            assert (batch["index"][~batch["mask"]] == -1).all()
            # What fills a batch up is a text all the same.
            field = next(iter(pipeline.decode))
            assert (batch[field] != 0).any(axis=1).all()
    assert sorted(index) == list(range(7))
    part = made(kind, "val", False, splits={"train": "train", "val": "val[2:5]"})
    assert sorted(joined(part, "mask")) == [2, 3, 4]


@pytest.mark.parametrize("kind", ["text", "buckets", "pair", "translation", "documents"])
def test_an_epoch_holds_each_example_once(kind):
    pipeline = made(kind)
    names = {"translation": "source", "documents": "tokens"}
    field = names.get(kind, "tokens")
    seen: list[str] = []
    for batch in take(pipeline, 40):
        rows = batch[field][batch["mask"]]
        seen += [pipeline.decode[field](row).split()[0] for row in rows]
        if len(seen) >= 2 * 23:
            break
    assert sorted(seen[:23]) == sorted(seen[23:46]) == sorted(f"n{i}" for i in range(23))
    assert seen[:23] != seen[23:46]


def test_rows_are_what_the_texts_say():
    pipeline = made("text", "train", False)
    texts_of = Own().texts("train")
    known = [text.split()[1:] for text in texts_of.fields["text"]]
    rows, lengths = joined(pipeline, "tokens"), joined(pipeline, "lengths")
    labels = joined(pipeline, "label")
    for i, words in enumerate(known):
        row = rows[i][: lengths[i]]
        assert row[0] == 2 and row[-1] == 3 and (rows[i][lengths[i] :] == 0).all()
        assert pipeline.decode["tokens"](rows[i]).split()[1:] == words
        assert pipeline.references["tokens"](i) == texts_of.fields["text"][i]
        assert labels[i] == i % 3
    assert pipeline.info.special["pad"] == 0 and pipeline.info.max_length == 16
    assert pipeline.info.vocab_size == 80


def test_of_two_texts_the_longer_one_is_cut_first():
    source = Own(form="pair")
    whole = made("pair", "val", False, bucket_lengths=())
    cut = made("pair", "val", False, max_length=12, bucket_lengths=(), too_long="truncate")
    ids, lengths = joined(whole, "tokens"), joined(whole, "lengths")
    for i, row in joined(cut, "tokens").items():
        types = joined(cut, "token_types")[i]
        both = [text.split() for text in (source.texts("val").fields[f][i] for f in source_fields)]
        one, other = map(len, both)
        while one + other + 3 > 12:
            one, other = (one - 1, other) if one > other else (one, other - 1)
        assert (types == 1).sum() == other + 1
        begun = ids[i][1 : 1 + one]
        second = ids[i][2 + len(both[0]) : 2 + len(both[0]) + other]
        expected = [2, *begun, 3, *second, 3]
        assert row[: len(expected)].tolist() == expected and (row[len(expected) :] == 0).all()
        assert lengths[i] == sum(map(len, both)) + 3


source_fields = ("text", "pair")


def test_tags_stand_at_the_first_piece_of_their_word():
    source = Own(form="tags")
    pipeline = made(source, "val", False, max_length=128, tokenizer=Tokens("bpe", 270))
    labels, tokens = joined(pipeline, "labels"), joined(pipeline, "tokens")
    listed = source.texts("val").fields["tags"]
    for i, tags in enumerate(listed):
        found = labels[i][labels[i] >= 0]
        assert [source.info.class_names[k] for k in found] == tags.split()
        assert labels[i][0] == -1 and (labels[i] >= 0).sum() < (tokens[i] > 0).sum()


def test_translations_have_both_ends_and_their_own_limits():
    pipeline = made("translation", "val", False, max_target_length=14)
    for name in ("source", "target"):
        rows, lengths = joined(pipeline, name), joined(pipeline, f"{name}_lengths")
        for i in rows:
            row = rows[i]
            assert row[0] == 2 and row[lengths[i] - 1] == 3 and (row[lengths[i] :] == 0).all()
            text = Own(form="translation").texts("val").fields[name][i]
            assert pipeline.references[name](i) == text
    assert [s["target"].shape[1] for s in pipeline.specs] == [14, 8]
    both = made("translation", source_tokenizer=Tokens("words", 50))
    assert (both.info.vocab_size, both.info.source_vocab_size) == (80, 50)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_packing_changes_where_documents_lie_and_nothing_else(seed):
    """Each document of a pack is, segment by segment, as it is in a row of its own."""
    packed, alone = made("packed", seed=seed), made("packed", "train", False, seed=seed)
    expected = sorted(documents(alone.batches(0)))
    assert sorted(documents(take(packed, 60), made_rows(packed))) == expected


def made_rows(pipeline):
    """Rows of a packed epoch: until the first document comes again."""
    seen: set[str] = set()
    rows = 0
    for batch in pipeline.batches(0):
        for i in range(len(batch["mask"])):
            one = {k: v[i : i + 1] for k, v in batch.items()}
            names = documents([one])
            if seen & set(names):
                return rows
            seen.update(names)
            rows += 1
    raise AssertionError


def documents(batches, rows=10**9):
    """Each document of the first `rows` unmasked rows, as the text of its tokens and targets."""
    found = []
    for batch in batches:
        for i in np.flatnonzero(batch["mask"]):
            if rows == 0:
                return found
            rows -= 1
            segments = batch["segments"][i]
            assert (np.diff(segments[segments > 0]) >= 0).all()
            for segment in range(1, segments.max() + 1):
                places = np.flatnonzero(segments == segment)
                tokens, targets = batch["tokens"][i][places], batch["targets"][i][places]
                assert batch["positions"][i][places].tolist() == list(range(len(places)))
                assert (np.diff(places) == 1).all()
                assert tokens[1:].tolist() == targets[:-1].tolist()
                assert tokens[0] == 2 and targets[-1] == 3
                found.append(f"{tokens.tolist()} {targets.tolist()}")
            padding = segments == 0
            assert (batch["targets"][i][padding] == -1).all()
            assert (batch["tokens"][i][padding] == 0).all()
    return found


@pytest.mark.parametrize("kind", ["buckets", "translation", "documents"])
def test_batches_of_one_call_are_of_one_shape_and_say_the_same(kind):
    batches = take(made(kind), 8)
    grown = texts.together(batches)
    assert len({tuple((k, v.shape) for k, v in b.items()) for b in grown}) == 1
    for batch, wider in zip(batches, grown, strict=True):
        for name, array in batch.items():
            if array.ndim == 1:
                assert np.array_equal(wider[name], array)
                continue
            width = array.shape[1]
            assert np.array_equal(wider[name][:, :width], array)
            fill = -1 if name == "targets" else 0
            assert (wider[name][:, width:] == fill).all()


def test_long_texts_are_refused_or_cut_and_counted(caplog):
    with pytest.raises(
        ConfigError, match=r"own: \d+ of 23 texts of 'train' .* by \d+ tokens \('.+'\)"
    ):
        made("text", max_length=6)
    with caplog.at_level("WARNING"):
        pipeline = made("text", max_length=6, too_long="truncate")
    assert len([r for r in caplog.records if "longer than data.max_length, 6" in r.message]) == 1
    for batch in take(pipeline, 6):
        last = batch["tokens"][np.arange(4), batch["lengths"] - 1]
        assert (last == 3).all() and batch["lengths"].max() == 6


def test_empty_texts_are_left_out_of_a_language_and_refused_elsewhere(caplog):
    with caplog.at_level("WARNING"):
        pipeline = made(Own(form="documents", extra=("", "  ")))
    assert "2 empty texts of 'train' are left out" in caplog.text
    assert len(documents(made(Own(form="documents", extra=("",)), "train", False).batches(0))) == 23
    assert next(pipeline.batches(0))["mask"].all()
    for form in ("text", "translation", "pair"):
        with pytest.raises(DataError, match=r"own: example 23 of 'train' has no text, and 1 more"):
            made(Own(form=form, extra=("", "")), max_length=64)


def test_labelled_texts_may_be_learnt_as_a_language():
    pipeline = made("text", form="documents")
    assert set(next(pipeline.batches(0))) == {
        "tokens", "targets", "segments", "positions", "mask",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("text", {"packing": True}, "packing is True, which is for documents"),
        ("packed", {"bucket_lengths": (8,)}, "leave data.bucket_lengths empty"),
        ("text", {"mixed": True}, "data.mixed is for data.bucket_lengths, and there are none"),
        ("text", {"bucket_lengths": (8, 32)}, "accepted are 4 to data.max_length, 16"),
        ("text", {"too_long": "cut"}, "must be 'refuse' or 'truncate'"),
        ("pair", {"form": "documents"}, "are of the form 'pair'"),
        ("text", {"max_target_length": 8}, "for translations only"),
        ("translation", {"max_target_length": 17}, "accepted are 0 and 4 to data.max_length, 16"),
        ("translation", {"max_target_length": 1}, "accepted are 0 and 4 to data.max_length, 16"),
        ("text", {"source_tokenizer": WORDS}, "for translations only"),
        ("tags", {"tokenizer": Tokens("characters", 99)}, "the tags are those of words"),
        ("text", {"batch_size": 0}, "batch_size is 0"),
        ("text", {"process": (0, 3)}, "not a multiple of the 3 processes"),
        ("text", {"tokenizer": Tokens("bpe", 100)}, "vocab_size is 100, but the tokenizer has"),
    ],
)
def test_settings_that_do_not_fit(kind, options, said):
    with pytest.raises(ConfigError, match=said):
        made(kind, **options)


def test_a_blocks_pipeline_refuses_pairs():
    with pytest.raises(ConfigError, match="takes examples of the form documents or text"):
        blocks.build(blocks.Config(tokenizer=WORDS), Own(form="pair"), "train", train=True, seed=0)
