"""One of two processes that evaluate the digits together; started by test_processes.py.

Prints, as JSON, what the evaluators found: it must be what one process finds alone.
"""

import json
import sys
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

from evaluators import attention, classification
from tests.training import run_folder
from training import mesh as meshes
from training.config import Mesh
from training.contracts import Pipeline


def main(address: str, count: int, number: int) -> None:
    """Joins `count` processes as number `number` and evaluates."""
    if count > 1:
        jax.distributed.initialize(address, count, number)
    mesh = meshes.make(Mesh())
    sharding = meshes.batch_sharding(mesh)
    table = run_folder.digits()[2]

    class Placed(run_folder.FakeCompiled):
        """Puts batches on the devices of all processes; predicts by index on the device."""

        def put(self, batch: dict[str, Any]) -> dict[str, Any]:
            return meshes.put(batch, sharding)

        def predict(self, state: Any, batch: dict[str, Any], key: Any) -> dict[str, Any]:
            look_up = jax.jit(lambda index: jax.numpy.asarray(table)[index], out_shardings=sharding)
            return {"probabilities": look_up(batch["index"])}

        def explain(self, state: Any, batch: dict[str, Any], key: Any) -> dict[str, Any]:
            tokens = 17

            def attend(image: jax.Array) -> jax.Array:
                patches = image.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
                rows = jax.nn.softmax(jax.numpy.pad(patches, ((0, 0), (1, 0))))
                return jax.numpy.broadcast_to(
                    rows[:, None, None, None], (len(rows), 1, 2, tokens, tokens)
                )

            return {"attention": jax.jit(attend, out_shardings=sharding)(batch["image"])}

    whole = run_folder.pipeline(64)

    def batches(start: int):
        for batch in whole.batches(start):
            size = len(batch["mask"]) // count
            part = slice(number * size, (number + 1) * size)
            yield {name: value[part] for name, value in batch.items()}

    pipeline = Pipeline(whole.specs, whole.info, batches, num_batches=whole.num_batches)
    compiled: Any = Placed(table)
    compiled.mesh = mesh
    state: Any = SimpleNamespace(key=jax.random.key(0))
    algorithm = compiled.algorithm
    first = classification.build(classification.Config(5), algorithm, pipeline, None)
    second = attention.build(attention.Config(examples=3, heads=1), algorithm, pipeline, None)
    scores, looks = first(compiled, state), second(compiled, state)
    mistakes, figure = scores.figures["mistakes"], looks.figures["attention"]
    found = {
        "scalars": dict(scores.scalars),
        "captions": [*mistakes.captions, *figure.captions],
        "images": np.asarray(mistakes.images, int).tolist(),
        "overlays": np.round(np.asarray(figure.overlays, float), 5).tolist(),
        "confusion": scores.figures["confusion"].values.tolist(),
    }
    print("FOUND " + json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
