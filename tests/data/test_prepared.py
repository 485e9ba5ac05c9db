"""Prepared data: made once, whole or not at all, checked by `verify`, read back as it was."""

import io
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from data.pipelines.examples import Config, build
from data.sources import imagenet2012
from data.sources.common import builders
from data.sources.common.small_images import SmallImages
from tests.data.helpers import Numbered, take
from training.contracts import DataError, DiskError, Info

SIZES = {"train": 9, "test": 4}
PIXELS = np.random.default_rng(0).integers(0, 256, (13, 6, 6, 3), np.uint8)


class Toy(tfds.core.GeneratorBasedBuilder):
    """Thirteen images of noise, as TFDS would prepare a published set."""

    name = "toy"
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "the raw file toy.gz"

    def _info(self):
        image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
        features = tfds.features.FeaturesDict(
            {"image": image, "label": tfds.features.ClassLabel(num_classes=3)}
        )
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        assert (dl_manager.manual_dir / "toy.gz").read_bytes() == b"raw"
        return {"train": self._generate_examples(0, 9), "test": self._generate_examples(9, 13)}

    def _generate_examples(self, start, stop):
        for i in range(start, stop):
            stream = io.BytesIO()
            Image.fromarray(PIXELS[i]).save(stream, "PNG")
            stream.seek(0)
            yield i, {"image": stream, "label": i % 3}


@pytest.fixture
def made(monkeypatch, tmp_path):
    """How many times the builder was made; its raw file lies in a folder of its own."""
    calls = []
    (tmp_path / "toy.gz").write_bytes(b"raw")

    def builder(name, data_dir, file_format):
        assert name == "toy:1.0.0"
        calls.append(data_dir)
        return Toy(data_dir=data_dir, file_format=file_format)

    monkeypatch.setattr(tfds, "builder", builder)
    monkeypatch.setattr("data.raw.fetch", lambda name, files: {"toy.gz": tmp_path / "toy.gz"})
    return calls


@pytest.fixture
def source():
    return SmallImages("toy", "1.0.0", (), (6, 6, 3), Info(SIZES, 3))


def test_it_is_prepared_once_and_read_back(made, source):
    seen = []
    for split, size in SIZES.items():
        arrays = source.open(split).arrays
        assert arrays["image"].shape == (size, 6, 6, 3) and arrays["label"].dtype == np.int32
        seen += [(i.tobytes(), int(y)) for i, y in zip(*arrays.values(), strict=True)]
    assert sorted(seen) == sorted((p.tobytes(), i % 3) for i, p in enumerate(PIXELS))
    source.prepare()
    assert len(made) == 1
    assert [line.split(" in ")[0] for line in source.verify()] == ["prepared", "arrays"]


def test_nothing_remains_beside_the_prepared(made, source, places):
    source.open("train")
    assert {p.name for p in (places / "tfds" / "toy").iterdir()} == {"1.0.0"}
    assert {p.name for p in (places / "arrays" / "toy").iterdir()} == {"1.0.0"}


@pytest.mark.parametrize("stage", ["tfds", "arrays"])
def test_an_interrupted_preparation_leaves_nothing_and_is_made_again(
    made, source, places, monkeypatch, stage
):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        if stage == "tfds":
            broken.setattr(Toy, "_generate_examples", interrupted)
        else:
            broken.setattr(np, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            source.open("train")
    assert list((places / stage / "toy").iterdir()) == []
    assert len(source.open("train")) == 9


def test_a_second_preparation_keeps_the_first(places):
    for content in ("first", "second"):
        with builders.prepared_folder(places / "a" / "b") as result:
            (result / "file").write_text(content)
    assert (places / "a" / "b" / "file").read_text() == "first"
    assert [p.name for p in (places / "a").iterdir()] == ["b"]


def test_a_disk_that_cannot_be_written_is_said_to_be_one(places, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(DiskError, match="No space left"), builders.prepared_folder(places / "a"):
        raise AssertionError("not reached")


@pytest.mark.parametrize("damage", ["cut", "missing", "shape", "sums"])
def test_damage_is_found(made, source, damage):
    source.open("train")
    path = source.folder / "train-image.npy"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    elif damage == "missing":
        path.unlink()
    elif damage == "shape":
        np.save(path, np.zeros(3, np.uint8))
    else:
        (source.folder / "sums.json").write_text("{")
    for check in [source.verify] + [lambda: source.open("train")] * (damage != "sums"):
        with pytest.raises(DataError, match="is damaged: remove") as caught:
            check()
        assert "\n" not in str(caught.value)


def test_a_changed_byte_is_found_by_verify(made, source):
    source.open("train")
    path = source.folder / "test-image.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"test-image\.npy is damaged"):
        source.verify()


def test_damaged_builders_are_found(made, source):
    source.open("train")
    folder = builders.folder("toy", "1.0.0")
    with pytest.raises(DataError, match="9 of 10 examples of 'train'"):
        builders.verify("toy", "1.0.0", {"train": 10})
    info = json.loads((folder / "dataset_info.json").read_text())
    shard = next(folder.glob("*train*"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is damaged"):
        builders.verify("toy", "1.0.0", SIZES)
    shard.write_bytes(whole)
    info["splits"][0]["shardLengths"] = ["8"]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(DataError, match="is damaged"):
        builders.verify("toy", "1.0.0", SIZES)
    (folder / "dataset_info.json").write_text("{")
    for read in (lambda: builders.verify("toy", "1.0.0", {}), lambda: source.prepare()):
        with pytest.raises(DataError, match="is damaged") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_encoded_examples_are_read_by_position_and_decoded_in_the_pipeline(made):
    class Source(Numbered):
        @property
        def info(self):
            return Info(SIZES, 3)

        def open(self, split):
            return imagenet2012.encoded(builders.open_prepared("toy", "1.0.0", ()), split)

    config = Config(2, transforms=("decode", "resize:6"), eval_transforms=("decode", "resize:6"))
    known = {p.tobytes(): i for i, p in enumerate(PIXELS)}
    seen = []
    for batch in build(config, Source(9, (6, 6, 3)), "train", train=False, seed=0).batches(0):
        for image, label, valid in zip(batch["image"], batch["label"], batch["mask"], strict=True):
            seen += [known[image.tobytes()]] if valid else []
            assert known[image.tobytes()] % 3 == label
    assert sorted(seen) == list(range(9))
    stream = np.concatenate(
        [
            b["label"]
            for b in take(build(config, Source(9, (6, 6, 3)), "train", train=True, seed=0), 9)
        ]
    )
    assert np.bincount(stream).tolist() == [6, 6, 6]


def test_imagenet_says_what_is_missing_quickly():
    source = imagenet2012.build(imagenet2012.Config())
    with pytest.raises(DataError, match="registered users only") as caught:
        source.open("train")
    assert "ILSVRC2012_img_train.tar" in str(caught.value)
    assert imagenet2012.FILES[1].sha256 in str(caught.value)
    assert source.verify() == []
