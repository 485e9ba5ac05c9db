"""A folder of one's own images: the split, the bad ones, and all that can be wrong with it."""

import logging

import numpy as np
import pytest
from PIL import Image

from data.pipelines.examples import Config, build
from data.sources import folder
from data.sources.common import image_files
from tests.data.helpers import take
from training.contracts import ConfigError, DataError

SIZED = ("decode", "resize:8", "to_float")


def fill(root, classes=("cat", "dog"), count=10, suffix=".png"):
    """Images whose red value tells their class and whose green value their number."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.full((10 + i, 12, 3), 0, np.uint8)
            pixels[..., 0], pixels[..., 1] = 100 * label, 10 * i
            Image.fromarray(pixels).save(root / name / f"{i:02}{suffix}")


def config_of(**values):
    return Config(4, {"train": "train", "test": "test"}, SIZED, SIZED, **values)


def files_of(source, split):
    return {str(path) for path, _ in source.listing.files[split]}


def test_split_by_seed_is_stratified_disjoint_and_stated(tmp_path):
    fill(tmp_path / "set")
    make = lambda **k: folder.build(folder.Config(str(tmp_path / "set"), **k))  # noqa: E731
    source = make(val_fraction=0.1)
    assert source.info.num_examples == {"train": 14, "val": 2, "test": 4}
    assert source.info.class_names == ("cat", "dog") and source.info.num_classes == 2
    splits = [files_of(source, s) for s in ("train", "val", "test")]
    assert len(set.union(*splits)) == 20 == sum(map(len, splits))
    for split in splits:
        assert sum("cat" in file for file in split) * 2 == len(split)
    assert make(val_fraction=0.1).listing == source.listing
    assert files_of(make(split_seed=1), "test") != files_of(make(), "test")
    labels = [label for _, label in source.listing.files["train"]]
    assert labels != sorted(labels)


def test_split_by_folders(tmp_path):
    for split, count in (("train", 6), ("val", 2), ("test", 3)):
        fill(tmp_path / split, count=count)
    source = folder.build(folder.Config(str(tmp_path)))
    assert source.info.num_examples == {"train": 12, "val": 4, "test": 6}
    assert all("/val/" in file for file in files_of(source, "val"))


@pytest.mark.parametrize("missing", ["val", "test"])
def test_a_split_without_a_folder_is_drawn_from_train(missing, tmp_path):
    for split, count in (("train", 10), ("val", 2), ("test", 3)):
        if split != missing:
            fill(tmp_path / split, count=count)
    source = folder.build(folder.Config(str(tmp_path), test_fraction=0.2, val_fraction=0.2))
    assert source.info.num_examples == {"train": 16, "val": 4, "test": 6} | {missing: 4}
    drawn = set(files_of(source, missing))
    assert all("/train/" in file for file in drawn)
    assert not drawn & set(files_of(source, "train"))


def test_a_fraction_that_gives_no_image_is_an_error(tmp_path):
    fill(tmp_path / "set", count=2)
    with pytest.raises(DataError, match="2 images, too few"):
        folder.build(folder.Config(str(tmp_path / "set"), test_fraction=0.2))


def test_batches_are_the_images_in_place(tmp_path):
    fill(tmp_path / "set")
    source = folder.build(folder.Config(str(tmp_path / "set")))
    made = build(config_of(), source, "test", train=False, seed=0)
    seen = []
    for batch in made.batches(0):
        red, green = (batch["image"][:, 0, 0, c] * 255 for c in (0, 1))
        for row in np.flatnonzero(batch["mask"]):
            name = source.names("test")[batch["index"][row]]
            seen.append(name)
            assert name == f"{('cat', 'dog')[batch['label'][row]]}/{round(green[row] / 10):02}.png"
            assert round(red[row]) == 100 * batch["label"][row]
    assert sorted(seen) == sorted(source.names("test"))
    (batch,) = take(build(config_of(), source, "train", train=True, seed=0), 1)
    assert batch["image"].shape == (4, 8, 8, 3)


@pytest.mark.parametrize(
    "transforms", [("resize:8", "flip"), ("resize_small:9", "center_crop:8", "pad_crop:1")]
)
def test_bytes_are_decoded_where_the_config_does_not_say_so(tmp_path, transforms):
    fill(tmp_path / "set")
    source = folder.build(folder.Config(str(tmp_path / "set")))
    said, unsaid = (
        build(Config(4, {"train": "train"}, texts), source, "train", train=True, seed=0)
        for texts in (("decode", *transforms), transforms)
    )
    assert source.encoded and said.specs == unsaid.specs
    for one, two in zip(take(said, 2), take(unsaid, 2), strict=True):
        assert np.array_equal(one["label"], two["label"])
        assert one["image"].shape == (4, 8, 8, 3)
        assert np.array_equal(one["image"].max((1, 2)), two["image"].max((1, 2)))


def test_other_files_are_passed_over_and_folders_below_are_entered(tmp_path):
    fill(tmp_path / "set", count=5)
    (tmp_path / "set" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "set" / "cat" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "set" / "cat" / "._01.png").write_bytes(b"x")
    (tmp_path / "set" / ".cache").mkdir()
    (tmp_path / "set" / "dog" / "more").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "set" / "dog" / "more" / "a.JPG", "JPEG")
    source = folder.build(folder.Config(str(tmp_path / "set"), test_fraction=0.4))
    assert sum(source.info.num_examples.values()) == 11
    assert len(list(build(config_of(), source, "test", train=False, seed=0).batches(0))) == 1


def spoil(root):
    """Three images that do not decode: cut short, empty, no image at all."""
    whole = root / "cat" / "00.png"
    whole.write_bytes(whole.read_bytes()[:60])
    (root / "cat" / "01.png").write_bytes(b"")
    (root / "dog" / "02.png").write_text("<html>not found</html>")
    return ["cat/00.png", "cat/01.png", "dog/02.png"]


def test_images_that_do_not_decode_stop_the_run_and_are_named(tmp_path):
    fill(tmp_path / "set")
    bad = spoil(tmp_path / "set")
    source = folder.build(folder.Config(str(tmp_path / "set"), test_fraction=0))
    with pytest.raises(DataError, match="3 of 20 images of 'train' do not decode") as caught:
        source.open("train")
    text = str(caught.value)
    assert "\n" not in text and 'on_bad_image="skip"' in text and caught.value.code == 3
    assert all(name in text for name in bad)


def test_images_that_do_not_decode_are_left_out_named_and_counted(tmp_path, caplog):
    fill(tmp_path / "set")
    bad = spoil(tmp_path / "set")
    source = folder.build(
        folder.Config(str(tmp_path / "set"), on_bad_image="skip", test_fraction=0.2)
    )
    seen = []
    with caplog.at_level(logging.WARNING, "reprise.data"):
        for split in ("train", "test"):
            made = build(
                Config(4, {split: split}, SIZED, SIZED), source, split, train=False, seed=0
            )
            for batch in made.batches(0):
                seen += [source.names(split)[i] for i in batch["index"][batch["mask"]]]
    assert len(seen) == 17 and not set(seen) & set(bad)
    assert all(name in caplog.text for name in bad)
    assert "they are left out" in caplog.text


def test_many_bad_images_are_counted_and_five_are_named(tmp_path):
    fill(tmp_path / "set", count=12)
    for path in (tmp_path / "set" / "cat").iterdir():
        path.write_bytes(b"x")
    source = folder.build(folder.Config(str(tmp_path / "set"), test_fraction=0))
    with pytest.raises(DataError, match=r"12 of 24 images .* and 7 more"):
        source.open("train")


def test_a_truncated_jpeg_is_found(tmp_path):
    fill(tmp_path / "set", suffix=".jpg", count=3)
    path = tmp_path / "set" / "dog" / "01.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    assert list(image_files.bad_images([path, path.with_name("02.jpg")], tmp_path)) == [path]


def test_images_are_decoded_once_and_again_when_they_change(tmp_path, monkeypatch):
    fill(tmp_path / "set", count=3)
    decoded = []
    real = image_files.fault
    monkeypatch.setattr(image_files, "fault", lambda path: decoded.append(path.name) or real(path))
    source = folder.build(folder.Config(str(tmp_path / "set"), test_fraction=0))
    source.open("train")
    assert len(decoded) == 6
    source.open("train")
    assert len(decoded) == 6
    changed = tmp_path / "set" / "cat" / "00.png"
    changed.write_bytes(b"x")
    with pytest.raises(DataError, match="1 of 6"):
        source.open("train")
    with pytest.raises(DataError, match="1 of 6"):
        source.open("train")
    assert len(decoded) == 7


def test_a_damaged_memory_is_made_again(tmp_path, places):
    fill(tmp_path / "set", count=3)
    source = folder.build(folder.Config(str(tmp_path / "set"), test_fraction=0))
    source.open("train")
    (memory,) = (places / "folder").iterdir()
    for content in ("{", "[]"):
        memory.write_text(content)
        source.open("train")
        assert memory.read_text().count("png") == 6


def test_a_file_that_vanishes_is_named(tmp_path):
    fill(tmp_path / "set")
    source = folder.build(folder.Config(str(tmp_path / "set")))
    made = build(config_of(), source, "train", train=True, seed=0)
    next(made.batches(0))
    gone = source.listing.files["train"][3][0]
    gone.unlink()
    with pytest.raises(DataError, match=f"{gone} cannot be read: No such file"):
        take(made, 8)


def test_sizes_that_differ_need_a_resize(tmp_path):
    fill(tmp_path / "set")
    source = folder.build(folder.Config(str(tmp_path / "set")))
    config = Config(4, {"train": "train"}, ("decode", "to_float"))
    with pytest.raises(ConfigError, match="resize:N"):
        next(build(config, source, "train", train=True, seed=0).batches(0))


def test_an_empty_class_folder_is_an_error(tmp_path):
    fill(tmp_path / "set")
    (tmp_path / "set" / "bird").mkdir()
    with pytest.raises(DataError, match=r"class folder .*bird holds no image") as caught:
        folder.build(folder.Config(str(tmp_path / "set")))
    assert caught.value.code == 3


def test_folders_that_are_none(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="gone, which is not a folder"):
        folder.build(folder.Config(str(tmp_path / "gone")))
    with pytest.raises(DataError, match="empty holds no folders"):
        folder.build(folder.Config(str(tmp_path / "empty")))


def test_splits_must_have_the_same_classes(tmp_path):
    fill(tmp_path / "train")
    fill(tmp_path / "test", classes=("cat", "dgo"))
    with pytest.raises(DataError, match="differ in the class 'dgo'"):
        folder.build(folder.Config(str(tmp_path)))


def test_too_few_images_to_split(tmp_path):
    fill(tmp_path / "set", count=1)
    with pytest.raises(DataError, match="too few to split"):
        folder.build(folder.Config(str(tmp_path / "set"), test_fraction=0.6))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"on_bad_image": "ignore"}, "accepted are 'stop' and 'skip'"),
        ({"test_fraction": 1.0}, "accepted are 0 to below 1"),
        ({"val_fraction": -0.1}, "accepted are 0 to below 1"),
        ({"test_fraction": 0.5, "val_fraction": 0.5}, "leave nothing"),
    ],
)
def test_values_out_of_range(values, said):
    with pytest.raises(ConfigError, match=said):
        folder.build(folder.Config(**values))


def test_without_a_path_there_are_only_fake_batches():
    source = folder.build(folder.Config())
    assert source.fake(0, 0)["image"].shape == (64, 64, 3)
    with pytest.raises(ConfigError, match=r"data\.source\.path is not given"):
        source.open("train")
    assert source.verify() == []


def test_verify_says_what_is_there(tmp_path):
    fill(tmp_path / "set")
    (line,) = folder.build(folder.Config(str(tmp_path / "set"))).verify()
    assert line.startswith("16 train, 4 test images of 2 classes in ")
    (tmp_path / "set" / "cat" / "00.png").write_bytes(b"")
    with pytest.raises(DataError, match="do not decode"):
        folder.build(folder.Config(str(tmp_path / "set"))).verify()


def test_a_data_dir_that_cannot_be_written_costs_only_a_warning(tmp_path, monkeypatch, caplog):
    fill(tmp_path / "set", count=3)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REPRISE_DATA_DIR", str(tmp_path / "file"))
    source = folder.build(folder.Config(str(tmp_path / "set")))
    with caplog.at_level(logging.WARNING, "reprise.data"):
        assert len(source.open("train")) == 4
    assert "cannot be written" in caplog.text
    assert (tmp_path / "file").read_text() == "in the way"
