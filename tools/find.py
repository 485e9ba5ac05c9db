"""From a name in a config to the module of that part: the name is its path, there is no table."""

import importlib
from pathlib import Path
from types import ModuleType

from training.config import nearest
from training.contracts import ConfigError

ROOT = Path(__file__).parent.parent
# Section of a config -> folder of its parts; each has Config, TINY and build.
FOLDERS = {
    "model": "models",
    "data.source": "data/sources",
    "data.pipeline": "data/pipelines",
    "task": "tasks",
    "algorithm": "algorithms",
    "evaluators": "evaluators",
}


def names(section: str) -> list[str]:
    """The parts of a section: "vision.vit" for models/vision/vit.py."""
    folder = ROOT / FOLDERS[section]
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if not {"common", "layers", "__init__"} & set(parts):
            found.append(".".join(parts))
    return found


def part(section: str, name: str, where: str = "") -> ModuleType:
    """The module of a part; raises ConfigError with the nearest names where there is none."""
    known = names(section)
    if name not in known:
        key = section if section == "data.pipeline" else f"{where or section}.name"
        raise ConfigError(f"{key} is {name!r}: {nearest(str(name), known)}")
    return importlib.import_module(f"{FOLDERS[section].replace('/', '.')}.{name}")


def configs() -> list[str]:
    """All configs, as "vision/vit_digits"."""
    folder = ROOT / "configs"
    return sorted(
        str(p.relative_to(folder).with_suffix(""))
        for p in folder.glob("*/*.py")
        if p.parent.name != "common" and p.stem != "__init__"
    )
