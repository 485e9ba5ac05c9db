"""The pipeline: a function of (seed, step) in training, each example exactly once in evaluation."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.examples import Lazy
from data.pipelines import examples as pipeline
from data.pipelines.examples import Config, build
from tests.data.helpers import Noise, Numbered, equal, take
from training.contracts import ConfigError, DataError

RANDOM = ("random_rotate:20", "flip", "pad_crop:1", "to_float", "random_erasing:0.5", "mixup:0.4")


def test_an_epoch_is_a_permutation_and_epochs_differ():
    config = Config(batch_size=5, transforms=())
    batches = take(build(config, Numbered(10), "train", train=True, seed=0), 20)
    epochs = np.concatenate([b["number"] for b in batches]).reshape(10, 10)
    assert (np.sort(epochs, axis=1) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in epochs}) > 8
    assert all((b["image"][:, 0, 0, 0] == b["number"]).all() for b in batches)
    assert all((b["label"] == b["number"] % 5).all() for b in batches)


def test_epochs_need_not_end_with_a_batch():
    config = Config(batch_size=4, transforms=())
    batches = take(build(config, Numbered(10), "train", train=True, seed=3), 10)
    stream = np.concatenate([b["number"] for b in batches]).reshape(4, 10)
    assert (np.sort(stream, axis=1) == np.arange(10)).all()


def test_a_batch_may_be_larger_than_the_split():
    config = Config(batch_size=25, transforms=())
    (batch,) = take(build(config, Numbered(10), "train", train=True, seed=3), 1)
    assert (np.bincount(batch["number"]) >= 2).all()


@pytest.mark.parametrize("start", [1, 7, 10**9])
def test_starting_late_equals_never_having_stopped(start):
    config = Config(batch_size=4, transforms=RANDOM)
    make = lambda: build(config, Noise(10), "train", train=True, seed=1)  # noqa: E731
    early = take(make(), 3, start - 1)
    late = take(make(), 2, start)
    assert all(equal(a, b) for a, b in zip(early[1:], late, strict=True))
    assert not equal(*late)


def test_a_pipeline_can_be_read_twice():
    made = build(Config(batch_size=4, transforms=RANDOM), Noise(10), "train", train=True, seed=1)
    assert all(equal(a, b) for a, b in zip(take(made, 3), take(made, 3), strict=True))


def test_the_seed_decides_order_and_transforms():
    config = Config(batch_size=8, transforms=("to_float", "flip"))
    orders, images = [], []
    for seed in (0, 1, 2**40):
        (batch,) = take(build(config, Numbered(100), "train", train=True, seed=seed), 1)
        orders.append(tuple(batch["number"]))
        (batch,) = take(build(config, Noise(1), "train", train=True, seed=seed), 1)
        images.append(batch["image"].tobytes())
    assert len(set(orders)) == len(set(images)) == 3


# Example by example in the middle; one layer, because tracing its operations takes a second.
TAKEN_APART = (*RANDOM[:3], "randaugment:1,10", *RANDOM[3:])


@pytest.mark.parametrize(("hosts", "transforms"), [(2, RANDOM), (4, RANDOM), (2, TAKEN_APART)])
def test_hosts_share_one_stream(hosts, transforms):
    config = Config(batch_size=8, transforms=transforms)
    source = Noise(20, shape=(6, 5, 3))
    whole = take(build(config, source, "train", train=True, seed=5), 3, 11)
    parts = [
        take(
            build(
                config, source, "train", train=True, seed=5, process_index=i, process_count=hosts
            ),
            3,
            11,
        )
        for i in range(hosts)
    ]
    for number, batch in enumerate(whole):
        joined = {k: np.concatenate([p[number][k] for p in parts]) for k in batch}
        assert equal(joined, batch)


def test_threads_do_not_change_the_stream(monkeypatch):
    config = Config(batch_size=8, transforms=TAKEN_APART)
    streams = []
    for threads in (1, 4):
        monkeypatch.setattr("data.stream.worker_threads", lambda threads=threads: threads)
        streams.append(take(build(config, Noise(20), "train", train=True, seed=5), 6))
    assert all(equal(a, b) for a, b in zip(*streams, strict=True))


@settings(max_examples=12, deadline=None)
@given(
    size=st.integers(1, 23),
    local=st.integers(1, 9),
    hosts=st.integers(1, 3),
    start=st.integers(0, 10),
)
def test_evaluation_counts_each_example_once(size, local, hosts, start):
    start = min(start, size - 1)
    config = Config(
        batch_size=local * hosts, splits={"test": f"test[{start}:]"}, eval_transforms=("to_float",)
    )
    seen = []
    lengths = set()
    for index in range(hosts):
        made = build(
            config,
            Numbered(size),
            "test",
            train=False,
            seed=0,
            process_index=index,
            process_count=hosts,
        )
        batches = list(made.batches(0))
        lengths.add((len(batches), made.num_batches))
        for batch in batches:
            assert {a.shape[0] for a in batch.values()} == {local}
            mask = batch["mask"]
            assert mask.dtype == bool and batch["index"].dtype == np.int64
            assert (batch["index"][~mask] == -1).all()
            assert (batch["number"][mask] == batch["index"][mask]).all()
            seen += batch["number"][mask].tolist()
    assert len(lengths) == 1 and len(set(*lengths)) == 1
    assert sorted(seen) == list(range(start, size))


def test_evaluation_keeps_the_order_and_can_begin_later():
    config = Config(batch_size=4, eval_transforms=())
    made = build(config, Numbered(10), "test", train=False, seed=0)
    assert [b["number"].tolist() for b in made.batches(1)] == [[4, 5, 6, 7], [8, 9, 9, 9]]
    assert [b["mask"].tolist() for b in made.batches(2)] == [[True, True, False, False]]
    assert list(made.batches(3)) == []


def test_specs_are_what_comes_out():
    config = Config(batch_size=4, transforms=RANDOM, eval_transforms=("resize:7", "standardise"))
    for split, train in (("train", True), ("test", False)):
        made = build(config, Noise(10), split, train=train, seed=0)
        batch = next(iter(made.batches(0)))
        assert {k: (s.shape, s.dtype) for k, s in made.specs[0].items()} == {
            k: (a.shape, a.dtype) for k, a in batch.items()
        }


def _lazy(good=None, size=10, fault=None):
    def fetch(positions):
        if fault is not None and fault in positions:
            raise DataError(f"example {fault} is gone")
        return {
            "image": np.array([b"%d" % p for p in positions], object),
            "label": positions.astype(np.int32),
        }

    class Source(Numbered):
        def open(self, split):
            return Lazy(size, fetch, {"image": "S", "label": "int32"}, good)

    return Source(size)


@pytest.fixture
def decode_numbers(monkeypatch):
    """Images b"7" become arrays filled with 7."""
    from data.runtime import tensorflow

    tf = tensorflow()
    monkeypatch.setattr(
        tf.io,
        "decode_image",
        lambda b, *_, **__: tf.fill([4, 4, 1], tf.cast(tf.strings.to_number(b), tf.uint8)),
    )


@pytest.mark.usefixtures("decode_numbers")
def test_lazy_examples_are_decoded_one_by_one():
    config = Config(batch_size=4, transforms=("decode:1", "to_float"))
    batches = take(build(config, _lazy(), "train", train=True, seed=0), 5)
    assert sorted(np.concatenate([b["label"] for b in batches])) == sorted([*range(10)] * 2)
    for batch in batches:
        np.testing.assert_allclose(batch["image"][:, 0, 0, 0] * 255, batch["label"], rtol=1e-6)


@pytest.mark.usefixtures("decode_numbers")
def test_bad_examples_are_left_out_and_keep_their_index():
    good = np.array([0, 2, 3, 5, 9])
    config = Config(
        batch_size=2,
        splits={"train": "train[:6]", "val": "train[6:]"},
        transforms=("decode:1",),
        eval_transforms=("decode:1",),
    )
    source = _lazy(good)
    batches = take(build(config, source, "train", train=True, seed=0), 4)
    assert sorted(np.concatenate([b["label"] for b in batches])) == [0, 0, 2, 2, 3, 3, 5, 5]
    made = build(config, source, "val", train=False, seed=0)
    batches = list(made.batches(0))
    assert [b["mask"].tolist() for b in batches] == [[True, False], [False, False]]
    assert batches[0]["index"].tolist() == [9, -1]
    assert len(batches) == made.num_batches


def test_no_usable_example_is_an_error():
    made = build(
        Config(2, transforms=("decode:1",)), _lazy(np.array([], int)), "train", train=True, seed=0
    )
    with pytest.raises(DataError, match="no example"):
        next(made.batches(0))


@pytest.mark.usefixtures("decode_numbers")
def test_a_fault_of_the_source_comes_through_as_it_was():
    made = build(
        Config(2, eval_transforms=("decode:1",)), _lazy(fault=5), "test", train=False, seed=0
    )
    with pytest.raises(DataError, match=r"^example 5 is gone$"):
        list(made.batches(0))


def test_an_image_that_does_not_decode_is_one_line():
    config = Config(2, eval_transforms=("decode:1", "resize:4"))
    said = "^an image does not decode: Unknown image file format"
    with pytest.raises(DataError, match=said) as caught:
        list(build(config, _lazy(), "test", train=False, seed=0).batches(0))
    assert "\n" not in str(caught.value)


def test_images_of_different_sizes_are_an_error():
    made = build(Config(2, transforms=("decode:1",)), _lazy(), "train", train=True, seed=0)
    with pytest.raises(ConfigError, match="different sizes"):
        next(made.batches(0))


def test_a_source_that_holds_too_few_is_an_error():
    class Short(Numbered):
        def open(self, split):
            return Numbered(9).open(split)

    with pytest.raises(DataError, match="holds 9 examples"):
        next(build(Config(2), Short(10), "train", train=True, seed=0).batches(0))


@pytest.mark.parametrize(
    ("config", "split", "said"),
    [
        (Config(), "tset", "data.splits has no 'tset': did you mean 'test'?"),
        (Config(splits={"train": "trian"}), "train", "data.splits.train is 'trian'"),
        (Config(batch_size=0), "train", "data.batch_size is 0"),
        (Config(transforms=("flipp",)), "train", "data.transforms holds 'flipp', an unknown"),
        (Config(eval_transforms=("flip",)), "test", "data.eval_transforms holds 'flip'"),
        (Config(batch_size=3, transforms=("to_float", "mixup:1")), "train", "a multiple of 2"),
        (Config(transforms=("mixup:1",)), "train", "mixes float images"),
        (Config(transforms=("to_float", "randaugment:2,9")), "train", "takes uint8 images"),
        (Config(splits={"train": "train", "val": "train[:5]"}), "train", "shares examples"),
        (Config(splits={"train": "test", "test": "test"}), "train", "shares examples"),
    ],
)
@pytest.mark.parametrize("fake", [False, True])
def test_what_does_not_fit_is_refused_before_any_data_is_read(config, split, said, fake):
    with pytest.raises(ConfigError) as caught:
        build(config, Numbered(10), split, train=split == "train", seed=0, fake=fake)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.code == 2


def test_a_batch_that_hosts_cannot_share_is_refused():
    with pytest.raises(ConfigError, match="not a multiple of the 3 processes"):
        build(Config(8), Numbered(), "train", train=True, seed=0, process_index=0, process_count=3)


def test_a_negative_start_is_refused():
    with pytest.raises(ValueError, match="start is -1"):
        build(Config(2), Numbered(), "train", train=True, seed=0, fake=True).batches(-1)


def test_build_reads_no_data():
    class Closed(Numbered):
        def open(self, split):
            raise AssertionError("opened")

    made = build(Config(2), Closed(), "train", train=True, seed=0)
    with pytest.raises(AssertionError, match="opened"):
        next(made.batches(0))


def test_the_shuffle_of_any_size_is_a_permutation():
    for size, seed in itertools.product((1, 2, 3, 5, 64, 65), (0, 1)):
        config = pipeline.Config(batch_size=size, transforms=())
        for batch in take(build(config, Numbered(size), "train", train=True, seed=seed), 3, 10**6):
            assert sorted(batch["number"]) == list(range(size))
