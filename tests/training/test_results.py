"""result.json's number and its interval."""

import logging

import numpy as np
import pytest

from tests.training.runs import settings
from training import results
from training.config import Baseline, Train


def found(scalars, metric="test/accuracy", **train):
    config = settings(Train(**train))
    config = type(config)(**{**vars(config), "baseline": Baseline(metric=metric)})
    return results.result(config, None, scalars, 10, 1.0)


def test_the_mean_of_members_and_its_t_interval():
    """Of 1, 2, 3: the mean is 2, s is 1, t(0.975, 2) is 4.3027, so the half-width is 2.4842."""
    result = found({"test/accuracy": np.array([1.0, 2.0, 3.0])}, ensemble=3)
    assert result["value"] == 2.0
    assert result["interval"] == pytest.approx([2 - 2.48414, 2 + 2.48414], abs=1e-4)
    assert result["seeds"] == ["0.0", "0.1", "0.2"]


def test_one_seed_has_no_interval():
    result = found({"test/accuracy": 0.5}, seed=7)
    assert (result["value"], result["interval"], result["seeds"]) == (0.5, None, [7])


def test_a_member_that_is_not_finite_leaves_no_mean():
    result = found({"test/accuracy": np.array([1.0, np.nan])}, ensemble=2)
    assert result["value"] is None and result["interval"] is None
    assert result["values"] == [1.0, None]


def test_a_baseline_that_nothing_measured_is_warned_of(caplog: pytest.LogCaptureFixture):
    logging.getLogger("reprise").propagate = True
    result = found({"test/accuracy": 0.5}, metric="test/acuracy")
    assert result["value"] is None
    assert "did you mean 'test/accuracy'?" in caplog.text
