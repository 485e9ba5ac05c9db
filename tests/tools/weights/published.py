"""Published models, and what ours computes with their weights."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

from tests.conftest import ROOT
from tests.models import run
from tools import export_weights, find, import_weights
from tools.weights.common import options
from training import config as configs
from training.trees import nested

GOLDEN = ROOT / "tests" / "golden"
CASES = sorted(path.name for path in GOLDEN.iterdir() if (path / "cases.safetensors").exists())


def batches(folder: Path) -> list[dict[str, np.ndarray]]:
    """Inputs and outputs of a case, by shape."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, array in load_file(folder / "cases.safetensors").items():
        index, _, key = name.partition("/")
        found.setdefault(index, {})[key] = array
    return [found[index] for index in sorted(found)]


def imported(source: Path, out: Path, *arguments: str) -> tuple[dict[str, Any], Any]:
    """(the section `model`, the parameters) of a folder that the program made."""
    assert import_weights.run([f"--from={source}", f"--out={out}", *arguments]) == 0
    section, arrays = export_weights.weights_of(str(out), "last")
    return section, arrays


def ours(section: dict[str, Any], arrays: Any, source: Path, batch: Any) -> dict[str, np.ndarray]:
    """What our model says of a batch: {"logits": ..., "hidden": ..., "pooled": ...}."""
    module = find.part("model", section["name"])
    rest = {key: value for key, value in section.items() if key != "name"}
    info = options.info_of(json.loads((source / "config.json").read_text()))
    model = module.build(configs.typed(module.Config, rest, "model"), info)
    names = ("image",) if "image" in batch else ("tokens", "lengths", "token_types")
    inputs = [jnp.asarray(batch[name]) if name in batch else None for name in names]
    if section["name"] == "text.gpt":
        inputs = inputs[:1]
    found = run.apply(model, {"params": nested(arrays)}, *inputs, train=False)
    return found if isinstance(found, dict) else {"logits": found}


def largest_difference(section: dict[str, Any], arrays: Any, source: Path) -> float:
    """Over all batches of a case and all that it kept; what stands on padding is left out."""
    worst = 0.0
    for batch in batches(source):
        found = ours(section, arrays, source, batch)
        for name in ("logits", "hidden", "pooled"):
            if name not in batch:
                continue
            difference = np.abs(np.asarray(found[name]) - batch[name])
            if "lengths" in batch and difference.ndim == 3:
                valid = np.arange(difference.shape[1]) < batch["lengths"][:, None]
                difference = difference[valid]
            worst = max(worst, float(difference.max()))
    return worst
