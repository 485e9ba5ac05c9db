"""One of the processes of test_processes.py: reads its part of batches, then runs train.py.

Prints, as JSON, what it read and what its devices hold.
"""

import contextlib
import io
import json
import sys
from typing import Any

import jax
import numpy as np

from data.pipelines import examples as pipeline
from tools import parts, pipelines, resolve
from training import mesh, placement
from training.config import Mesh

CONFIG = "configs/vision/vit_digits.py"
GRIDS = {
    "data": Mesh(),
    "mixed": Mesh(data=2, fsdp=2, tensor=2),
    # Over both processes: they read the same examples.
    "tensor": Mesh(data=1, tensor=8),
}


def read(sizes: Mesh, split: str, train: bool) -> dict[str, Any]:
    """What this process reads of a pass, and whether the whole batches are put together right."""
    values = resolve.resolve(resolve.load_file(CONFIG), ["data.batch_size=16"])
    config, source = pipelines.build_source(values)
    grid = mesh.make(sizes)
    index, count = mesh.reader(grid)

    def batches(index: int, count: int) -> Any:
        built = pipeline.build(
            config, source, split, train=train, seed=0, fake=True,
            process_index=index, process_count=count,
        )  # fmt: skip
        return zip(range(built.num_batches or 2), built.batches(0), strict=False)

    rows: list[int] = []
    for (_, mine), (_, whole) in zip(batches(index, count), batches(0, 1), strict=True):
        every = {**mine, "all": np.ones(len(mine["label"]), bool)}
        placed = mesh.put(every, mesh.batch_sharding(grid))
        gathered = mesh.gather(placed, placed["all"])
        for name, array in whole.items():
            np.testing.assert_array_equal(gathered[name], array)
        if not train:
            rows += mine["index"][mine["mask"]].tolist()
    return {"part": [index, count], "rows": rows}


def train_run(workdir: str, others: list[str]) -> None:
    """train.py's own `run`, on parameters that are split over the processes."""
    import train

    arguments = [
        f"--config={CONFIG}", "--smoke", f"--workdir={workdir}", "--config.data.batch_size=16",
        "--config.model.name=vision.cnn", "--config.mesh.data=2", "--config.mesh.fsdp=4",
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        assert train.run([*arguments, *others]) == 0


def main(address: str, count: int, number: int, workdir: str) -> None:
    """Trains as number `number` of `count` processes, which train.py brings together."""
    # A smoke run's model is small: almost every array is split all the same.
    placement.SMALLEST_SHARDED = 2**6
    flags = [f"--coordinator={address}", f"--process_count={count}", f"--process_index={number}"]
    train_run(workdir, flags if count > 1 else [])
    assert jax.device_count() == 8
    found: dict[str, Any] = {"process": jax.process_index()}
    for name, sizes in GRIDS.items():
        found[name] = {"train": read(sizes, "train", True), "val": read(sizes, "val", False)}
    restored = parts.restore(workdir, "last")
    leaves = jax.tree.leaves(restored.state.params)
    found["parameters"] = sum(int(leaf.size) for leaf in leaves)
    found["on_a_device"] = sum(int(leaf.addressable_shards[0].data.size) for leaf in leaves)
    print("FOUND " + json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
