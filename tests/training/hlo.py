"""What the text of a compiled program says: its collectives, and whether they are in a loop."""

import re
from dataclasses import dataclass

from tools import hlo

_CALLED = re.compile(r"\b(?:body|condition|calls|to_apply)=%?([\w.\-]+)")
_SHAPE = re.compile(r"\w+\[([\d,]*)\]")


@dataclass(frozen=True)
class Gather:
    """One all-gather: the shapes of its results, and whether a loop's body runs it."""

    shapes: tuple[tuple[int, ...], ...]
    looped: bool


def shapes(text: str) -> set[tuple[int, ...]]:
    """The shapes of all arrays, as one device holds them."""
    return {tuple(int(n) for n in sizes.split(",") if n) for sizes in _SHAPE.findall(text)}


def gathers(text: str) -> list[Gather]:
    """All all-gathers of a module."""
    computations, _ = hlo.parse(text)
    called = {
        name: {c for i in found for c in _CALLED.findall(i.rest)}
        for name, found in computations.items()
    }
    bodies = [
        c
        for found in computations.values()
        for i in found
        if i.opcode == "while"
        for c in re.findall(r"body=%?([\w.\-]+)", i.rest)
    ]
    looped: set[str] = set()
    while bodies:
        name = bodies.pop()
        if name not in looped:
            looped.add(name)
            bodies += called.get(name, ())
    return [
        Gather(tuple(sorted(shapes(i.shape))), name in looped)
        for name, found in computations.items()
        for i in found
        if i.opcode in ("all-gather", "all-gather-start")
    ]
