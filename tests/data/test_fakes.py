"""Fake batches: the real ones' shapes without TensorFlow, a file, or much time."""

import subprocess
import sys
import time

import numpy as np
import pytest

from data.pipelines.examples import Config, build
from data.sources import cifar10, digits, fashion_mnist, folder, imagenet2012, mnist
from tests.data.helpers import Numbered, equal, take

SOURCES = {
    "digits": digits.build(digits.Config()),
    "mnist": mnist.build(mnist.Config()),
    "fashion_mnist": fashion_mnist.build(fashion_mnist.Config()),
    "cifar10": cifar10.build(cifar10.Config()),
    "imagenet2012": imagenet2012.build(imagenet2012.Config(fake_size=48)),
    "folder": folder.build(folder.Config()),
}
WITHOUT_TENSORFLOW = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorflow_datasets", "sklearn", "PIL"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
from data.pipelines.examples import Config, build
from data.sources import digits, imagenet2012, folder
for module in (digits, imagenet2012, folder):
    source = module.build(module.Config(**module.TINY))
    config = Config(
        batch_size=4,
        splits={"train": "train[:20]", "val": "train[20:40]"},
        transforms=("resize:8", "flip", "to_float", "mixup:0.2"),
        eval_transforms=("resize:8", "to_float"),
    )
    for split in config.splits:
        made = build(config, source, split, train=split == "train", seed=0, fake=True)
        batch = next(made.batches(3 if split == "train" else 0))
        assert {k: (s.shape, s.dtype) for k, s in made.specs[0].items()} == {
            k: (a.shape, a.dtype) for k, a in batch.items()}
assert not {"tensorflow", "tensorflow_datasets", "sklearn"} & set(sys.modules)
print("made")
"""


def test_no_tensorflow_is_imported():
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW], capture_output=True, text=True, check=False
    )
    assert found.stdout == "made\n", found.stderr


@pytest.mark.parametrize("name", SOURCES)
def test_a_fake_example_is_valid_and_a_function_of_its_arguments(name):
    source = SOURCES[name]
    one, same = source.fake(3, 7), source.fake(3, 7)
    assert equal(one, same)
    assert not equal(one, source.fake(4, 7)) and not equal(one, source.fake(3, 8))
    assert one["image"].dtype == np.uint8 and one["image"].ndim == 3
    labels = {int(source.fake(0, i)["label"]) for i in range(300)}
    assert labels <= set(range(source.info.num_classes))
    assert len(labels) > min(source.info.num_classes, 100) / 2


@pytest.mark.parametrize("name", SOURCES)
def test_fake_batches_fit_the_specs(name):
    config = Config(
        batch_size=4,
        splits={"train": "train"},
        transforms=("decode", "random_resized_crop:16", "to_float", "cutmix:1"),
    )
    made = build(config, SOURCES[name], "train", train=True, seed=0, fake=True)
    for batch in take(made, 3, 10**9):
        assert {k: (s.shape, s.dtype) for k, s in made.specs[0].items()} == {
            k: (a.shape, a.dtype) for k, a in batch.items()
        }


def test_fake_and_real_specs_are_equal():
    config = Config(batch_size=4, transforms=("flip", "standardise"))
    made = [
        build(config, SOURCES["digits"], "train", train=True, seed=0, fake=fake)
        for fake in (False, True)
    ]
    assert made[0].specs == made[1].specs


def test_fake_batches_are_a_function_of_their_number():
    config = Config(batch_size=4)
    made = build(config, SOURCES["digits"], "train", train=True, seed=0, fake=True)
    again = build(config, SOURCES["digits"], "train", train=True, seed=0, fake=True)
    assert all(equal(a, b) for a, b in zip(take(made, 3, 5), take(again, 8)[5:], strict=True))
    batches = take(made, 3)
    assert not equal(*batches[:2])
    batches[0]["extra"] = np.zeros(1)
    assert "extra" not in take(made, 1)[0]


def test_fake_hosts_share_one_batch():
    config = Config(batch_size=8)
    source = SOURCES["digits"]
    (whole,) = take(build(config, source, "train", train=True, seed=0, fake=True), 1)
    parts = [
        take(
            build(
                config,
                source,
                "train",
                train=True,
                seed=0,
                fake=True,
                process_index=i,
                process_count=2,
            ),
            1,
        )[0]
        for i in range(2)
    ]
    assert equal(whole, {k: np.concatenate([p[k] for p in parts]) for k in whole})


@pytest.mark.parametrize(("size", "counted"), [(3, 3), (8, 8), (9, 9), (10**6, 20)])
def test_fake_evaluation_is_short_and_masked(size, counted):
    made = build(Config(8), Numbered(size), "test", train=False, seed=0, fake=True)
    batches = list(made.batches(0))
    assert len(batches) == made.num_batches
    assert len(batches) <= 3
    index = np.concatenate([b["index"][b["mask"]] for b in batches])
    assert index.tolist() == list(range(counted))
    assert all((b["index"][~b["mask"]] == -1).all() for b in batches)


def test_fake_batches_of_photographs_are_fast():
    config = Config(64, {"train": "train"}, ("random_resized_crop:96", "normalise"))
    source = imagenet2012.build(imagenet2012.Config(fake_size=128))
    made = build(config, source, "train", train=True, seed=0, fake=True)
    batches = made.batches(0)
    for _ in range(8):
        next(batches)
    begun = time.perf_counter()
    for _ in range(100):
        next(batches)
    assert time.perf_counter() - begun < 0.5
