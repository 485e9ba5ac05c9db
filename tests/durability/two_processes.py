"""One of several processes of one run; started by the fixture `processes`.

python -m tests.durability.two_processes ADDRESS COUNT NUMBER barrier
python -m tests.durability.two_processes ADDRESS COUNT NUMBER train FOLDER
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import jax

from evaluators import standard
from tests.durability.victims import STEPS
from tests.training import runs
from tools import command_line
from training import hosts
from training.contracts import Evaluator, Pipeline
from training.loop import fit


def part(pipeline: Pipeline) -> Pipeline:
    """This process's rows of every batch."""
    count, number = jax.process_count(), jax.process_index()

    def batches(start: int):
        for batch in pipeline.batches(start):
            rows = len(next(iter(batch.values()))) // count
            yield {k: v[number * rows : (number + 1) * rows] for k, v in batch.items()}

    return dataclasses.replace(pipeline, batches=batches)


def train(folder: Path) -> None:
    """A toy; the last process alone is told to stop, while it reads batch 17.

    All stop together two seconds of steps later: a step takes a tenth of a second, however fast the
    machine, so that these are steps of the run's sixty.
    """
    algorithm, pipeline, held_out = runs.toy("supervised")
    pipeline = runs.disturbed(pipeline, lambda number: time.sleep(0.1))
    if jax.process_index() == jax.process_count() - 1:
        pipeline = runs.disturbed(pipeline, runs.terminate_at(17))
    evaluator = standard.build(standard.Config(), algorithm, part(held_out), None)
    settings = runs.settings(STEPS, "supervised")
    evaluators = [Evaluator("standard", "val", 8, evaluator)]
    fit(algorithm, part(pipeline), evaluators, settings, str(folder))


def barrier() -> None:
    """All come to the first barrier, only process 0 to the second."""
    hosts.barrier("first", 1)
    if jax.process_index() > 0:
        time.sleep(60)
    hosts.barrier("second", 0.05)


def main(argv: Sequence[str]) -> None:
    """Joins the others and does its part."""
    address, count, number, what, *rest = argv
    jax.distributed.initialize(address, int(count), int(number))
    if what == "barrier":
        barrier()
    else:
        train(Path(rest[0]))


if __name__ == "__main__":
    command_line.main(main)
