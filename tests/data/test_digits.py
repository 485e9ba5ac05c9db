"""The digits: the real ones, split as stated."""

import gzip

import numpy as np
import pytest
from sklearn.datasets import load_digits

from data.pipelines.examples import Config, build
from data.sources import digits
from tests.data.helpers import take
from training.contracts import ConfigError, DataError


def rows(memory) -> list[bytes]:
    return [i.tobytes() for i in memory.arrays["image"]]


def test_they_are_those_of_scikit_learn():
    source = digits.build(digits.Config())
    parts = [source.open(split) for split in ("train", "test")]
    published = load_digits()
    expected = np.round(published.images * (255 / 16)).astype(np.uint8)
    found = [
        (image, label)
        for p in parts
        for image, label in zip(rows(p), p.arrays["label"], strict=True)
    ]
    assert sorted(found) == sorted(
        (i.tobytes(), t) for i, t in zip(expected, published.target, strict=True)
    )


def test_sizes_statistics_and_types():
    source = digits.build(digits.Config())
    assert source.info.num_examples == {"train": 1438, "test": 359}
    images = np.concatenate([source.open(s).arrays["image"] for s in ("train", "test")])
    assert images.shape == (1797, 8, 8, 1) and images.dtype == np.uint8 and images.max() == 255
    assert len(np.unique(images)) == 17
    unit = images / 255
    np.testing.assert_allclose(unit.mean(), source.info.statistics["mean"], atol=1e-4)
    np.testing.assert_allclose(unit.std(), source.info.statistics["std"], atol=1e-4)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_the_split_is_stratified_and_disjoint(fraction):
    source = digits.build(digits.Config(test_fraction=fraction))
    train, test = source.open("train"), source.open("test")
    assert len(train) == source.info.num_examples["train"]
    assert len(test) == source.info.num_examples["test"]
    shares = np.bincount(test.arrays["label"]) / np.array(digits.CLASS_COUNTS)
    np.testing.assert_allclose(shares, fraction, atol=0.01)
    assert len(set(rows(train)) | set(rows(test))) == len(set(rows(train))) + len(set(rows(test)))


def test_the_seed_decides_the_split_and_slices_are_samples():
    one, same, other = (digits.build(digits.Config(split_seed=s)) for s in (0, 0, 1))
    assert rows(one.open("test")) == rows(same.open("test"))
    assert set(rows(one.open("test"))) != set(rows(other.open("test")))
    labels = one.open("train").arrays["label"][:200]
    assert np.bincount(labels, minlength=10).min() >= 8


def test_a_fraction_out_of_range_is_refused():
    with pytest.raises(ConfigError, match=r"0\.01 to 0\.9"):
        digits.build(digits.Config(test_fraction=1.0))


def test_a_damaged_file_is_an_error(tmp_path):
    good = digits.path().read_bytes()
    damaged = tmp_path / "digits.csv.gz"
    for content in (good[:1000], b"", gzip.compress(b"1,2\n3,4\n"), gzip.compress(b"a,b\n")):
        damaged.write_bytes(content)
        with pytest.raises(DataError, match="install scikit-learn again") as caught:
            digits.read(damaged)
        assert "\n" not in str(caught.value)


def test_without_scikit_learn_the_error_says_so(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="not installed"):
        digits.build(digits.Config()).open("train")


def test_end_to_end():
    config = Config(
        64,
        {"train": "train[:80%]", "val": "train[80%:]", "test": "test"},
        ("random_rotate:10", "random_shift:1", "standardise"),
        ("standardise",),
    )
    source = digits.build(digits.Config())
    (batch,) = take(build(config, source, "train", train=True, seed=0), 1)
    assert batch["image"].shape == (64, 8, 8, 1) and batch["label"].dtype == np.int32
    seen = 0
    for split, size in (("val", 288), ("test", 359)):
        made = build(config, source, split, train=False, seed=0)
        seen = sum(int(b["mask"].sum()) for b in made.batches(0))
        assert seen == size
