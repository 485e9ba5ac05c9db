"""Split expressions: which examples of a source a name in `data.splits` stands for.

The grammar is that of TFDS's slices, with one range: "train", "train[:80%]", "train[80%:]",
"train[10%:20%]", "train[55000:]", "train[:-5000]". A percentage stands for floor(percent * n /
100), so that adjacent slices neither overlap nor leave an example out.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from data.names import nearest
from training.contracts import ConfigError, is_test

# What most sources publish.
USUAL = {"train": "train", "val": "val", "test": "test"}
FORMS = "'train', 'train[:80%]', 'train[80%:]', 'train[55000:]', 'train[:-5000]'"
_EXPRESSION = re.compile(r"([A-Za-z][\w-]*)(?:\[(-?\d+%?)?:(-?\d+%?)?\])?")


@dataclass(frozen=True)
class Range:
    """Examples start <= i < stop of a split that the source publishes."""

    split: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def overlaps(self, other: "Range") -> bool:
        """Whether one example is in both."""
        return self.split == other.split and max(self.start, other.start) < min(
            self.stop, other.stop
        )


def parse(expression: str, num_examples: Mapping[str, int], where: str = "data.splits") -> Range:
    """The Range of an expression; raises ConfigError naming `where` if it is wrong or empty."""
    match = _EXPRESSION.fullmatch(expression)
    if match is None:
        raise ConfigError(f"{where} is {expression!r}, not a split: accepted are {FORMS}")
    name, first, last = match.groups()
    if name not in num_examples:
        raise ConfigError(
            f"{where} is {expression!r}, but the source has no split {name!r}: "
            f"{nearest(name, num_examples)}"
        )
    size = num_examples[name]
    start = _bound(first, size, 0, expression, where)
    stop = _bound(last, size, size, expression, where)
    if start >= stop:
        raise ConfigError(
            f"{where} is {expression!r}, which holds none of {name!r}'s {size} examples"
        )
    return Range(name, start, stop)


def choose(expressions: Mapping[str, str], num_examples: Mapping[str, int], split: str) -> Range:
    """The Range of `split` among `data.splits`.

    Raises ConfigError where there is no such split, or where one of them shares examples with
    "train" or "test" ("test_..." is another view of the test set, and may).
    """
    ranges = {
        name: parse(expression, num_examples, f"data.splits.{name}")
        for name, expression in expressions.items()
    }
    for name, held in itertools.product(ranges, ("train", "test")):
        if name == held or held not in ranges or (held == "test" and is_test(name)):
            continue
        if ranges[name].overlaps(ranges[held]):
            raise ConfigError(
                f"data.splits.{name} is {expressions[name]!r}, which shares examples with "
                f"data.splits.{held}, {expressions[held]!r}"
            )
    if split not in ranges:
        raise ConfigError(f"data.splits has no {split!r}: {nearest(split, ranges)}")
    return ranges[split]


def _bound(text: str | None, size: int, default: int, expression: str, where: str) -> int:
    if text is None:
        return default
    number = int(text.rstrip("%"))
    limit = 100 if text.endswith("%") else size
    if abs(number) > limit:
        unit = "100 %" if text.endswith("%") else f"{size} examples"
        raise ConfigError(f"{where} is {expression!r}: {text} lies outside of the {unit}")
    if number < 0 or text.startswith("-"):
        number += limit
    return number * size // 100 if text.endswith("%") else number
