"""Every evaluator: finite scalars by member, the same twice, and figures that survive the disk."""

import dataclasses
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.contracts import examples
from tools import find, parts, resolve
from training import figures, mesh
from training.compiled import Compiled
from training.contracts import Evaluator, Report

NAMES = find.names("evaluators")
FIGURES = (
    figures.Curve, figures.Heatmap, figures.Images, figures.Frames, figures.Scatter, figures.Graph,
    figures.TextTable,
)  # fmt: skip


@cache
def run(name: str, ensemble: int = 1) -> tuple[Evaluator, Report]:
    """(evaluator, its report) on an untrained network: made-up data, the last batch padded."""
    if name in examples.RUNS:
        file = examples.of_evaluator(name)
    else:
        file = resolve.load_file("configs/vision/vit_digits.py")
    file["evaluators"] = ({"name": name, "split": "test"},)
    built = parts.build(resolve.resolve(file, [f"train.ensemble={ensemble}"], smoke=True))
    devices = mesh.make(built.settings.mesh)
    compiled = Compiled(built.algorithm, built.train, devices, built.settings.train)
    (evaluator,) = built.evaluators
    return evaluator, evaluator.run(compiled, compiled.init(0))


@pytest.mark.parametrize("name", NAMES)
def test_evaluator_is_what_the_config_says(name: str) -> None:
    evaluator, _ = run(name)
    assert (evaluator.name, evaluator.split, evaluator.every) == (name, "test", 0)


@pytest.mark.parametrize("ensemble", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_scalars_are_finite_and_by_member(name: str, ensemble: int) -> None:
    _, report = run(name, ensemble)
    assert report.scalars or report.figures
    for scalar, value in report.scalars.items():
        assert "/" not in scalar
        value = np.asarray(value)
        assert value.shape in ((), (ensemble,))
        assert np.all(np.isfinite(value))
        assert value.size == ensemble


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_the_same_twice(name: str) -> None:
    _, first = run(name)
    run.cache_clear()
    _, second = run(name)
    assert first.scalars.keys() == second.scalars.keys()
    for scalar, value in first.scalars.items():
        np.testing.assert_array_equal(value, second.scalars[scalar])


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_data_that_survives_the_disk(name: str, tmp_path: Path) -> None:
    _, report = run(name)
    for number, figure in enumerate(report.figures.values()):
        assert isinstance(figure, FIGURES)
        assert dataclasses.is_dataclass(figure)
        path = tmp_path / f"{number}.npz"
        figures.save(figure, path)
        again = figures.load(path)
        assert type(again) is type(figure)
        jax.tree.map(np.testing.assert_array_equal, vars(again), vars(figure))
