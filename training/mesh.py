"""The device mesh: its axes, how a batch is split over it, and how batches come and results go.

One mesh with the axes `data`, `fsdp`, `tensor` and `sequence`. A batch is split over data x fsdp;
where the arrays of a state lie is decided by training/placement.py.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from training.config import Mesh
from training.contracts import ConfigError

AXES = ("data", "fsdp", "tensor", "sequence")
BATCH_AXES = ("data", "fsdp")
# Explicit axes, JAX's default, break Linen's Dropout.
_TYPES = (AxisType.Auto,) * len(AXES)


def make(config: Mesh, devices: Sequence[Any] | None = None) -> jax.sharding.Mesh:
    """The mesh of all devices or of `devices`; raises ConfigError where sizes do not fit.

    The devices of one process are neighbours: it reads one contiguous part of a batch, and the
    inner axes, tensor and sequence, stay on its own interconnect where they fit.
    """
    devices = sorted(jax.devices() if devices is None else devices, key=lambda d: d.process_index)
    grid = np.asarray(devices, dtype=object).reshape(sizes(config, len(devices)))
    return jax.sharding.Mesh(grid, AXES, axis_types=_TYPES)


def abstract(config: Mesh, count: int) -> Any:
    """The AbstractMesh of `count` devices that need not be here: to look at, not to run on."""
    return AbstractMesh(sizes(config, count), AXES, axis_types=_TYPES)


def compiler_options(mesh: Any) -> dict[str, str] | None:
    """What XLA is told of the programs of a mesh; None is its defaults.

    On TPUs it turns a product with a weight that FSDP gathers into a loop over the weight's parts,
    which reads and writes the whole result in each turn: 4 times the bytes of ViT-L on v6e:4x4.
    """
    abstract_mesh = isinstance(mesh, AbstractMesh)
    if abstract_mesh or mesh.shape["fsdp"] == 1 or mesh.devices.flat[0].platform != "tpu":
        return None
    # From how many MiB on it does so.
    return {"xla_jf_spmd_threshold_for_windowed_einsum_mib": "1000000"}


def sizes(config: Mesh, count: int) -> tuple[int, ...]:
    """The sizes of `AXES` for `count` devices; raises ConfigError and says which would fit."""
    asked = {axis: getattr(config, axis) for axis in AXES}
    text = " x ".join(f"{axis}={size}" for axis, size in asked.items())
    if list(asked.values()).count(-1) > 1 or any(s < 1 and s != -1 for s in asked.values()):
        raise ConfigError(f"mesh {text}: every size is at least 1, and one of them may be -1")
    known = math.prod(s for s in asked.values() if s != -1)
    rest = count // known if -1 in asked.values() else 1
    if known * rest != count:
        raise ConfigError(f"mesh {text} does not fit {count} devices: {_fitting(asked, count)}")
    return tuple(rest if s == -1 else s for s in asked.values())


def _fitting(asked: Mapping[str, int], count: int) -> str:
    """Which change of one size would make a mesh fit."""
    changes = []
    for axis, size in asked.items():
        others = [s for a, s in asked.items() if a != axis]
        known = math.prod(s for s in others if s != -1)
        if size == -1 or count % known:
            continue
        left = count // known
        fits = [s for s in range(1, left + 1) if left % s == 0] if -1 in others else [left]
        near = sorted(fits, key=lambda s, size=size: abs(s - size))[:2]
        changes += [f"mesh.{axis}={s}" for s in sorted(near)]
    if changes:
        return f"{' or '.join(changes)} would"
    divisors = ", ".join(str(d) for d in range(1, count + 1) if count % d == 0)
    return f"one size of -1 takes the rest, and the others are of {divisors}"


def batch_parts(mesh: jax.sharding.Mesh) -> int:
    """In how many parts a batch is split."""
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def batch_sharding(mesh: jax.sharding.Mesh, leading: int = 0) -> NamedSharding:
    """Splits the axis after `leading` ones (steps, phases, members) over data x fsdp."""
    return NamedSharding(mesh, P(*(None,) * leading, BATCH_AXES))


def check_batch(
    specs: Mapping[str, jax.ShapeDtypeStruct], mesh: jax.sharding.Mesh, axis: int
) -> None:
    """Raises ConfigError where a batch cannot be split evenly over the mesh."""
    parts = batch_parts(mesh)
    for name, spec in specs.items():
        size = spec.shape[axis]
        if size % parts:
            near = [s for s in (size // parts * parts, (size // parts + 1) * parts) if s]
            raise ConfigError(
                f"data.batch_size {size} does not divide over the {parts} parts of the mesh "
                f"(data x fsdp) for {name!r}: {' or '.join(map(str, near))} would"
            )


def reader(mesh: jax.sharding.Mesh) -> tuple[int, int]:
    """(index, count): of `count` equal parts of a batch, this process reads number `index`.

    Processes that share a tensor or sequence group hold the same examples, and read the same part.

    Raises:
      ConfigError: a group of tensor x sequence ends in the middle of a process.
    """
    return (0, 1) if jax.process_count() == 1 else part_of(mesh, jax.process_index())


def part_of(mesh: jax.sharding.Mesh, process: int) -> tuple[int, int]:
    """`reader` of any process of a mesh that several hold."""
    parts = batch_parts(mesh)
    owners = np.array([d.process_index for d in mesh.devices.flat]).reshape(parts, -1)
    held = np.flatnonzero((owners == process).any(axis=1))
    index, middle = divmod(int(held[0]), len(held))
    shared = any((owners[row] != process).any() for row in held) and len(held) > 1
    if middle or shared or parts % len(held):
        raise ConfigError(
            f"mesh.tensor x mesh.sequence is {owners.shape[1]}, and a process has "
            f"{int((owners == process).sum())} devices: one must be a multiple of the other"
        )
    return index, parts // len(held)


def member_axes(batch: Mapping[str, Any]) -> int:
    """Axes before a batch's own: 1 where members have examples of their own, "mask" [m, b]."""
    return int("mask" in batch and len(batch["mask"].shape) == 2)


def put(batch: Mapping[str, Any], sharding: NamedSharding) -> dict[str, jax.Array]:
    """This process's part of a batch, on the devices as a global array."""
    if jax.process_count() == 1:
        return jax.device_put(dict(batch), sharding)
    return {
        k: jax.make_array_from_process_local_data(sharding, np.asarray(v)) for k, v in batch.items()
    }


def gather(arrays: Any, mask: Any, axis: int = 0) -> Any:
    """Host NumPy arrays in data-set order, without padding.

    Args:
      arrays: a tree of (global) arrays with the batch on `axis`.
      mask: bool [b], True where the example counts.
      axis: 1 where the arrays have a leading axis of members.
    """
    tree = (arrays, mask)
    if jax.process_count() > 1:
        tree = multihost_utils.process_allgather(tree, tiled=True)
    arrays, mask = jax.tree.map(np.asarray, tree)
    return jax.tree.map(lambda a: np.compress(mask, a, axis=axis), arrays)
