"""The classification evaluator's scalars against scikit-learn's, its mistakes against a search."""

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as oracle

from evaluators import classification
from tests.training import run_folder
from training.contracts import Report
from training.figures import Curve, Heatmap, Images, TextTable


def run(
    probabilities: np.ndarray | None = None,
    members: int = 1,
    size: int = 64,
    mistakes: int = 12,
    **options: Any,
) -> Report:
    found = run_folder.digits()[2] if probabilities is None else probabilities
    compiled = run_folder.FakeCompiled(found, members)
    config = classification.Config(mistakes=mistakes)
    pipeline = run_folder.pipeline(size, **options)
    state: Any = run_folder.state(members)
    return classification.build(config, compiled.algorithm, pipeline, None)(compiled, state)


def test_scalars_equal_scikit_learn_and_do_not_see_padding():
    _, labels, probabilities = run_folder.digits()
    scalars = run().scalars
    predicted = probabilities.argmax(axis=1)
    expected = oracle.f1_score(labels, predicted, average="macro")
    assert scalars["macro_f1"] == pytest.approx(expected)
    expected = oracle.roc_auc_score(labels, probabilities, multi_class="ovr")
    assert scalars["roc_auc"] == pytest.approx(expected, abs=1e-9)
    assert 0 < scalars["calibration_error"] < 1
    assert set(scalars) == {"macro_f1", "roc_auc", "calibration_error"}


@pytest.mark.parametrize("size", [1, 50, 360])
def test_nothing_depends_on_the_batch_size(size: int):
    wanted, found = run(), run(size=size)
    assert found.scalars == wanted.scalars
    images, expected = found.figures["mistakes"], wanted.figures["mistakes"]
    assert images.captions == expected.captions
    np.testing.assert_array_equal(images.images, expected.images)


def test_mistakes_are_the_most_confident_ones_with_their_images():
    images, labels, probabilities = run_folder.digits()
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:5]
    figure = run(mistakes=5).figures["mistakes"]
    assert isinstance(figure, Images)
    assert figure.captions == tuple(
        f"true {labels[i]}, said {predicted[i]} ({confidence[i]:.2f})" for i in chosen
    )
    grey = np.round((images[chosen] * 0.3759 + 0.3053).clip(0, 1) * 255)
    np.testing.assert_allclose(figure.images, grey, atol=1)


def test_only_the_shown_images_are_kept():
    pipeline = run_folder.pipeline(20)
    kept = classification.Mistakes(3, pipeline)
    probabilities = run_folder.digits()[2]
    for batch in pipeline.batches(0):
        rows = batch["index"][batch["mask"]]
        label = batch["label"][batch["mask"]]
        stored = {"probabilities": probabilities[rows], "label": label, "index": rows}
        kept.add(stored, batch)
        assert len(kept._images) <= 3
    assert len(kept.found) == 3 and len(kept._images) == 3


def test_no_mistake_no_figure_and_perfect_scores():
    _, labels, _ = run_folder.digits()
    report = run(np.eye(10, dtype=np.float32)[labels])
    assert "mistakes" not in report.figures
    assert report.scalars == {"macro_f1": 1.0, "roc_auc": 1.0, "calibration_error": 0.0}


def test_figures_hold_the_matrix_the_curve_and_the_classes_by_name():
    names = tuple("abcdefghij")
    figures = run(names=names).figures
    labels, predicted = run_folder.digits()[1], run_folder.digits()[2].argmax(axis=1)
    matrix, curve, table = figures["confusion"], figures["reliability"], figures["classes"]
    assert isinstance(matrix, Heatmap) and isinstance(curve, Curve) and isinstance(table, TextTable)
    np.testing.assert_array_equal(matrix.values, oracle.confusion_matrix(labels, predicted))
    assert matrix.row_labels == names and curve.diagonal
    assert curve.sizes is not None and curve.sizes.sum() == 360
    assert [row[0] for row in table.rows] == list(names)
    assert figures["mistakes"].captions[0].startswith("true ")


def test_an_ensemble_gets_scalars_by_member_and_figures_of_member_0():
    _, labels, probabilities = run_folder.digits()
    both = np.stack([probabilities, np.eye(10, dtype=np.float32)[labels]])
    report, alone = run(both, members=2), run()
    for name, value in report.scalars.items():
        assert value.shape == (2,)
        assert value[0] == pytest.approx(alone.scalars[name])
    assert report.scalars["macro_f1"][1] == 1.0
    confusion = report.figures["confusion"]
    np.testing.assert_array_equal(confusion.values, alone.figures["confusion"].values)
    assert all("(member 0 of 2)" in figure.title for figure in report.figures.values())


def test_a_diverged_model_gives_nan_and_no_reliability():
    report = run(np.full((360, 10), np.nan, np.float32))
    assert all(np.isnan(value) for value in report.scalars.values())
    assert set(report.figures) == {"confusion", "classes"}
