"""BASELINES.md, "The verdict", case by case."""

import math
from typing import Any

import pytest

from tests.training.run_folder import BASELINE
from training import verdict


def judge(
    interval: tuple[float, float] | None = (0.89, 0.91), repeats: int = 5, **changes: Any
) -> verdict.Verdict:
    stated = {**BASELINE, "tolerance": 0.01, **changes}
    return verdict.judge(stated, [0.9] * repeats, interval)


def test_the_worse_end_of_the_interval_decides():
    assert judge((0.8901, 0.95)).word == "REPRODUCED"
    short = judge((0.8899, 0.95))
    assert short.word == "SHORT" and "0.01 points" in short.sentence
    assert short.bound == pytest.approx(0.89)


def test_where_less_is_better_the_high_end_decides():
    stated: dict[str, Any] = {"metric": "test/loss", "direction": "min", "value": 1.0}
    assert judge((0.9, 1.009), **stated).word == "REPRODUCED"
    assert judge((0.9, 1.011), **stated).word == "SHORT"


@pytest.mark.parametrize(
    ("spread", "needed"),
    [
        ({"kind": "none", "value": 0.0, "n": 0}, 5),
        ({"kind": "seeds", "value": 0.01, "n": 100}, 5),
        ({"kind": "seeds", "value": 0.01, "n": 3}, 3),
        ({"kind": "seeds", "value": 0.01, "n": 1}, 3),
        ({"kind": "folds", "value": 0.01, "n": 4}, 4),
        ({"kind": "episodes", "value": 0.01, "n": 3}, 5),
    ],
)
def test_repeats_are_five_or_the_protocols_own_but_never_under_three(
    spread: dict[str, Any], needed: int
):
    assert judge(spread=spread, repeats=needed).word == "REPRODUCED"
    early = judge(spread=spread, repeats=needed - 1)
    assert early.word == "NOT JUDGED" and early.bound is None
    assert f"{needed - 1} of at least {needed} repeats" in early.sentence


def test_one_run_claims_nothing():
    assert judge(None, repeats=1).sentence.startswith("1 of at least 5 repeats")


def test_a_number_that_nobody_read_or_published_judges_nothing():
    assert judge(verified=False).word == "UNVERIFIED"
    assert judge(kind="own").word == "OWN"
    assert judge(value=None).word == "OWN"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tolerance": 0.02}, 0.02),
        ({"tolerance": 0.0}, 0.0),
        ({"spread": {"kind": "seeds", "value": 0.04, "n": 16}}, 0.02),
        ({"spread": {"kind": "ci95", "value": 0.03, "n": 5}}, 0.03),
        ({"spread": {"kind": "episodes", "value": 0.03, "n": 5}}, 0.005),
        ({"spread": {"kind": "none"}, "metric": "test/loss", "value": 50.0}, 1.0),
    ],
)
def test_the_tolerance_is_stated_or_two_standard_errors_or_the_metrics_default(
    changes: dict[str, Any], expected: float
):
    stated = {**BASELINE, "tolerance": None, **changes}
    assert math.isclose(verdict.tolerance(stated), expected, abs_tol=1e-12)
