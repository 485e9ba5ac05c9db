"""What evaluators read of a batch, without padding: the same for all members, or by member."""

import numpy as np

from evaluators.common.passes import unpadded

ROWS = np.arange(4)


def test_one_network_and_members_that_share_the_batch() -> None:
    batch = {"label": ROWS, "mask": np.array([True, True, True, False])}
    [only] = unpadded({"scores": ROWS * 1.5}, batch, 1)
    assert only["label"].tolist() == [0, 1, 2]
    assert only["scores"].tolist() == [0, 1.5, 3]
    first, second = unpadded({"scores": np.stack([ROWS, ROWS + 10])}, batch, 2)
    assert first["scores"].tolist() == [0, 1, 2]
    assert second["scores"].tolist() == [10, 11, 12]
    assert first["label"].tolist() == second["label"].tolist() == [0, 1, 2]


def test_members_with_examples_of_their_own_may_have_different_numbers_of_them() -> None:
    mask = np.array([[True, True, True, True], [True, False, False, False]])
    batch = {"label": np.stack([ROWS, ROWS + 20]), "mask": mask}
    first, second = unpadded({"scores": np.stack([ROWS, ROWS + 10])}, batch, 2)
    assert first["label"].tolist() == [0, 1, 2, 3]
    assert second == {"label": [20], "scores": [10]}
