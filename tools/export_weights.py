"""A run's weights as a publisher's: python -m tools.export_weights --workdir=DIR --out=DIR.

DIR gets config.json and model.safetensors, which Hugging Face's transformers reads, and the files
of a tokenizer where the run's folder has some. The workdir is a run's folder, or one that
tools.import_weights made; float32 weights of which all was imported go back to the same bytes. What
has no counterpart is a warning that names it.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from models.layers.stack import unstack_layers
from tools import command_line, parts, weights
from tools.import_weights import check_new
from tools.weights.common import files, mapping, options, summary
from training.checkpoint import Checkpoints
from training.contracts import ConfigError
from training.folder import read_json
from training.progress import setup_logging
from training.trees import named

log = logging.getLogger("reprise")


def run(argv: Sequence[str]) -> int:
    """Exports; prints what was written."""
    parser = command_line.Parser(
        "python -m tools.export_weights", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--workdir", required=True, help="a run's folder")
    parser.add_argument("--out", required=True, help="a new folder")
    parser.add_argument("--family", help="the one that has the run's model, unless told here")
    parser.add_argument(
        "--checkpoint", default="tested", help="tested, best, last or a step (default: tested)"
    )
    arguments, _ = parser.parse(argv)
    setup_logging()
    out = Path(arguments.out)
    check_new(out)
    section, arrays = weights_of(arguments.workdir, arguments.checkpoint)
    architecture, config, tensors = convert(arguments.workdir, section, arrays, arguments.family)
    out.mkdir(parents=True)
    files.copy_beside(Path(arguments.workdir), out)
    files.write(out, config, tensors)
    summary.display(f"{out}: {architecture}", tensors, "tensors")
    return 0


def weights_of(workdir: str, which: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(the section `model`, {path: array} of a model that is no scan) of a run's folder.

    Raises ConfigError where there is no run, or one of several members.
    """
    path = epath.Path(workdir) / files.CONFIG
    if not path.exists():
        raise ConfigError(f"{workdir} holds no run: there is no config.json in it")
    values = read_json(path)
    members = values.get("train", {}).get("ensemble", 1)
    if members > 1:
        raise ConfigError(f"{workdir} holds {members} members; a publisher's file one network")
    params = _trained(workdir, which) if "data" in values else _imported(workdir)
    found = unstack_layers(jax.tree.map(np.asarray, params))
    return values["model"], named(found)


def _trained(workdir: str, which: str) -> Mapping[str, Any]:
    restored = parts.restore(workdir, which)
    return restored.parts.algorithm.weights(restored.state).params


def _imported(workdir: str) -> Mapping[str, Any]:
    """The parameters of a folder without data, of which nothing could be built."""
    with closing(Checkpoints(workdir, read_only=True)) as checkpoints:
        step = checkpoints.latest()
        if step is None:
            raise ConfigError(f"{workdir} holds no checkpoint")
        place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        shapes = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place),
            {"params": checkpoints.shapes(step)["params"]},
        )
        return checkpoints.restore_some(step, shapes)["params"]


def convert(
    workdir: str,
    section: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    asked: str | None = None,
) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """(the publisher's class, its config.json, its tensors); what has no counterpart is a warning.

    Raises:
      ConfigError: no published family has this model.
      DataError: arrays of it are missing.
    """
    path = Path(workdir) / files.PUBLISHED
    published = files.read_json(path) if path.exists() else {}
    known = weights.families()
    if asked:
        weights.family(asked)
    family = options.family_for(known, section, asked)
    depth = sum(path.startswith("layer_") for path in {p.partition("/")[0] for p in arrays})
    section = {**section, "depth": depth}
    architecture = options.written_as(family, section, arrays, published)
    tensors, notes = mapping.to_theirs(family, section, architecture, arrays)
    for line in notes.lines():
        log.warning("%s: %s", workdir, line)
    return (
        architecture,
        options.config_of(family, section, architecture, arrays, published),
        tensors,
    )


if __name__ == "__main__":
    command_line.main(run)
