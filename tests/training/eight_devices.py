"""Run by test_meshes.py in a process of its own with 8 simulated devices; prints JSON."""

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from tests.training import hlo
from tools import inspect, parts, resolve
from training import mesh, placement
from training.compiled import Compiled
from training.config import Mesh
from training.contracts import TrainState
from training.trees import path_name

STEPS = 20

COMMON = (
    "data.batch_size=16", "train.steps=20", "task.label_smoothing=0.0", "optimizer.name=sgd",
    "optimizer.momentum=0.9", "optimizer.learning_rate=0.02", "optimizer.schedule=constant",
    "optimizer.warmup_steps=0", "optimizer.weight_decay=0.0", "optimizer.clip_norm=None",
)  # fmt: skip
CNN = (
    "model.name=vision.cnn", "model.features=(8,)", "model.hidden=32", "model.dropout_rate=0.5",
    "optimizer.learning_rate=0.05",
)  # fmt: skip
MODELS = {
    "convolution": (
        "model.name=vision.resnet", "model.family=cifar", "model.depth=8", "model.width=8",
    ),
    "transformer": (
        "model.dropout_rate=0.0", "model.width=32", "model.heads=8", "model.mlp_width=64",
        "model.depth=2", "model.scan_layers=True", "model.remat=full",
        "optimizer.learning_rate=0.2",
    ),
    "dropout": CNN,
    "members": (*CNN, "train.ensemble=2"),
}  # fmt: skip
ONE = Mesh()
DATA, FSDP = Mesh(data=8), Mesh(data=1, fsdp=8)
MIXED = Mesh(data=2, fsdp=2, tensor=2)
ALL = Mesh(data=1, fsdp=2, tensor=2, sequence=2)
ACCUMULATED = "optimizer.accumulation_steps=2"
RUNS: dict[str, dict[str, tuple[Mesh, tuple[str, ...]]]] = {
    "convolution": {"data": (DATA, ()), "fsdp": (FSDP, ()), "mixed": (MIXED, ())},
    "transformer": {
        "data": (DATA, ()),
        "fsdp": (FSDP, ()),
        "tensor": (Mesh(data=2, tensor=4), (ACCUMULATED,)),
        "mixed": (ALL, ("model.remat=none",)),
    },
    "dropout": {"data": (DATA, ()), "fsdp": (FSDP, ()), "mixed": (MIXED, ())},
    "members": {"mixed": (MIXED, ())},
}


def build(sizes: Mesh, devices: int, changes: Sequence[str]) -> Compiled:
    """The digits' config with changes, on fake data, on the first devices."""
    file = resolve.load_file("configs/vision/vit_digits.py")
    built = parts.build(resolve.resolve(file, [*COMMON, *changes]), fake=True)
    grid = mesh.make(sizes, jax.devices()[:devices])
    return Compiled(built.algorithm, built.train, grid, built.settings.train)


@dataclass
class Run:
    """What 20 updates gave.

    Attributes:
      losses: by step.
      momenta: by step, of every parameter: the decayed sum of its gradients.
      bytes: of parameters and optimizer on the first device, of the arrays themselves.
    """

    losses: list[float]
    momenta: list[list[np.ndarray]]
    bytes: int


def run(compiled: Compiled, start: Any) -> Run:
    """Trains on fake data from the arrays of `start`."""
    # Copies: the update takes the buffers.
    state = jax.tree.map(lambda a, s: jax.device_put(a.copy(), s), start, compiled.shardings)
    found = Run([], [], held(state))
    batches = compiled.pipeline.batches(0)
    for step in range(STEPS):
        before = state
        batch = compiled.put_stacked(next(batches))
        state, means = compiled.update(state, batch, np.ones(compiled.members, bool))
        # Later states were looked at: on a CPU NumPy then shares their memory.
        assert step or all(leaf.is_deleted() for leaf in jax.tree.leaves(before)), "not donated"
        found.losses.append(float(np.mean(means.read()["loss"].compute())))
        found.momenta.append([np.asarray(a) for a in jax.tree.leaves(state.opt_state)])
    return found


def held(state: TrainState) -> int:
    """Bytes of parameters and optimizer on one device."""
    leaves = jax.tree.leaves((state.params, state.opt_state))
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)


def inspected(compiled: Compiled) -> int:
    """The same, as tools.inspect says from shapes alone."""
    totals = inspect.totals(inspect.state_arrays(compiled))
    return totals["params"] + totals["opt_state"]


def deviation(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest difference of two lists of arrays, in shares of the largest expected value."""
    largest = max(float(np.abs(a).max()) for a in expected)
    pairs = zip(found, expected, strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs) / largest


def compare(model: str) -> dict[str, Any]:
    """By mesh: how far losses and gradients are from the single device's, and what was compiled."""
    grids = {"one": (ONE, ()), **RUNS[model]}
    compiled = {
        name: build(sizes, 1 if name == "one" else 8, (*MODELS[model], *changes))
        for name, (sizes, changes) in grids.items()
    }
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda c: c.compile_update(c.pipeline.specs[0]), compiled.values()))
    start = compiled["one"].init(0)
    runs = {name: run(each, start) for name, each in compiled.items()}
    one = runs.pop("one")
    found: dict[str, Any] = {"one": {"losses": one.losses, "bytes": one.bytes}}
    for name, several in runs.items():
        found[name] = {
            "loss": max(map(abs, np.subtract(several.losses, one.losses))),
            "gradient": max(map(deviation, several.momenta, one.momenta)),
            "bytes": several.bytes,
            "inspected": inspected(compiled[name]),
            **text(compiled[name]),
        }
    return found


def text(compiled: Compiled) -> dict[str, Any]:
    """What the compiled update says of gathers, donation and the shapes that a device holds."""
    executable = compiled.compile_update(compiled.pipeline.specs[0])
    module = executable.as_text()
    analysis = executable.memory_analysis()
    return {
        "gathers": [[g.shapes, g.looped] for g in hlo.gathers(module)],
        "shapes": sorted(hlo.shapes(module)),
        "donated": analysis.alias_size_in_bytes,
        "stacked": [shape for name, shape in large(compiled) if "layers" in name],
        "state": sum(
            int(np.prod(sharding.shard_shape(a.shape))) * a.dtype.itemsize
            for a, sharding in zip(
                jax.tree.leaves(compiled.shapes), jax.tree.leaves(compiled.shardings), strict=True
            )
        ),
    }


def large(compiled: Compiled) -> list[tuple[str, tuple[int, ...]]]:
    """Path and whole shape of the parameters that no activation is as large as."""
    leaves = jax.tree_util.tree_leaves_with_path(compiled.shapes.params)
    return [(path_name(path), a.shape) for path, a in leaves if a.size >= 1024]


def init() -> dict[str, Any]:
    """The compiled init: its bytes a device, the shapes that it ever has, and what it draws."""
    found: dict[str, Any] = {}
    drawn = []
    for name, devices, sizes in (("one", 1, ONE), ("fsdp", 8, FSDP)):
        compiled = build(sizes, devices, MODELS["transformer"])
        executable = compiled.compile_init()
        analysis = executable.memory_analysis()
        drawn.append(jax.device_get(executable(np.int32(0)).params))
        found[name] = {
            "bytes": [analysis.output_size_in_bytes, analysis.temp_size_in_bytes],
            "large": [shape for _, shape in large(compiled)],
            "shapes": sorted(hlo.shapes(executable.as_text())),
        }
    found["equal"] = bool(jax.tree.all(jax.tree.map(np.array_equal, *drawn)))
    return found


if __name__ == "__main__":
    # Not when the test imports this: the models are small, and almost every array is split.
    placement.SMALLEST_SHARDED = 2**6
    json.dump({"init": init(), **{model: compare(model) for model in RUNS}}, sys.stdout)
