"""What answers without learning are worth, on planted data, by hand."""

import math
from typing import Any

import numpy as np
import pytest

from tests.tools.conftest import values_of
from tools import outcomes, trivial
from training.contracts import Info

INFO = Info({}, num_nodes=3, special={"pad": 0, "eos": 1})


def test_every_config_has_one() -> None:
    without = [spec for spec, values in outcomes.specs() if not trivial.known(values)]
    assert not without


def test_of_a_real_split() -> None:
    """The digits' test split has 359 images, 37 of them of the commonest class."""
    found = trivial.trivial(values_of())
    assert found == {"name": "always the commonest class", "value": pytest.approx(37 / 359)}


def test_of_a_metric_that_nothing_is_known_of() -> None:
    values = values_of("baseline.metric=test/loss")
    assert trivial.trivial(values) is None


def test_the_commonest_class() -> None:
    labels = np.array([2, 2, 2, 0, -1, -1])
    assert trivial.majority({"label": labels}, INFO) == 3 / 4


def test_the_mean_and_the_median() -> None:
    labels = np.array([0.0, 0.0, 3.0], np.float32)
    assert trivial.root_mean_square({"label": labels}, INFO) == pytest.approx(math.sqrt(2))
    assert trivial.mean_absolute({"label": labels}, INFO) == pytest.approx(1.0)


def test_scores_at_random() -> None:
    assert trivial.half({}, INFO) == 0.5
    assert trivial.positives({"label": np.array([1, 0, 0, 0])}, INFO) == 0.25
    assert trivial.random_rank({}, INFO) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)


def test_the_entropy_of_single_tokens() -> None:
    """Two tokens as often as each other are ln 2; padding, special tokens and -1 are not asked."""
    targets = np.array([[5, 5, 7, 7], [0, 1, -1, -1]])
    assert trivial.entropy({"targets": targets}, INFO) == pytest.approx(math.log(2))
    tokens = {"tokens": np.array([[5, 7, 9, 9]]), "lengths": np.array([2])}
    assert trivial.masked_entropy(tokens, INFO) == pytest.approx(math.log(2))


def test_the_commonest_answer() -> None:
    rows = np.array([[5, 6, 7, 8, 1], [5, 6, 7, 8, 1], [9, 1, 0, 0, 0]])
    arrays = {"target": rows, "target_lengths": np.array([5, 5, 2])}
    assert trivial.same_answer(arrays, INFO) == pytest.approx(2 / 3)
    assert 0 < trivial.same_sentence(arrays, INFO) < 100


def test_of_equally_common_answers_it_is_the_same_one_in_any_order_of_batches() -> None:
    rows = np.array([[5, 6, 7, 8, 1, 0], [5, 6, 7, 8, 9, 1]])
    arrays = {"target": rows, "target_lengths": np.array([5, 6])}
    turned = {name: array[::-1] for name, array in arrays.items()}
    assert trivial.same_sentence(arrays, INFO) == trivial.same_sentence(turned, INFO)


@pytest.mark.parametrize("members", [0, 2])
def test_padding_counts_nowhere_and_members_stay_apart(members: int) -> None:
    def batch(labels: list[int], mask: list[bool]) -> dict[str, Any]:
        arrays = {"label": np.array(labels), "mask": np.array(mask)}
        one = {k: np.stack([v] * members) if members else v for k, v in arrays.items()}
        if members:
            one["label"] = one["label"] + np.arange(members)[:, None]
        return one

    batches = [batch([1, 2], [True, True]), batch([3, 9], [True, False])]
    found = trivial.collected(batches, ("label",))
    assert len(found) == max(members, 1)
    for i, arrays in enumerate(found):
        assert arrays["label"].tolist() == [1 + i, 2 + i, 3 + i]
