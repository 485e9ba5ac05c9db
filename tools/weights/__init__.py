"""Published weights: one file for each family, its tensors and ours side by side in one table."""

import importlib
from pathlib import Path

from tools.weights.common.family import Family
from training.config import nearest
from training.contracts import ConfigError


def names() -> list[str]:
    """The families: the modules of this folder."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem != "__init__")


def family(name: str | None, where: str = "--family") -> Family:
    """A family by its name; raises ConfigError, which says `where` it stands, for another."""
    if name not in names():
        raise ConfigError(
            f"{where}: model_type is {name!r}, of which nothing is known: "
            + nearest(str(name), names())
        )
    return importlib.import_module(f"tools.weights.{name}").FAMILY


def families() -> dict[str, Family]:
    """All of them, by name."""
    return {name: family(name) for name in names()}
