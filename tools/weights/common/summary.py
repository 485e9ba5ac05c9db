"""What was read or written, in a table: a row for each part of the model, its layers in one."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from rich.table import Table

from tools import show

# "layer_03/..." of ours, "bert.encoder.layer.3...." of theirs.
_NUMBERED = re.compile(r"^(?P<column>.*?[._])(?P<number>\d+)[./]")


def display(title: str, arrays: Mapping[str, np.ndarray], unit: str) -> None:
    """Prints the table of arrays by their names, ours or a publisher's; `unit` is what one is."""
    table = Table("part", unit, "parameters", title_justify="left")
    table.title = title
    found = rows(arrays)
    for part, count, size in found:
        table.add_row(part, f"{count}", f"{size:,}")
    table.add_section()
    table.add_row("all", f"{sum(r[1] for r in found)}", f"{sum(r[2] for r in found):,}")
    show.console().print(table)


def rows(arrays: Mapping[str, np.ndarray]) -> Sequence[tuple[str, int, int]]:
    """(part, its arrays, their elements), in the order of the names."""
    parts: dict[str, list[str]] = {}
    for name in arrays:
        found = _NUMBERED.match(name)
        parts.setdefault(found["column"] if found else _without_last(name), []).append(name)
    return [
        (_spelt(part, names), len(names), sum(arrays[name].size for name in names))
        for part, names in parts.items()
    ]


def _without_last(name: str) -> str:
    """The layer of an array: its name without "/kernel" or ".weight"."""
    return re.sub(r"[./][^./]*$", "", name)


def _spelt(part: str, names: Sequence[str]) -> str:
    """ "layer_00 to layer_05" of layers, and of anything else its name."""
    found = [_NUMBERED.match(name) for name in names]
    numbers = [match["number"] for match in found if match]
    if not numbers:
        return part
    first, last = (pick(numbers, key=int) for pick in (min, max))
    return f"{part}{first}" if first == last else f"{part}{first} to {part}{last}"
