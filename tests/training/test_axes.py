"""Ticks are round, inside the axis, and told apart by their labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import axes, plots

numbers = st.floats(-1e7, 1e7, allow_nan=False).map(lambda v: float(f"{v:.6g}"))


@settings(max_examples=200, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=6), st.booleans())
def test_every_value_lies_on_the_axis_and_labels_differ(values: list[float], percent: bool):
    axis = axes.make_axis(values, percent=percent)
    shares = axis(values)
    assert shares.min() >= -1e-9 and shares.max() <= 1 + 1e-9
    labels = [text for _, text in axis.ticks]
    spread = axis.high - axis.low
    if spread > 1e-5 * max(abs(axis.low), abs(axis.high), 1e-3):
        assert 2 <= len(labels) <= 12 and len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0, 1], ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([0, 50_000], ["0", "10k", "20k", "30k", "40k", "50k"]),
        ([0, 2e-4], ["0", "5e-5", "1e-4", "1.5e-4", "2e-4"]),
        ([0, 3_000_000], ["0", "1M", "2M", "3M"]),
    ],
)
def test_labels(values: list[float], labels: list[str]):
    assert [text for _, text in axes.make_axis(values, tight=True).ticks] == labels


def test_whole_numbers_have_whole_ticks():
    axis = axes.make_axis([3, 12], count=4, tight=True, whole=True)
    assert [text for _, text in axis.ticks] == ["5", "10"]
    axis = axes.make_axis([0, 2], count=4, tight=True, whole=True)
    assert [text for _, text in axis.ticks] == ["0", "1", "2"]


def test_percent_stops_at_one_hundred():
    axis = axes.make_axis([0.2, 1.0], percent=True)
    assert axis.high == 1.0 and axis.ticks[-1] == (1.0, "100 %")


def test_a_logarithmic_axis_has_its_decades():
    axis = axes.make_axis([1e-4, 10.0], log=True)
    assert [text for _, text in axis.ticks] == ["0.0001", "0.001", "0.01", "0.1", "1", "10"]
    np.testing.assert_allclose(axis([0.001]), [axis.ticks[1][0]])


def test_thinning_keeps_means_and_drops_what_is_not_finite():
    x, y = plots.thin(np.arange(1000.0), np.arange(1000.0), most=10)
    np.testing.assert_allclose(y, x)
    assert len(x) == 10 and x.mean() == pytest.approx(499.5)
    x, y = plots.thin(np.arange(3.0), np.array([1.0, np.nan, 3.0]))
    assert x.tolist() == [0, 2]
