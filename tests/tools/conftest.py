"""Trained runs, small and real, that the programs are tried on."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from data.sources import digits
from tests.tools.planted import planted  # noqa: F401  (a fixture)
from tools import parts, resolve
from training import loop

# The highest loss, so that the selected weights are not the last ones.
SELECTING = ("train.select.metric=val/loss", "train.select.mode=max", "train.test_weights=best")


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A finished run: its folder and what its result.json says."""

    folder: Path
    result: dict[str, Any]


def values_of(*overrides: str, real: bool = True) -> dict[str, Any]:
    """The digits' ViT as --smoke shrinks it; on real images in batches of 64 where `real`."""
    values = resolve.resolve(
        resolve.load_file("configs/vision/vit_digits.py"), ("model.depth=1", *overrides), smoke=True
    )
    if real:
        values = {**values, "smoke": False, "data": {**values["data"], "batch_size": 64}}
    return values


def train(folder: Path, values: dict[str, Any]) -> TrainedRun:
    """Trains in this process."""
    built = parts.build(values)
    loop.fit(built.algorithm, built.train, built.evaluators, built.settings, str(folder))
    return TrainedRun(folder, json.loads((folder / "result.json").read_text()))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """Of selected weights, on real digits."""
    return train(tmp_path_factory.mktemp("trained"), values_of(*SELECTING))


@pytest.fixture(scope="session")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """Of two members, on fake digits."""
    return train(tmp_path_factory.mktemp("ensemble"), values_of("train.ensemble=2", real=False))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits' test split as PNG files in its order."""
    folder = tmp_path_factory.mktemp("pictures")
    images = digits.build(digits.Config()).open("test").arrays["image"]
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / f"{number:04d}.png")
    return folder


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Calls a program's run(argv) and returns the JSON that it prints."""

    def call(run: Callable[[list[str]], int], *argv: object) -> Any:
        capsys.readouterr()
        assert run([*map(str, argv), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return call
