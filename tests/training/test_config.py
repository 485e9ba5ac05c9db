"""From plain values to dataclasses: every wrong key and type is named where it stands."""

from dataclasses import dataclass, field

import ml_collections
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import config
from training.contracts import ConfigError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    steps: int = 10
    flag: bool = False
    text: str = "a"
    maybe: float | None = None
    either: str | float = "none"
    inner: Inner = field(default_factory=Inner)
    rates: dict[str, float] = field(default_factory=dict)


def test_defaults_nested_sections_and_config_dicts():
    values = ml_collections.ConfigDict({"inner": {"rate": 1, "names": ("x",)}, "rates": {"a": 2}})
    made = config.typed(Outer, config.plain(values), "outer")
    assert made == Outer(inner=Inner(1.0, ("x",)), rates={"a": 2.0})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stps": 3}, r"unknown key outer\.stps: did you mean 'steps'"),
        ({"zzzz": 3}, r"unknown key outer\.zzzz: known: either, flag"),
        ({"inner": {"rte": 3}}, r"unknown key outer\.inner\.rte: did you mean 'rate'"),
        ({"steps": "many"}, r"outer\.steps is 'many' \(str\); it must be a whole number"),
        ({"steps": 2.5}, r"outer\.steps is 2\.5 \(float\); it must be a whole number"),
        ({"steps": True}, r"outer\.steps is True \(bool\); it must be a whole number"),
        ({"flag": 1}, r"outer\.flag is 1 \(int\); it must be True or False"),
        ({"text": 1}, r"outer\.text is 1 \(int\); it must be a text"),
        ({"maybe": "x"}, r"outer\.maybe is 'x' \(str\); it must be a number"),
        ({"inner": 3}, r"outer\.inner is 3, not a section"),
        ({"inner": {"names": "xy"}}, r"outer\.inner\.names is 'xy' \(str\); it must be a list"),
        ({"rates": {"a": "b"}}, r"outer\.rates\.a is 'b' \(str\); it must be a number"),
    ],
)
def test_what_does_not_fit_is_named(values, message):
    with pytest.raises(ConfigError, match=message):
        config.typed(Outer, values, "outer")


def test_whole_floats_and_unions():
    made = config.typed(Outer, {"steps": 3.0, "maybe": None, "either": 2}, "outer")
    assert made.steps == 3 and isinstance(made.steps, int)
    assert made.maybe is None and made.either == 2.0


TREES = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=4) | st.none(),
    lambda node: st.dictionaries(st.text("abc", min_size=1, max_size=3), node, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc", min_size=1), TREES, max_size=4))
def test_the_fingerprint_follows_the_values_and_not_their_order(values):
    turned = dict(reversed(list(values.items())))
    assert config.fingerprint(values) == config.fingerprint(turned)
    assert config.fingerprint(values) != config.fingerprint({**values, "other": 1})
    assert config.differences(values, turned) == {}


def test_differences_are_named_by_their_dotted_keys():
    old = {"train": {"steps": 3}, "evaluators": ({"name": "a", "every": 1},)}
    new = {"train": {"steps": 4}, "evaluators": ({"name": "a", "every": 2},), "x": 1}
    assert config.differences(old, new) == {
        "train.steps": (3, 4),
        "evaluators.0.every": (1, 2),
        "x": (None, 1),
    }
