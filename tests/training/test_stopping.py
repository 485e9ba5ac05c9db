"""The rules against the loops of the original programs, on random curves with NaN among them."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import stopping as oracle
from training.contracts import ConfigError
from training.stopping import Select, Stopping, build

MEMBERS, LENGTH = 3, 30
# Few distinct values, exact in float32, so that ties happen; means of windows of 4 stay exact.
VALUES = st.integers(0, 8).map(lambda value: value / 8)
CURVES = st.lists(
    st.lists(st.one_of(VALUES, st.just(float("nan"))), min_size=LENGTH, max_size=LENGTH),
    min_size=MEMBERS,
    max_size=MEMBERS,
)
RUNNERS: dict = {}


def run(select, stopping, **curves):
    """[(kept evaluations, evaluation that stopped)] of each member; curves by metric, [m, t]."""
    if (select, stopping) not in RUNNERS:
        init, rule = build(select, stopping)
        RUNNERS[select, stopping] = jax.jit(
            lambda metrics: jax.lax.scan(
                lambda carry, now: (lambda c, b, s: (c, (b, s)))(*rule(carry, now)),
                init(MEMBERS),
                metrics,
            )
        )
    metrics = {f"val/{name}": np.float32(curve).T for name, curve in curves.items()}
    _, (better, stop) = RUNNERS[select, stopping](metrics)
    better, stop = np.asarray(better).T, np.asarray(stop).T
    ends = [int(line.argmax()) if line.any() else None for line in stop]
    return [(list(np.flatnonzero(line)), end) for line, end in zip(better, ends, strict=True)]


@settings(max_examples=50, deadline=None)
@given(values=CURVES, mode=st.sampled_from(["max", "min"]), delta=st.sampled_from([0.0, 0.125]))
def test_the_best_so_far_is_kept_and_nan_never_is(values, mode, delta):
    actual = run(Select("val/accuracy", mode), Stopping(min_delta=delta), accuracy=values)
    assert actual == [oracle.best(line, mode, delta) for line in values]


@settings(max_examples=50, deadline=None)
@given(values=CURVES, mode=st.sampled_from(["max", "min"]), patience=st.sampled_from([1, 4]))
def test_patience(values, mode, patience):
    rule = Stopping("patience", patience=patience)
    actual = run(Select("val/loss", mode), rule, loss=values)
    assert actual == [oracle.best(line, mode, patience=patience) for line in values]


@settings(max_examples=50, deadline=None)
@given(losses=CURVES, window=st.sampled_from([1, 4]))
def test_moving_mean_stops_where_gcn_stops_and_keeps_the_last(losses, window):
    actual = run(Select(), Stopping("moving_mean", window=window), loss=losses)
    ends = [oracle.gcn(line, window) for line in losses]
    lasts = [LENGTH - 1 if end is None else end for end in ends]
    assert actual == [(list(range(last + 1)), end) for last, end in zip(lasts, ends, strict=True)]


@settings(max_examples=50, deadline=None)
@given(losses=CURVES, accuracies=CURVES, patience=st.sampled_from([1, 4]))
def test_either_or_both_does_what_gat_executes(losses, accuracies, patience):
    rule = Stopping("either_or_both", patience=patience)
    actual = run(Select("val/accuracy"), rule, loss=losses, accuracy=accuracies)
    pairs = zip(losses, accuracies, strict=True)
    assert actual == [oracle.gat(*pair, patience) for pair in pairs]


def test_the_value_of_the_kept_weights_is_remembered():
    init, rule = build(Select("val/accuracy"), Stopping("patience", patience=2))
    carry = init(2)
    assert np.isnan(carry["best"]).all()
    for values in ([0.5, np.nan], [0.25, 0.75], [0.125, 0.5], [0.875, 0.5]):
        carry, _, stop = rule(carry, {"val/accuracy": np.array(values)})
    np.testing.assert_array_equal(
        carry["best"], [0.5, 0.75], "what follows a stop counts for nothing"
    )
    np.testing.assert_array_equal(stop, [True, True])


def test_members_may_share_the_evaluation_of_the_best_mean():
    """Of the means .5, .6, .55 the second is best, though member 1 was better at the third."""
    init, rule = build(Select("val/accuracy", common=True), Stopping())
    carry, kept = init(2), []
    for values in ([0.5, 0.5], [0.8, 0.4], [0.4, 0.7]):
        carry, better, _ = rule(carry, {"val/accuracy": np.array(values)})
        kept.append(better.tolist())
    assert kept == [[True, True], [True, True], [False, False]]
    np.testing.assert_allclose(carry["best"], 0.6)


WRONG = [
    (
        Select("val/a", common=True),
        Stopping("patience", patience=3),
        "train.select.common goes with train.stopping.rule='none'",
    ),
    (Select(), Stopping("patiense"), "train.stopping.rule is 'patiense'.*patience"),
    (Select("val/a", "maximum"), Stopping(), "train.select.mode is 'maximum'"),
    (Select(), Stopping("patience", patience=3), "needs train.select.metric"),
    (Select("val/a"), Stopping("patience"), "train.stopping.patience is 0"),
    (
        Select("val/a"),
        Stopping(patience=3),
        "train.stopping.patience does nothing under rule 'none'",
    ),
    (Select(), Stopping("moving_mean", window=0), "train.stopping.window is 0"),
    (Select(), Stopping("moving_mean", accuracy="val/x"), "accuracy does nothing"),
    (Select("val/a"), Stopping(min_delta=-1.0), "min_delta is -1.0"),
    (Select(), Stopping(min_delta=1.0), "needs train.select.metric"),
    (Select("val/f1"), Stopping("either_or_both", patience=1), "'val/f1'.*'either_or_both'"),
    (Select("test/accuracy"), Stopping(), "'test/accuracy' may not select"),
    (Select(), Stopping("moving_mean", loss="test/loss"), "'test/loss' may not"),
]


@pytest.mark.parametrize(("select", "stopping", "message"), WRONG)
def test_a_setting_that_is_wrong_or_does_nothing_is_an_error(select, stopping, message):
    with pytest.raises(ConfigError, match=message):
        build(select, stopping)


def test_a_metric_that_no_evaluation_gives_names_the_nearest():
    init, rule = build(Select("val/acuracy"), Stopping())
    with pytest.raises(ConfigError, match=r"'val/acuracy'.*val/accuracy"):
        rule(init(1), {"val/accuracy": 0.5, "val/loss": 1.0})
