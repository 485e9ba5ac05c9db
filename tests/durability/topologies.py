"""Run by test_topologies.py with 8 simulated devices: one checkpoint on 8, 4 and 1 of them.

Prints, as JSON, whether arrays came back equal, and on how many devices they lie.
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np

from tests.toys import members
from training import mesh
from training.checkpoint import Checkpoints, RunState, abstract
from training.compiled import Compiled
from training.config import Mesh, Train

# The toy's arrays are small: FSDP would leave them whole.
RULES = (("hidden/kernel$", None, "fsdp"), ("head/kernel$", "fsdp", None))


def compiled(devices: int) -> Compiled:
    """A toy on the first devices, over fsdp."""
    grid = mesh.make(Mesh(data=1, fsdp=-1), jax.devices()[:devices])
    return Compiled(members.alone(), members.training(), grid, Train(), RULES)


def host(tree) -> list[np.ndarray]:
    """Every array, whole."""
    leaves = jax.tree.leaves(tree)
    return [
        np.asarray(jax.random.key_data(x) if x.dtype.name.startswith("key") else x) for x in leaves
    ]


def main(folder: Path) -> None:
    """8 devices save, 4 restore and save, 1 restores; each takes an update on the way."""
    state, expected, found = None, [], []
    for step, devices in enumerate((8, 4, 1)):
        one = compiled(devices)
        if state is None:
            state = one.init(0)
        else:
            checkpoints = Checkpoints(folder)
            state, _ = checkpoints.restore(
                checkpoints.latest(),
                abstract(one.shapes, one.shardings),
                abstract(one.selection_shapes, one.selection_shardings),
            )
            checkpoints.close()
            equal = all(map(np.array_equal, host(state), expected))
            kernel = state.params["hidden"]["kernel"]
            found.append({"equal": equal, "devices": len(kernel.sharding.device_set),
                          "shard": kernel.addressable_shards[0].data.shape})  # fmt: skip
        one.compile_update(one.pipeline.specs[0])
        batch = one.put_stacked(next(one.pipeline.batches(step)))
        state, _ = one.update(state, batch, np.ones(1, bool))
        checkpoints, expected = Checkpoints(folder), host(state)
        checkpoints.save(state, one.init_selection(state), RunState(step=step + 1))
        checkpoints.finish()
        checkpoints.close()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
