"""Runs of the toys through the real `fit`, for the tests of the loop."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import jax
import numpy as np

from evaluators import standard
from tests.toys import acting, inner_loop, members, two_networks
from training import checkpoint, mesh
from training.compiled import Compiled
from training.config import Baseline, Mesh, Settings, Train, plain
from training.contracts import Evaluator, Pipeline
from training.loop import fit
from training.stopping import Select

TOYS = {
    "supervised": members,
    "two_networks": two_networks,
    "acting": acting,
    "inner_loop": inner_loop,
}
METRICS = {
    "supervised": "val/accuracy",
    "two_networks": None,
    "acting": None,
    "inner_loop": "val/loss",
}


def settings(train: Train, name: str = "toy", **sections) -> Settings:
    """Settings with the sections that a folder's config needs."""
    values = {
        "name": name,
        "optimizer": {"name": "sgd", "schedule": "constant", "decay_steps": None},
        "train": plain(train),
        **sections,
    }
    return Settings(name, train, Baseline(metric="val/loss"), Mesh(), values, "python train.py")


def toy(name: str, ensemble: int = 1):
    """(algorithm, training pipeline, held-out pipeline)."""
    module = TOYS[name]
    if name == "supervised":
        algorithm = members.alone() if ensemble == 1 else members.build(ensemble)[0]
        return algorithm, members.training(), members.held_out()
    algorithm, pipeline = module.build()
    return algorithm, pipeline, module.held_out()


def run(folder, name: str, train: Train, every: int = 4, ensemble: int = 1, disturb=None):
    """fit's result on a toy; `disturb(number)` is called before each training batch."""
    algorithm, pipeline, held_out = toy(name, ensemble)
    if disturb is not None:
        pipeline = disturbed(pipeline, disturb)
    evaluator = standard.build(standard.Config(), algorithm, held_out, None)
    evaluators = [Evaluator("standard", "val", every, evaluator)]
    return fit(algorithm, pipeline, evaluators, settings(train, name), str(folder))


def disturbed(pipeline: Pipeline, disturb) -> Pipeline:
    """The pipeline, calling `disturb` with each batch's number first."""

    def batches(start: int):
        for number, batch in enumerate(pipeline.batches(start), start):
            disturb(number)
            yield batch

    return dataclasses.replace(pipeline, batches=batches)


def terminate_at(step: int, number: int = signal.SIGTERM):
    """A disturbance: this process gets a signal while it reads batch `step`, once."""
    sent = []

    def disturb(batch: int) -> None:
        if batch >= step and not sent:
            sent.append(batch)
            os.kill(os.getpid(), number)

    return disturb


def lines(folder, name: str = "metrics.jsonl") -> list[dict]:
    """The records of a run."""
    path = Path(folder) / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def restored(folder, name: str, train: Train, ensemble: int = 1):
    """(state, selection) of a run's last checkpoint, keys as plain arrays."""
    algorithm, pipeline, _ = toy(name, ensemble)
    compiled = Compiled(algorithm, pipeline, mesh.make(Mesh()), train)
    checkpoints = checkpoint.Checkpoints(folder)
    state, selection = checkpoints.restore(
        checkpoints.latest(),
        checkpoint.abstract(compiled.shapes, compiled.shardings),
        checkpoint.abstract(compiled.selection_shapes, compiled.selection_shardings),
    )
    checkpoints.close()
    state = state.replace(key=jax.random.key_data(state.key))
    if compiled.selects:
        best = selection.best
        selection = selection.replace(best=best.replace(key=jax.random.key_data(best.key)))
    return state, selection


def final_arrays(folder, name: str, train: Train, ensemble: int = 1) -> list[np.ndarray]:
    """All arrays of a run's last checkpoint, in a fixed order."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(restored(folder, name, train, ensemble))]


def selecting(**fields) -> Train:
    """Train settings that select on the validation loss."""
    return Train(select=Select("val/loss", "min"), **fields)
