"""The real raw files of REPRISE_RAW_DIR, prepared by TFDS and read through the pipeline."""

import time

import numpy as np
import pytest

from data.pipelines.examples import Config, build
from data.sources import fashion_mnist, mnist
from tests.data.helpers import take
from tools import data as tool

pytestmark = [pytest.mark.raw, pytest.mark.timeout(600)]
SOURCES = {
    "mnist": lambda: mnist.build(mnist.Config()),
    "fashion_mnist": lambda: fashion_mnist.build(fashion_mnist.Config()),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """One data dir for all of this file: preparing takes most of a minute."""
    return tmp_path_factory.mktemp("prepared")


@pytest.fixture(autouse=True)
def use_prepared(places, prepared, monkeypatch):
    monkeypatch.setenv("REPRISE_DATA_DIR", str(prepared))


@pytest.mark.parametrize("name", SOURCES)
def test_prepared_from_raw_files_counted_and_opened_fast(name, prepared, capsys):
    source = SOURCES[name]()
    sizes = {split: len(source.open(split)) for split in ("train", "test")}
    assert sizes == {"train": 60000, "test": 10000}
    begun = time.perf_counter()
    train = SOURCES[name]().open("train").arrays
    assert train["image"].sum() > 0
    assert time.perf_counter() - begun < 2
    assert np.bincount(train["label"]).min() > 5000
    unit = train["image"] / 255
    np.testing.assert_allclose(unit.mean(), source.info.statistics["mean"], atol=1e-4)
    np.testing.assert_allclose(unit.std(), source.info.statistics["std"], atol=1e-4)
    assert tool.run(["verify", name]) == 0
    assert capsys.readouterr().out.count(f"{name}: good:") == 6


def test_the_pipeline_keeps_up():
    config = Config(
        128,
        {"train": "train[:55000]", "val": "train[55000:]", "test": "test"},
        ("normalise",),
        ("normalise",),
    )
    source = mnist.build(mnist.Config())
    batches = build(config, source, "train", train=True, seed=0).batches(0)
    next(batches)
    begun = time.perf_counter()
    for _ in range(400):
        next(batches)
    rate = 400 * 128 / (time.perf_counter() - begun)
    assert rate > 50_000, f"{rate:.0f} examples/s"
    labels = [
        b["label"][b["mask"]] for b in build(config, source, "test", train=False, seed=0).batches(0)
    ]
    assert np.bincount(np.concatenate(labels)).tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]
    (batch,) = take(build(config, source, "train", train=True, seed=0), 1, 10**7)
    assert abs(float(batch["image"].mean())) < 0.1
