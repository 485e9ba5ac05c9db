"""BASELINES.md, "The verdict", case by case."""

import math
from typing import Any

import numpy as np
import pytest

from tests.training.run_folder import BASELINE
from training import results, verdict


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


@pytest.mark.parametrize("direction", ["max", "min"])
@pytest.mark.parametrize("centre", [0.86, 0.885, 0.9, 0.92])
def test_a_wider_interval_never_turns_short_into_reproduced(direction: str, centre: float):
    words = [
        judge((centre - half, centre + half), direction=direction).word
        for half in (0.0, 0.001, 0.005, 0.01, 0.03, 0.1)
    ]
    assert words == sorted(words, key=["REPRODUCED", "SHORT"].index)


@pytest.mark.parametrize("centre", [0.86, 0.893, 0.9, 0.95])
def test_fewer_seeds_never_help(centre: float):
    """The same mean and standard deviation by fewer repeats: a wider interval, or no verdict."""
    words = []
    for repeats in (100, 20, 10, 5, 4, 3, 2, 1):
        half = np.std([-1, 1] * (repeats // 2), ddof=1) * 0.004 if repeats > 1 else 0.0
        values = [centre + half * (-1) ** i for i in range(repeats)]
        stated = {**BASELINE, "tolerance": 0.01}
        words.append(verdict.judge(stated, values, results.interval(values)).word)
    assert words == sorted(words, key=["REPRODUCED", "SHORT", "NOT JUDGED"].index)
    assert "REPRODUCED" not in words[4:]


def test_fewer_repeats_than_the_config_makes_are_not_judged():
    """A hundred initialisations are the protocol; ten of them that happen to do well are not."""
    stated = {"kind": "published", "metric": "test/accuracy", "value": 0.7, "verified": True}
    some = [0.71 + i / 1000 for i in range(10)]
    interval = [0.709, 0.72]
    assert verdict.judge(stated, some, interval, 10.0, members=10).word == "REPRODUCED"
    assert verdict.judge(stated, some, interval, 10.0, members=100).word == "NOT JUDGED"
    assert verdict.judge(stated, some, interval, 900.0, members=100).word == "FEW SEEDS"


def test_a_row_of_hours_may_have_few_seeds_and_claims_nothing():
    """Five repeats of 12 minutes are an hour; of 11 minutes they are not."""
    stated = {**BASELINE, "tolerance": 0.5}
    long = verdict.judge(stated, [0.9] * 2, (0.9, 0.9), seconds=2 * 720.0)
    assert long.word == "FEW SEEDS" and "2 of 5 repeats" in long.sentence
    assert verdict.judge(stated, [0.9] * 2, (0.9, 0.9), seconds=2 * 660.0).word == "NOT JUDGED"
    assert verdict.judge(stated, [0.9] * 5, (0.9, 0.9), seconds=5 * 720.0).word == "REPRODUCED"


def test_a_smaller_protocol_is_never_held_against_the_paper():
    found = judge(reduced="4 of 10 epochs")
    assert found.word == "REDUCED" and "4 of 10 epochs" in found.sentence


def test_what_was_not_run_says_why():
    assert verdict.judge(BASELINE, [], None).word == "NOT RUN"
    found = verdict.judge({**BASELINE, "not_run_here": "needs a pod"}, [], None)
    assert (found.word, found.sentence) == ("NOT RUN HERE", "needs a pod")


def test_what_a_rerun_may_be_off_by():
    """Of 1, 2, 3: s is 1 and t(.9995, 2) is 31.599, so that one repeat may be off by 36.49."""
    assert verdict.rerun_allowance([1.0, 2.0, 3.0], 1) == pytest.approx(36.487, abs=1e-2)
    with pytest.raises(ValueError, match="at least 2"):
        verdict.rerun_allowance([1.0], 1)


def test_a_rerun_of_the_same_is_hardly_ever_refused():
    random = np.random.default_rng(0)
    off = 0
    for _ in range(2000):
        recorded, again = random.normal(size=10), random.normal(size=5)
        allowed = verdict.rerun_allowance(list(recorded), 5)
        off += abs(again.mean() - recorded.mean()) > allowed
    assert off <= 8
