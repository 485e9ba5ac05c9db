"""Run by test_mesh.py in a process of its own with 8 simulated devices; prints JSON."""

import json
import sys

import jax
import numpy as np

from tools import parts, resolve
from training import mesh
from training.compiled import Compiled
from training.config import Mesh
from training.contracts import ConfigError

CHANGES = [
    "data.batch_size=16", "data.source.name=digits", "train.steps=4", "optimizer.warmup_steps=0",
    "model.width=128", "model.mlp_width=512", "model.depth=1", "model.patch_size=4",
    "model.dropout_rate=0.1", "optimizer.name=sgd",
    "optimizer.learning_rate=0.05", "optimizer.weight_decay=0.0",
]  # fmt: skip


def losses(sizes: Mesh, devices: int, steps: int = 6) -> tuple[list[float], int]:
    """(losses of 6 updates of the digits' ViT on fake data, bytes of parameters on one device)."""
    values = resolve.resolve(
        resolve.load_file("configs/vision/vit_digits.py"), CHANGES, smoke=False
    )
    built = parts.build({**values, "smoke": True})
    grid = mesh.make(sizes, jax.devices()[:devices])
    compiled = Compiled(built.algorithm, built.train, grid, built.settings.train)
    compiled.compile_update(built.train.specs[0])
    state = compiled.init(0)
    leaves = jax.tree.leaves((state.params, state.opt_state))
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
    batches = built.train.batches(0)
    found = []
    for _ in range(steps):
        batch = compiled.put_stacked(next(batches))
        state, means = compiled.update(state, batch, np.ones(1, bool))
        found.append(float(means.read()["loss"].compute()))
    return found, held


def refusals() -> list[str]:
    """What wrong meshes are told."""
    messages = []
    for sizes in (Mesh(data=3), Mesh(data=-1, fsdp=-1), Mesh(data=4, fsdp=4), Mesh(data=0)):
        try:
            mesh.make(sizes)
        except ConfigError as error:
            messages.append(str(error))
    try:
        spec = {"image": jax.ShapeDtypeStruct((12, 8), np.float32)}
        mesh.check_batch(spec, mesh.make(Mesh()), 0)
    except ConfigError as error:
        messages.append(str(error))
    return messages


if __name__ == "__main__":
    json.dump(
        {
            "one": losses(Mesh(), 1),
            "data": losses(Mesh(), 8),
            "fsdp": losses(Mesh(data=1, fsdp=8), 8),
            "mixed": losses(Mesh(data=2, fsdp=4), 8),
            "refusals": refusals(),
        },
        sys.stdout,
    )
