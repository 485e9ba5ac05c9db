"""What a compiled program moves: its collectives and the bytes between memory and chip.

XLA's own cost analysis takes the body of a loop once; here it counts as often as the loop runs. A
fusion reads its operands and writes its result; of an array that it only slices, or updates in
place, the slice counts. An array in a memory space other than the main one (on TPUs S(1), the
vector memory) moves nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tools import hlo
from tools.hlo import Computations, Instruction

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# They name, regroup or end what others compute.
FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "iota",
    "partition-id", "replica-id", "opt-barrier", "while", "conditional", "call", "domain",
}  # fmt: skip
SLICES = ("dynamic-slice", "slice", "gather")
_CHANNEL = re.compile(r"channel_id=(\d+)")


@dataclass(frozen=True)
class Collective:
    """One kind over groups of one size, in one step, of one device.

    Attributes:
      kind: one of `COLLECTIVES`.
      group: devices that take part.
      count: how often it runs.
      bytes: of the whole array that is gathered, reduced, scattered or sent, all runs together.
    """

    kind: str
    group: int
    count: int
    bytes: float

    @property
    def wire(self) -> float:
        """Bytes that the device must send: (n - 1) / n of the array, twice for an all-reduce."""
        if self.kind == "collective-permute":
            return self.bytes
        ways = 2 if self.kind == "all-reduce" else 1
        return ways * self.bytes * (self.group - 1) / max(1, self.group)


@dataclass(frozen=True)
class Moved:
    """What one device moves in a call of the module.

    Attributes:
      bytes: between its memory and its units.
      kernel_bytes: the part of them that hand-written kernels move.
      collectives: summed by kind and size of group.
      custom_calls: targets of custom calls, by how often they run.
      open_loops: loops whose length the text does not tell; their body counts once.
    """

    bytes: float
    kernel_bytes: float
    collectives: tuple[Collective, ...]
    custom_calls: Mapping[str, int]
    open_loops: int


@dataclass
class _Sum:
    bytes: float = 0.0
    kernel_bytes: float = 0.0
    open_loops: int = 0
    # By channel: a collective that goes on behind several fusions stands in each of them.
    collectives: dict[str, tuple[str, int, int, float]] = field(default_factory=dict)
    custom_calls: dict[str, int] = field(default_factory=dict)


def read(text: str) -> Moved:
    """Reads the text of an optimised module (`compiled.as_text()`)."""
    computations, entry = hlo.parse(text)
    found = _Sum()
    if entry:
        _walk(computations, entry, 1, found)
    summed: dict[tuple[str, int], tuple[int, float]] = {}
    for kind, group, times, size in found.collectives.values():
        count, total = summed.get((kind, group), (0, 0.0))
        summed[kind, group] = (count + times, total + times * size)
    collectives = tuple(Collective(*key, *value) for key, value in sorted(summed.items()))
    return Moved(found.bytes, found.kernel_bytes, collectives, found.custom_calls, found.open_loops)


def _walk(computations: Computations, name: str, times: int, found: _Sum) -> None:
    shapes = {i.name: i.shape for i in computations[name]}
    for instruction in computations[name]:
        called = dict(hlo.CALLED.findall(instruction.rest))
        if instruction.opcode == "while":
            trips = hlo.trip_count(computations, instruction, called)
            found.open_loops += trips is None
            _walk(computations, called["body"], times * (trips or 1), found)
            continue
        _collective(computations, instruction, name, shapes, times, found)
        if instruction.opcode in ("call", "conditional"):
            for inner in hlo.branches(instruction):
                _walk(computations, inner, times, found)
        elif "calls" in called:
            _inside(computations, called["calls"], times, found)
        if instruction.opcode == "custom-call":
            target = re.search(r'custom_call_target="([^"]*)"', instruction.rest)
            key = target[1] if target else "unknown"
            found.custom_calls[key] = found.custom_calls.get(key, 0) + times
        size = times * _traffic(computations, instruction, called, shapes)
        found.bytes += size
        if "tpu_custom_call" in instruction.rest:
            found.kernel_bytes += size


def _inside(computations: Computations, name: str, times: int, found: _Sum) -> None:
    """The collectives of a fusion; what it moves is told by its operands."""
    shapes = {i.name: i.shape for i in computations.get(name, ())}
    for instruction in computations.get(name, ()):
        _collective(computations, instruction, name, shapes, times, found)
        for inner in hlo.CALLED.findall(instruction.rest):
            if inner[0] == "calls":
                _inside(computations, inner[1], times, found)


def _collective(
    computations: Computations, instruction: Instruction, inside: str,
    shapes: Mapping[str, str], times: int, found: _Sum,
) -> None:  # fmt: skip
    kind = instruction.opcode.removesuffix("-start")
    if kind not in COLLECTIVES:
        return
    group = hlo.group_size(instruction.rest)
    size = float(sum(hlo.array_bytes(shapes.get(o, "")) for o in instruction.operands))
    if kind == "all-gather":
        size *= group
    if inside.startswith("all-reduce-scatter"):
        # TPUs fuse the reduction with the slice that follows it: half the bytes on the wire.
        kind = "reduce-scatter"
    channel = _CHANNEL.search(instruction.rest)
    key = channel[1] if channel else f"{inside}/{instruction.name}"
    earlier = found.collectives.get(key, (kind, group, 0, size))
    found.collectives[key] = (*earlier[:2], max(times, earlier[2]), size)


def _traffic(
    computations: Computations, instruction: Instruction, called: Mapping[str, str],
    shapes: Mapping[str, str],
) -> float:  # fmt: skip
    opcode = instruction.opcode
    if opcode in FREE or opcode.endswith(("-done", "-update")):
        return 0.0
    written = hlo.array_bytes(instruction.shape, True)
    if opcode == "slice-start":
        # ((operands), result, context): the operand lies where it lies, the slice is copied.
        return float(hlo.sizes(instruction.shape, False)[len(instruction.operands)])
    if opcode.endswith("-start"):
        # Its tuple repeats the operands beside the result.
        written = max(0, written - sum(_read(shapes, o) for o in instruction.operands))
    if opcode in SLICES:
        return 2.0 * written
    if opcode == "dynamic-update-slice":
        return 2.0 * _read(shapes, instruction.operands[1])
    body = computations.get(called.get("calls", ""), ())
    if opcode != "fusion" or not body:
        return written + sum(_read(shapes, o) for o in instruction.operands)
    return _fused(body, instruction.shape) + sum(
        _operand(computations, called["calls"], place, _read(shapes, o))
        for place, o in enumerate(instruction.operands)
    )


def _read(shapes: Mapping[str, str], name: str) -> int:
    return hlo.array_bytes(shapes.get(name, ""), True)


def _operand(computations: Computations, called: str, place: int, size: float) -> float:
    """Bytes that a fusion reads of its operand at `place`, which is `size` bytes long."""
    body = computations.get(called, ())
    names = [i.name for i in body if i.opcode == "parameter" and i.operands == (str(place),)]
    shapes = {i.name: i.shape for i in body}
    read = 0.0
    for name in names:
        for user in (i for i in body if name in i.operands):
            if user.opcode == "bitcast":
                names.append(user.name)
            elif user.opcode in SLICES:
                read += hlo.array_bytes(user.shape)
            elif user.opcode == "dynamic-update-slice" and user.operands[0] == name:
                read += hlo.array_bytes(shapes.get(user.operands[1], ""))
            elif user.opcode == "fusion":
                inner = dict(hlo.CALLED.findall(user.rest))["calls"]
                read += _operand(computations, inner, user.operands.index(name), size)
            else:
                return size
    return min(size, read)


def _fused(body: tuple[Instruction, ...], shape: str) -> float:
    """Bytes that a fusion writes: of an array that it updates in place, the update."""
    local = {i.name: i for i in body}
    root = next((i for i in body if i.root), None)
    written = hlo.sizes(shape, True)
    if root is None:
        return sum(written)
    results = root.operands if root.opcode == "tuple" else (root.name,)
    if len(results) != len(written):
        return sum(written)
    for place, name in enumerate(results):
        made = local.get(name)
        while made is not None and made.opcode in ("bitcast", "copy") and made.operands:
            made = local.get(made.operands[0])
        if made is not None and made.opcode == "dynamic-update-slice":
            update = local.get(made.operands[1])
            written[place] = min(written[place], hlo.array_bytes(update.shape) if update else 0)
    return sum(written)
