"""How a run goes, whatever is trained: contracts, loop, checkpoints, records, report."""

import importlib
from typing import Any

from training.mesh import gather

__all__ = ["gather", "load"]


def load(workdir: str, checkpoint: str = "best") -> tuple[Any, Any, Any]:
    """(config, algorithm, state) of a run's folder, for notebooks and scripts.

    `checkpoint` is "best" (the selected weights where the run selected any, else the last), "last"
    or a step. `algorithm.predict(state, batch, key)` is then a function to call or to jit; the
    state is on the default device. Raises ConfigError where the folder holds no run.
    """
    # By name: `training` imports nothing of the project, and only the tools know every part.
    return importlib.import_module("tools.parts").load(workdir, checkpoint)
