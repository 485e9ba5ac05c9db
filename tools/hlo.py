"""The text of an optimised XLA module, read into instructions.

It is the one thing that every backend gives and that says where collectives are and how often a
loop runs; tools/moved.py adds them up.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

CALLED = re.compile(r"\b(body|condition|calls|to_apply)=%?([\w.\-]+)")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_SPACE = re.compile(r"S\([1-9]\d*\)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_GROUPS = re.compile(r"replica_groups=\{\{([\d,]*)\}|replica_groups=\[\d+,(\d+)\]")
_MESH_GROUPS = re.compile(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}")
_MESH_AXIS = re.compile(r"'(\w+)'(?::\(\d+\)(\d+))?(?:=(\d+))?")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")


@dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    rest: str
    root: bool


Computations = Mapping[str, tuple[Instruction, ...]]


def parse(text: str) -> tuple[Computations, str]:
    """(instructions by computation, the name of the entry)."""
    computations: dict[str, list[Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            current = computations.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        elif current is not None and (found := _INSTRUCTION.match(line)):
            operands, rest = _split(found[5])
            names = tuple(_NAME.findall(operands)) or tuple(
                o.strip() for o in operands.split(",") if o.strip()
            )
            current.append(Instruction(found[2], found[3], found[4], names, rest, bool(found[1])))
    return {name: tuple(found) for name, found in computations.items()}, entry


def _split(text: str) -> tuple[str, str]:
    """Operands and attributes: what is before and after the bracket that closes."""
    depth = 1
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return text[:place], text[place + 1 :]
    return text, ""


def branches(instruction: Instruction) -> list[str]:
    """The computations that a call or a conditional may run."""
    called, named = dict(CALLED.findall(instruction.rest)), _BRANCHES.search(instruction.rest)
    return _NAME.findall(named[1]) if named else [called["to_apply"]] if called else []


def group_size(attributes: str) -> int:
    """Devices of one replica group, in any of three spellings; 1 where none are named."""
    if named := _MESH_GROUPS.search(attributes):
        whole = {axis: int(size) for axis, _, size in _MESH_AXIS.findall(named[1])}
        axes = _MESH_AXIS.findall(named[2])
        return math.prod(int(part) if part else whole[axis] for axis, part, _ in axes)
    groups = _GROUPS.search(attributes)
    if groups is None:
        pairs = re.search(r"source_target_pairs=\{(.*?)\}\}", attributes)
        return pairs[1].count("{") if pairs else 1
    return int(groups[2]) if groups[2] else groups[1].count(",") + 1


def trip_count(
    computations: Computations, instruction: Instruction, called: Mapping[str, str]
) -> int | None:
    """How often a loop runs: as XLA states it, or the one constant that its condition tests."""
    if stated := _TRIPS.search(instruction.rest):
        return int(stated[1])
    constants = [
        int(value[1])
        for i in computations.get(called.get("condition", ""), ())
        if i.opcode == "constant" and (value := re.fullmatch(r"(\d+)", ",".join(i.operands)))
    ]
    return constants[0] if len(constants) == 1 else None


def array_bytes(shape: str, main_memory: bool = False) -> int:
    """Bytes of an array or a tuple as the text has it; `main_memory`: only what lies there."""
    return sum(sizes(shape, main_memory))


def sizes(shape: str, main_memory: bool) -> list[int]:
    """Bytes of each array of a shape; 0 for one that lies elsewhere than asked."""
    found = []
    for dtype, lengths, layout in _ARRAY.findall(shape):
        bits = 8 if dtype == "pred" else int((re.findall(r"\d+", dtype) or [0])[0])
        elsewhere = main_memory and _SPACE.search(layout)
        elements = math.prod(int(n) for n in lengths.split(",") if n)
        found.append(0 if elsewhere else elements * bits // 8)
    return found
