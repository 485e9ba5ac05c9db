"""The metrics against scikit-learn's, against sums by hand, and where they are not defined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn import metrics as oracle

from training import metrics


def predictions(seed: int, n: int, k: int, steps: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels [n] and probabilities [n, k]; rounded to 1 / `steps` so that scores tie."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, k, n)
    scores = random.random((n, k)) + 0.8 * np.eye(k)[labels] * random.random((n, 1))
    if steps:
        scores = np.round(scores * steps) / steps + 1e-3
    return labels, scores / scores.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("k", [2, 3, 10])
def test_confusion_and_macro_f1_equal_scikit_learn(k: int):
    labels, probabilities = predictions(k, 300, k)
    predicted = probabilities.argmax(axis=1)
    confusion = metrics.confusion_matrix(labels, predicted, k)
    np.testing.assert_array_equal(confusion, oracle.confusion_matrix(labels, predicted))
    assert metrics.macro_f1(confusion) == pytest.approx(
        oracle.f1_score(labels, predicted, average="macro"), abs=1e-12
    )
    wanted = oracle.precision_recall_fscore_support(labels, predicted)
    np.testing.assert_allclose(metrics.class_scores(confusion), wanted[:3], atol=1e-12)


def test_f1_counts_the_classes_that_occur():
    labels, predicted = np.array([0, 0, 2]), np.array([0, 1, 2])
    confusion = metrics.confusion_matrix(labels, predicted, 6)
    expected = oracle.f1_score(labels, predicted, average="macro", zero_division=0)
    assert metrics.macro_f1(confusion) == pytest.approx(expected)
    assert np.isnan(metrics.class_scores(confusion)[2][3:]).all()
    assert np.isnan(metrics.macro_f1(np.zeros((3, 3), int)))


@pytest.mark.parametrize("bad", [(np.array([0, 3]), np.array([0, 1])), (np.array([0]), [-1])])
def test_a_class_that_does_not_exist_is_named(bad):
    with pytest.raises(ValueError, match="outside of 0 to 2"):
        metrics.confusion_matrix(*bad, 3)


@pytest.mark.parametrize("steps", [0, 4])
@pytest.mark.parametrize("k", [3, 10])
def test_auc_of_many_classes_equals_scikit_learn_with_and_without_ties(k: int, steps: int):
    labels, probabilities = predictions(7, 200, k, steps)
    expected = oracle.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert metrics.roc_auc(labels, probabilities) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.int64, 30, elements=st.integers(0, 1)),
    arrays.arrays(np.float64, 30, elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9])),
)
def test_binary_auc_equals_scikit_learn_under_ties(labels: np.ndarray, scores: np.ndarray):
    if len(np.unique(labels)) < 2:
        assert np.isnan(metrics.roc_auc(labels, scores))
        return
    expected = oracle.roc_auc_score(labels, scores)
    assert metrics.roc_auc(labels, scores) == pytest.approx(expected, abs=1e-12)
    both = np.stack([1 - scores, scores], axis=1)
    assert metrics.roc_auc(labels, both) == pytest.approx(expected, abs=1e-12)


def test_auc_of_a_constant_score_is_one_half_and_skips_absent_classes():
    labels = np.array([0, 1, 1, 0])
    assert metrics.roc_auc(labels, np.full(4, 0.3)) == 0.5
    probabilities = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.3, 0.7, 0], [0.6, 0.4, 0]])
    assert metrics.roc_auc(labels, probabilities) == 1.0


def test_calibration_error_by_hand():
    # Bins of width 1/15: confidences .9 (two, one right) and .6 (two, both right).
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    labels = np.array([0, 1, 1, 1])
    error = metrics.expected_calibration_error(labels, probabilities)
    assert error == pytest.approx(0.5 * abs(0.5 - 0.9) + 0.5 * abs(1 - 0.6))
    confidence, accuracy, counts = metrics.reliability(labels, probabilities)
    assert counts.sum() == 4 and counts[13] == 2 and counts[8] == 2
    assert accuracy[13] == 0.5 and confidence[8] == pytest.approx(0.6)


def test_calibration_bins_hold_their_upper_edge_and_certainty():
    probabilities = np.array([[0.8, 0.2], [1.0, 0.0]])
    counts = metrics.reliability(np.zeros(2, int), probabilities, bins=5)[2]
    np.testing.assert_array_equal(counts, [0, 0, 0, 1, 1])


def test_a_prediction_that_is_not_finite_never_gives_a_number():
    labels, probabilities = predictions(0, 20, 3)
    probabilities[3, 1] = np.nan
    assert np.isnan(metrics.roc_auc(labels, probabilities))
    assert np.isnan(metrics.expected_calibration_error(labels, probabilities))
    assert np.isnan(metrics.expected_calibration_error(labels[:0], probabilities[:0]))
