"""Tensors of a family to our arrays and back: names, axes and shapes checked, nothing silent."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import EinopsError, rearrange

from tools import find
from tools.weights.common.family import LAYER, Architecture, Entry, Family
from training import config as configs
from training.contracts import DataError, Info
from training.trees import named

Arrays = dict[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]
# So many names stand in a message; the rest are counted.
_LISTED = 8


@dataclass
class Notes:
    """What of a file or a run found no counterpart, by kind; each kind is a warning."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        """One more of a kind."""
        self.found.setdefault(kind, []).append(name)

    def lines(self) -> list[str]:
        """A line for each kind."""
        return [f"{kind}: {listed(names)}" for kind, names in self.found.items()]


def listed(names: list[str]) -> str:
    """The names, cut where they are many."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def expanded(family: Family, depth: int) -> Iterator[Entry]:
    """Every entry, those of layers once for each."""
    for entry in family.entries:
        if LAYER not in entry.theirs:
            yield entry
            continue
        for layer in range(depth):
            theirs = entry.theirs.replace(LAYER, str(layer))
            ours = tuple(path.replace(LAYER, f"{layer:02d}") for path in entry.paths)
            yield Entry(theirs, ours, entry.pattern, entry.group, entry.outside)


def shapes_of(family: Family, section: Mapping[str, Any], info: Info, image: Any) -> Shapes:
    """{path: shape} of the model of a section.

    `image` is [height, width, channels] of a family of images.
    """
    module = find.part("model", family.model)
    rest = {key: value for key, value in section.items() if key != "name"}
    model = module.build(configs.typed(module.Config, rest, "model"), info)
    example = jnp.zeros((1, *image)) if family.image else jnp.zeros((1, 2), jnp.int32)
    params = jax.eval_shape(
        lambda key: model.init(key, example, train=False)["params"], jax.random.key(0)
    )
    return {path: leaf.shape for path, leaf in named(params).items()}


def plain_names(family: Family, names: Any) -> dict[str, str]:
    """{name as the table has it: name in the file}; DataError where two names are one tensor's."""
    found: dict[str, str] = {}
    for name in names:
        plain = name.removeprefix(family.prefix)
        for pattern, replacement in family.renames:
            plain = re.sub(pattern, replacement, plain)
        if plain in found:
            raise DataError(f"{found[plain]} and {name} are two tensors for one place")
        found[plain] = name
    return found


def to_ours(
    family: Family,
    section: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    own: Shapes,
    body: Shapes,
    with_head: bool,
) -> tuple[Arrays, Notes]:
    """({our path: float32 array}, what found no place) of a file's tensors.

    Args:
      family: whose names they have.
      section: our section `model`.
      tensors: by the names of the file.
      own: shapes of the section's model.
      body: of the one of `family.body`, whose arrays are taken too: a run of another head begins
        with them.
      with_head: whether config.json says that the file holds all of `own`; else it may hold the
        body alone.

    Raises:
      DataError: names of the body or of a head are missing, a shape or a value is none of weights,
        a tensor is none of the family's; all are listed.
    """
    names, notes, faults = plain_names(family, tensors), Notes(), Notes()
    shapes = {**body, **own}
    entries = list(expanded(family, section["depth"]))
    begun = {"", *(e.group for e in entries if e.theirs in names)}
    taken: Arrays = {}
    for entry in entries:
        placed = all(path in shapes for path in entry.paths)
        if entry.theirs not in names:
            of_model = all(path in own for path in entry.paths)
            if (placed and entry.group in begun) or (of_model and with_head):
                faults.add("missing", entry.theirs)
            elif of_model:
                notes.add("not there, and fresh where a run begins", entry.theirs)
        elif placed:
            tensor = tensors[names[entry.theirs]]
            fault = unfit(tensor)
            if fault:
                faults.add(fault, names[entry.theirs])
                continue
            arrays = forward(entry, tensor, lengths(family, section))
            if [a.shape for a in arrays] == [shapes[path] for path in entry.paths]:
                taken |= dict(zip(entry.paths, arrays, strict=True))
            else:
                expected = list(their_shape(entry, shapes, family, section))
                faults.add(
                    "of another shape",
                    f"{names[entry.theirs]} {list(tensor.shape)} in place of {expected}",
                )
        elif entry.theirs not in family.tied:
            notes.add("no place in the model", names[entry.theirs])
    _others(family, entries, shapes, tensors, names, notes, faults)
    if faults.found:
        raise DataError(f"the tensors are none of a {family.model_type}: " + told(faults))
    return taken, notes


def unfit(tensor: np.ndarray) -> str:
    """Why a tensor cannot be weights, "" where it can."""
    if not jnp.issubdtype(tensor.dtype, jnp.floating):
        return f"of {tensor.dtype}, whole numbers that stand for others"
    # As float32: NumPy has no bfloat16 to ask.
    return "" if np.isfinite(tensor.astype(np.float32)).all() else "not finite"


def told(notes: Notes) -> str:
    """All kinds in one line."""
    return "; ".join(notes.lines())


def _others(
    family: Family,
    entries: list[Entry],
    shapes: Shapes,
    tensors: Mapping[str, np.ndarray],
    names: Mapping[str, str],
    notes: Notes,
    faults: Notes,
) -> None:
    """Sorts the tensors that are no entry of the table, or only repeat one."""
    known = {entry.theirs for entry in entries if all(path in shapes for path in entry.paths)}
    known |= {entry.theirs for entry in entries} - set(family.tied)
    for name, original in names.items():
        if name in known:
            continue
        twin = names.get(family.tied.get(name, ""))
        if any(re.search(pattern, name) for pattern in family.buffers):
            notes.add("nothing learned", original)
        elif any(re.search(pattern, name) for pattern in family.dropped):
            notes.add("no place in the model", original)
        elif twin is None:
            faults.add("left over", original)
        elif not np.array_equal(tensors[original], tensors[twin]):
            faults.add("not equal, where the model has one array for both", f"{original}, {twin}")


def to_theirs(
    family: Family,
    section: Mapping[str, Any],
    architecture: str,
    arrays: Mapping[str, np.ndarray],
) -> tuple[Arrays, Notes]:
    """({their name: tensor}, what has no counterpart) of our arrays.

    Raises:
      DataError: an array of the body is missing.
    """
    base = architecture == next(iter(family.architectures))
    missing, notes = Notes(), Notes()
    used: set[str] = set()
    made: Arrays = {}
    for entry in expanded(family, section["depth"]):
        if base and entry.outside:
            continue
        if not all(path in arrays for path in entry.paths):
            if not entry.group:
                missing.add("missing", ", ".join(entry.paths))
            continue
        used |= set(entry.paths)
        name = entry.theirs if base or entry.outside else family.prefix + entry.theirs
        tensor = backward(entry, [arrays[path] for path in entry.paths], lengths(family, section))
        made[name] = np.ascontiguousarray(tensor, np.float32)
    if missing.found:
        raise DataError(f"the run's arrays are none of a {family.model}: " + told(missing))
    for path in arrays:
        if path not in used:
            notes.add(f"no place in {architecture}", path)
    return made, notes


def group_of(family: Family, architecture: Architecture) -> tuple[str, ...]:
    """Our paths of an architecture's head."""
    entries = [e for e in family.entries if architecture.group and e.group == architecture.group]
    return tuple(path for entry in entries for path in entry.paths)


def lengths(family: Family, section: Mapping[str, Any]) -> dict[str, int]:
    """Lengths of the axes that patterns name and shapes alone do not say."""
    return {
        axis: section[value] if isinstance(value, str) else value
        for axis, value in family.lengths.items()
    }


def forward(entry: Entry, tensor: np.ndarray, axes: Mapping[str, int]) -> list[np.ndarray]:
    """Our arrays of a tensor; one of shape [-1] where its axes are not those of the pattern."""
    found = np.asarray(tensor, np.float32)
    if entry.pattern:
        try:
            found = rearrange(found, entry.pattern, **_named(entry.pattern, axes))
        except EinopsError:
            return [np.zeros(0, np.float32)] * len(entry.paths)
    return [np.asarray(found)] if len(entry.paths) == 1 else list(found)


def backward(entry: Entry, arrays: list[np.ndarray], axes: Mapping[str, int]) -> np.ndarray:
    """The tensor of our arrays: the inverse of `forward`."""
    found = arrays[0] if len(arrays) == 1 else np.stack(arrays)
    if not entry.pattern:
        return found
    theirs, _, ours = entry.pattern.partition(" -> ")
    return rearrange(found, f"{ours} -> {theirs}", **_named(entry.pattern, axes))


def their_shape(
    entry: Entry, shapes: Shapes, family: Family, section: Mapping[str, Any]
) -> tuple[int, ...]:
    """The shape that a tensor should have."""
    arrays = [np.broadcast_to(np.float32(0), shapes[path]) for path in entry.paths]
    return backward(entry, arrays, lengths(family, section)).shape


def _named(pattern: str, axes: Mapping[str, int]) -> dict[str, int]:
    named = set(re.findall(r"\w+", pattern))
    return {axis: length for axis, length in axes.items() if axis in named}
