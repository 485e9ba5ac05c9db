"""Where every array of a state lies on the mesh: decided by path and shape, outside the model.

The first of these that says something of a parameter decides:

    the config's mesh.rules     exactly as they are written
    TENSOR_RULES                where mesh.tensor > 1: the split of a Transformer layer of Shoeybi
                                et al. 2019, arXiv:1909.08053, section 3, with one exchange after
                                the attention and one after the MLP; `fsdp` takes another dimension
    fsdp                        the largest dimension that it divides, of a large array (Rajbhandari
                                et al. 2020, arXiv:1910.02054, stage 3)

Optimizer state and averages lie as their parameter does; a factored moment has no place for the
dimension that it sums over. Everything else (batch statistics, counters) follows rules and `fsdp`.
Leading axes - an ensemble's members, the depth of scanned layers - are split by a rule that says so
and by nothing else: a scan over a split depth would gather all of its layers at once.
"""

import difflib
import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from training.config import nearest
from training.contracts import ConfigError
from training.mesh import AXES, BATCH_AXES
from training.trees import path_name

Rules = Sequence[Sequence[Any]]
log = logging.getLogger("reprise")

# Below this many elements of one layer an array is cheaper to keep whole than to gather.
SMALLEST_SHARDED = 2**14
# The part of a path below which parameters have a leading axis [depth] (models/layers/stack.py).
SCANNED = "layers"
# Names are those of models/layers: heads and hidden units are split, and what they are added up to
# is whole again. A rule is passed over where its axes are not all of the array's or do not divide.
TENSOR_RULES: Rules = (
    (r"attention/(query|key|value)/kernel$", None, "tensor", None),
    (r"attention/(query|key|value)/bias$", "tensor", None),
    (r"attention/out/kernel$", "tensor", None, None),
    (r"mlp/(hidden|gate)/kernel$", None, "tensor"),
    (r"mlp/(hidden|gate)/bias$", "tensor"),
    (r"mlp/out/kernel$", "tensor", None),
    (r"(^|/)head/kernel$", None, "tensor"),
    (r"(^|/)head/bias$", "tensor"),
    (r"(^|/)(?!positions/)\w+/embedding$", "tensor", None),
)


def place(shapes: Any, mesh: jax.sharding.Mesh, rules: Rules = (), leading: int = 0) -> Any:
    """A NamedSharding for each array of the tree `shapes`: a TrainState, or a Selection.

    Args:
      shapes: arrays or shapes; parameters are those below "params" or "best/params".
      mesh: of devices or abstract.
      rules: the config's mesh.rules, checked by `check`.
      leading: 1 where all arrays have a leading axis of members.

    Raises:
      ConfigError: a rule has more axes than an array that it places, or does not divide it.
    """
    flat, tree = jax.tree_util.tree_flatten_with_path(shapes)
    arrays = [(path_name(path), tuple(array.shape)) for path, array in flat]
    parameters = {
        key: (name, shape, _own(name, shape, mesh, rules, leading))
        for name, shape in arrays
        if (key := _parameter(name))
    }

    def one(name: str, shape: tuple[int, ...]) -> P:
        owner = None if _parameter(name) else _owner(name.split("/"), parameters)
        if owner is not None and not _named_alone(name, owner[0], rules):
            followed = _follow(name, shape, owner[1], owner[2])
            if followed is not None:
                return followed
        return _own(name, shape, mesh, rules, leading)

    _warn_of_undivided(arrays, mesh, rules, leading)
    specs = [NamedSharding(mesh, one(name, shape)) for name, shape in arrays]
    return jax.tree_util.tree_unflatten(tree, specs)


def check(rules: Rules, shapes: Any) -> None:
    """Raises ConfigError for a rule that is none, or that no array of the state falls under."""
    names = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(shapes)]
    for number, rule in enumerate(rules):
        where = f"mesh.rules.{number}"
        if not rule or not isinstance(rule[0], str):
            raise ConfigError(
                f"{where} is {tuple(rule)!r}: it must be a regular expression, then an axis or "
                "None for each of the last dimensions"
            )
        pattern, *axes = rule
        named = [axis for entry in axes for axis in _tuple(entry)]
        for axis in named:
            if axis not in AXES:
                raise ConfigError(f"{where} names the axis {axis!r}: {nearest(axis, AXES)}")
            if named.count(axis) > 1:
                raise ConfigError(f"{where} names the axis {axis!r} twice: a dimension is its own")
        try:
            found = any(re.search(pattern, name) for name in names)
        except re.error as error:
            raise ConfigError(f"{where}: {pattern!r} is no regular expression: {error}") from error
        if not found:
            near = difflib.get_close_matches(re.sub(r"[^\w/]", "", pattern), names, 3, 0.0)
            raise ConfigError(
                f"{where}: {pattern!r} is found in no path; the nearest are {', '.join(near)}"
            )


def _own(
    name: str,
    shape: tuple[int, ...],
    mesh: jax.sharding.Mesh,
    rules: Rules,
    leading: int,
) -> P:
    """The placement that an array's own path and shape ask for."""
    number = _rule(name, rules)
    if number is not None:
        return _ruled(name, shape, mesh, rules[number], f"mesh.rules.{number}")
    first = leading + name.split("/").count(SCANNED)
    if "carry/rollout" in name and len(shape) > first:
        rule = ("carry/rollout", BATCH_AXES, *(None,) * (len(shape) - first - 1))
        return _ruled(name, shape, mesh, rule, "data x fsdp")
    axes: list[Any] = [None] * len(shape)
    split = _tensor_rule(name, shape[first:]) if mesh.shape["tensor"] > 1 else None
    if split and _divides(shape[first:], split, mesh):
        axes[first:] = split
    fsdp = mesh.shape["fsdp"]
    if fsdp > 1 and math.prod(shape[first:]) >= SMALLEST_SHARDED:
        free = [d for d in range(first, len(shape)) if axes[d] is None and shape[d] % fsdp == 0]
        if free:
            axes[max(free, key=lambda d: shape[d])] = "fsdp"
    return _spec(axes)


def _tensor_rule(name: str, shape: Sequence[int]) -> Sequence[Any] | None:
    """The axes of the first of TENSOR_RULES that fits a path and its number of dimensions."""
    return next(
        (axes for pattern, *axes in TENSOR_RULES
         if len(axes) == len(shape) and re.search(pattern, name)), None,
    )  # fmt: skip


def _warn_of_undivided(
    arrays: Sequence[tuple[str, tuple[int, ...]]], mesh: Any, rules: Rules, leading: int
) -> None:
    """Names the parameters that a Transformer's tensor axis was to split and does not divide."""
    kept = []
    for name, shape in arrays:
        own = shape[leading + name.split("/").count(SCANNED) :]
        split = _tensor_rule(name, own)
        large = name.startswith("params/") and math.prod(own) >= SMALLEST_SHARDED
        if large and split and _rule(name, rules) is None and not _divides(own, split, mesh):
            kept.append(f"{name.removeprefix('params/')} ({_shape(shape)})")
    if kept:
        more = f" and {len(kept) - 3} more" if len(kept) > 3 else ""
        log.warning(
            "mesh.tensor=%d does not divide the heads or units of %s%s: they are kept whole, and "
            "every device of the axis computes all of them",
            mesh.shape["tensor"], ", ".join(kept[:3]), more,
        )  # fmt: skip


def _ruled(
    name: str,
    shape: tuple[int, ...],
    mesh: jax.sharding.Mesh,
    rule: Sequence[Any],
    where: str,
) -> P:
    axes = list(rule[1:])
    if len(axes) > len(shape):
        raise ConfigError(f"{where} has {len(axes)} axes, and {name} is {_shape(shape)}")
    axes = [None] * (len(shape) - len(axes)) + axes
    for dimension, entry in enumerate(axes):
        parts = math.prod(mesh.shape[axis] for axis in _tuple(entry))
        if shape[dimension] % parts:
            raise ConfigError(
                f"{where} splits dimension {dimension} of {name}, {_shape(shape)}, into {parts} "
                f"parts ({' x '.join(_tuple(entry))}), which do not divide it"
            )
    return _spec(axes)


def _rule(name: str, rules: Rules) -> int | None:
    """The number of the first rule whose pattern is found in the path."""
    return next((i for i, rule in enumerate(rules) if re.search(rule[0], name)), None)


def _named_alone(name: str, owner: str, rules: Rules) -> bool:
    """Whether a rule speaks of an array and not of the parameter that it follows."""
    number = _rule(name, rules)
    return number is not None and not re.search(rules[number][0], owner)


def _parameter(name: str) -> tuple[str, ...]:
    """The path of a parameter below "params"; () of what is none."""
    parts = tuple(name.split("/"))
    depth = 1 if parts[0] == "params" else 2 if parts[:2] == ("best", "params") else len(parts)
    return parts[depth:]


def _owner(parts: list[str], parameters: Mapping[tuple[str, ...], Any]) -> Any:
    """What `parameters` has for the longest end of a path, its network's name in front or not."""
    for start in range(1, len(parts)):
        end = tuple(parts[start:])
        for head in (*((part,) for part in parts[:start]), ()):
            if head + end in parameters:
                return parameters[head + end]
    return None


def _follow(name: str, shape: tuple[int, ...], owner: tuple[int, ...], spec: P) -> P | None:
    """The owner's placement for an array of its shape, or of that with one dimension summed."""
    if shape == owner:
        return spec
    axes = [*spec, *(None,) * (len(owner) - len(spec))]
    summed = [d for d in range(len(owner)) if owner[:d] + owner[d + 1 :] == shape]
    if not summed:
        return None
    # Of equal dimensions Adafactor sums the last for its rows and the first for its columns.
    dimension = summed[-1] if "v_row" in name else summed[0]
    return _spec(axes[:dimension] + axes[dimension + 1 :])


def _divides(shape: Sequence[int], axes: Sequence[Any], mesh: Any) -> bool:
    return all(
        size % math.prod(mesh.shape[a] for a in _tuple(entry)) == 0
        for size, entry in zip(shape, axes, strict=True)
    )


def _tuple(entry: Any) -> tuple[Any, ...]:
    if entry is None:
        return ()
    return tuple(entry) if isinstance(entry, (tuple, list)) else (entry,)


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a scalar"


def _spec(axes: Sequence[Any]) -> P:
    axes = [tuple(a) if isinstance(a, list) else a for a in axes]
    while axes and axes[-1] is None:
        axes.pop()
    return P(*axes)
