"""The device mesh, and where every array lies on it: decided by path and shape, outside the model.

One mesh with the axes `data`, `fsdp`, `tensor` and `sequence`. A batch is split over data x fsdp;
large arrays of the state are split over fsdp; rules of the config place any array otherwise.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from training.config import Mesh
from training.contracts import ConfigError

AXES = ("data", "fsdp", "tensor", "sequence")
BATCH_AXES = ("data", "fsdp")
# Below this many elements an array is cheaper to keep whole than to gather.
SMALLEST_SHARDED = 2**14


def make(config: Mesh, devices: list[Any] | None = None) -> jax.sharding.Mesh:
    """The mesh of all devices or of `devices`; raises ConfigError where sizes do not fit."""
    devices = jax.devices() if devices is None else devices
    sizes = [getattr(config, axis) for axis in AXES]
    known = int(np.prod([s for s in sizes if s != -1]))
    text = " x ".join(f"{a}={s}" for a, s in zip(AXES, sizes, strict=True))
    if sizes.count(-1) > 1 or any(s < 1 and s != -1 for s in sizes):
        raise ConfigError(f"mesh {text}: every size is at least 1, and one of them may be -1")
    if len(devices) % known or (-1 not in sizes and known != len(devices)):
        fits = ", ".join(str(d) for d in range(1, len(devices) + 1) if len(devices) % d == 0)
        raise ConfigError(
            f"mesh {text} does not fit {len(devices)} devices: "
            f"sizes must multiply to {len(devices)} (each one of {fits}; -1 takes the rest)"
        )
    shape = [len(devices) // known if s == -1 else s for s in sizes]
    grid = np.asarray(devices, dtype=object).reshape(shape)
    # Explicit axes, the default, break Linen's Dropout.
    return jax.sharding.Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def batch_parts(mesh: jax.sharding.Mesh) -> int:
    """In how many parts a batch is split."""
    return int(np.prod([mesh.shape[a] for a in BATCH_AXES]))


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


def path_name(path: tuple[Any, ...]) -> str:
    """A tree path as "params/encoder/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def place(shapes: Any, mesh: jax.sharding.Mesh, rules: tuple[tuple[Any, ...], ...] = ()) -> Any:
    """A NamedSharding for each array of the tree `shapes`.

    Optimizer state follows its parameter without being told: its paths end in the parameter's and
    its shapes are the same, and both rules and default depend on nothing else.
    """

    def one(path: tuple[Any, ...], array: Any) -> NamedSharding:
        name = path_name(path)
        for pattern, *axes in rules:
            if re.search(pattern, name) and len(axes) <= len(array.shape):
                return NamedSharding(mesh, P(*axes))
        return NamedSharding(mesh, _default(name, array.shape, mesh.shape["fsdp"]))

    return jax.tree_util.tree_map_with_path(one, shapes)


def _default(name: str, shape: tuple[int, ...], fsdp: int) -> P:
    if "carry/rollout" in name and shape:
        return P(BATCH_AXES)
    if fsdp > 1 and int(np.prod(shape)) >= SMALLEST_SHARDED:
        for axis in sorted(range(len(shape)), key=lambda a: -shape[a]):
            if shape[axis] % fsdp == 0:
                return P(*(None,) * axis, "fsdp")
    return P()


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
