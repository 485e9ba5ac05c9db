"""Split expressions: slices partition a split, and errors are one line that says what is right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.splits import Range, parse
from training.contracts import ConfigError

SIZES = {"train": 1000, "test": 10}


@pytest.mark.parametrize(
    ("expression", "start", "stop"),
    [
        ("train", 0, 1000),
        ("train[:]", 0, 1000),
        ("train[:80%]", 0, 800),
        ("train[80%:]", 800, 1000),
        ("train[10%:20%]", 100, 200),
        ("train[55:]", 55, 1000),
        ("train[:-50]", 0, 950),
        ("train[-10%:]", 900, 1000),
        ("train[:1000]", 0, 1000),
    ],
)
def test_accepted_forms(expression, start, stop):
    assert parse(expression, SIZES) == Range("train", start, stop)


@given(st.integers(1, 10**7), st.integers(1, 99))
def test_a_percentage_cuts_without_gap_or_overlap(size, percent):
    sizes = {"train": size}
    parts = []
    for expression in (f"train[:{percent}%]", f"train[{percent}%:]"):
        try:
            parts.append(parse(expression, sizes))
        except ConfigError as error:
            assert "none of" in str(error)
    covered = [i for part in parts for i in (part.start, part.stop)]
    assert covered[0] == 0 and covered[-1] == size
    if len(parts) == 2:
        assert parts[0].stop == parts[1].start
        assert not parts[0].overlaps(parts[1])


@given(st.integers(1, 1000), st.integers(-1000, 1000), st.integers(-1000, 1000))
def test_positions_are_python_slices(size, first, last):
    expected = range(size)[first:last]
    try:
        found = parse(f"train[{first}:{last}]", {"train": size})
    except ConfigError:
        assert not len(expected) or abs(first) > size or abs(last) > size
    else:
        assert (found.start, found.stop) == (expected.start, expected.stop)
        assert len(found) == len(expected)


@given(st.text(max_size=20))
def test_any_text_is_a_range_or_one_line(text):
    try:
        found = parse(text, SIZES)
    except ConfigError as error:
        assert "\n" not in str(error).replace(repr(text), "")
        assert error.code == 2
    else:
        assert 0 <= found.start < found.stop <= SIZES[found.split]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "accepted are 'train'"),
        ("train[80%]", "accepted are 'train'"),
        ("train[:80%", "accepted are 'train'"),
        ("train[0.5:]", "accepted are 'train'"),
        ("train+test", "accepted are 'train'"),
        ("tran", "did you mean 'train'"),
        ("validation", "known: test, train"),
        ("train[:120%]", "outside of the 100 %"),
        ("test[11:]", "outside of the 10 examples"),
        ("test[5:5]", "none of"),
        ("test[:0]", "none of"),
    ],
)
def test_wrong_ones_say_what_is_right(expression, said):
    with pytest.raises(ConfigError, match=r"data\.splits\.val is") as caught:
        parse(expression, SIZES, "data.splits.val")
    assert said in str(caught.value)


def test_minus_zero_is_the_end_as_in_no_slice():
    with pytest.raises(ConfigError):
        parse("train[-0:]", SIZES)


def test_overlap():
    assert Range("train", 0, 10).overlaps(Range("train", 9, 12))
    assert not Range("train", 0, 10).overlaps(Range("train", 10, 12))
    assert not Range("train", 0, 10).overlaps(Range("test", 0, 10))
