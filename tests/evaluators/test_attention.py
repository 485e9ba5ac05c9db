"""Where a model looks: rollout against sums by hand, patches found by size, overlays in place."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evaluators import attention
from tests.training import run_folder
from training.contracts import Info, Report
from training.figures import Images


def run(
    compiled: run_folder.FakeCompiled, size: int = 64, config: attention.Config | None = None
) -> Report:
    members = compiled.algorithm.members
    build = attention.build(
        config or attention.Config(), compiled.algorithm, run_folder.pipeline(size), None
    )
    state: Any = run_folder.state(members)
    return build(compiled, state)


def fake(tokens: int = 17, members: int = 1) -> run_folder.FakeCompiled:
    return run_folder.FakeCompiled(run_folder.digits()[2], members, tokens)


@pytest.mark.parametrize(("tokens", "query"), [(17, "the class token"), (16, "all patches")])
def test_a_row_shows_the_image_the_rollout_and_the_heads(tokens: int, query: str):
    figure = run(fake(tokens)).figures["attention"]
    assert isinstance(figure, Images)
    assert figure.title.startswith(f"Attention of {query},")
    assert figure.columns == 6 and len(figure.images) == 24
    label = run_folder.digits()[1][0]
    assert figure.captions[:3] == (f"true {label}", "rollout", "head 1")
    assert figure.overlays is not None and figure.overlays.shape == (24, 4, 4)
    peaks = figure.overlays.max(axis=(1, 2)).reshape(4, 6)
    np.testing.assert_array_equal(peaks[:, 0], 0)
    np.testing.assert_allclose(peaks[:, 1:], 1)


def test_heads_are_those_of_the_last_layer_seen_from_the_class_token():
    weights = np.zeros((1, 2, 2, 5, 5))
    weights[..., 0] = 1.0
    weights[0, 1, 1] = [[0.2, 0.0, 0.1, 0.3, 0.4]] * 5
    images = np.zeros((1, 4, 4, 1), np.float32)
    figure = attention.draw(weights, images, np.array([3]), Info({}), heads=8)
    assert figure is not None and figure.overlays is not None
    assert figure.captions == ("true 3", "rollout", "head 1", "head 2")
    np.testing.assert_allclose(figure.overlays[3], np.array([[0, 0.25], [0.75, 1]]))
    np.testing.assert_array_equal(figure.overlays[2], 0)


def test_without_a_class_token_the_query_is_the_mean_of_all_patches():
    weights = np.zeros((1, 3, 3))
    weights[0, 0, 2] = weights[0, 1, 2] = weights[0, 2, 1] = 1
    np.testing.assert_allclose(attention.from_query(weights, 0), [[0, 1 / 3, 2 / 3]])
    np.testing.assert_allclose(attention.from_query(weights, 1), [[0, 1]])


def test_rollout_is_the_product_of_the_layers_with_their_residuals():
    random = np.random.default_rng(0)
    weights = random.random((2, 3, 4, 5, 5))
    weights /= weights.sum(axis=-1, keepdims=True)
    found = attention.rollout(weights)
    for b in range(2):
        product = np.eye(5)
        for layer in range(3):
            product = (weights[b, layer].mean(axis=0) + np.eye(5)) / 2 @ product
        np.testing.assert_allclose(found[b], product)
    np.testing.assert_allclose(found.sum(axis=-1), 1)


@pytest.mark.parametrize(
    ("tokens", "height", "width", "grid"),
    [
        (16, 8, 8, (4, 4)),
        (17, 8, 8, (4, 4)),
        (197, 224, 224, (14, 14)),
        (198, 224, 224, (14, 14)),
        (200, 224, 224, (14, 14)),
        (9, 16, 32, (2, 4)),
        (30, 8, 8, None),
        (1, 8, 8, None),
    ],
)
def test_the_grid_of_patches(tokens: int, height: int, width: int, grid: tuple[int, int] | None):
    assert attention.patch_grid(tokens, height, width) == grid


def test_an_ensemble_shows_member_0():
    figure, alone = run(fake(members=2)).figures["attention"], run(fake()).figures["attention"]
    assert figure.title.endswith("(member 0 of 2)")
    np.testing.assert_array_equal(figure.overlays, alone.overlays)


def test_no_figure_where_there_is_nothing_to_explain():
    silent = fake()
    silent.algorithm = SimpleNamespace(members=1)
    assert run(silent) == Report()

    class Empty(run_folder.FakeCompiled):
        def explain(self, state: Any, batch: dict[str, Any], key: Any) -> dict[str, Any]:
            return {}

    assert run(Empty(run_folder.digits()[2])) == Report()
    assert run(fake(tokens=40)) == Report()


def test_no_more_rows_are_explained_than_are_shown_and_the_mesh_needs():
    seen = []

    class Watching(run_folder.FakeCompiled):
        def put(self, batch: dict[str, Any]) -> dict[str, Any]:
            seen.append(len(batch["mask"]))
            return dict(batch)

    compiled = Watching(run_folder.digits()[2])
    compiled.mesh = SimpleNamespace(shape={"data": 4, "fsdp": 2})
    figure = run(compiled, config=attention.Config(examples=3, heads=1)).figures["attention"]
    assert seen == [64, 8] and len(figure.images) == 9


def test_padding_is_not_shown():
    compiled = fake()
    batches = run_folder.pipeline(64, order=[5, 9])
    state: Any = run_folder.state()
    run = attention.build(attention.Config(), compiled.algorithm, batches, None)
    figure = run(compiled, state).figures["attention"]
    assert len(figure.images) == 12
